"""A short run of the campaign against bad input; see `hostile` and `scripts/campaign`."""

import gc
import json
import time

import numpy as np
import pytest
import refusals
from hostile import all as campaign
from hostile import mutations, pictures, records, servers, weights
from hostile.judge import judge, prepare
from hostile.kinds import Kind
from PIL import EpsImagePlugin, Image
from safetensors.numpy import load, save

import nst_jax as nst
from nst_jax.errors import InputError
from nst_jax.files import download, weightfile
from nst_jax.files import weights as file_weights
from nst_jax.models import modelfile
from nst_jax.models.transformer import Architecture
from nst_jax.pictures import reading
from nst_jax.stylizing import checkpoint
from nst_jax.stylizing.repeat import recall

# The standard library leaves sockets to the garbage collector when a reply is no HTTP.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
CASES, MOST = 8, 200  # cases of a kind, and until one of them is read
REFUSED = ("postscript", "trap")  # kinds of which nothing is read


@pytest.fixture(autouse=True)
def _limits(monkeypatch, request):
    for module, name, value in campaign.LIMITS:
        monkeypatch.setattr(module, name, value)
    for name, value in campaign.VARIABLES.items():
        monkeypatch.setenv(name, value)
    yield
    if "server" in request.node.name:
        gc.collect()


@pytest.mark.parametrize("name", campaign.names())
def test_damaged_files_are_read_or_refused_in_a_sentence(name, tmp_path):
    kind, outcomes = campaign.kinds()[name], set()
    wanted = {"refusal"} if name in REFUSED else {"refusal", "value"}
    for number in range(MOST):
        prepare(tmp_path, kind, number)
        verdict = judge(tmp_path, kind)
        assert verdict.outcome != "fault", f"{name} {number}: {verdict.what}"
        outcomes.add(verdict.outcome)
        if number >= CASES and outcomes == wanted:
            break
    assert outcomes == wanted


@pytest.mark.parametrize("name", weights.traps())
def test_files_made_to_do_harm_are_refused(name, tmp_path):
    data = weights.traps()[name]
    trap = Kind(name, lambda _, folder: (folder / "source").write_bytes(data), weights.read_trap)
    prepare(tmp_path, trap, 0)
    verdict = judge(tmp_path, trap)
    assert verdict.outcome == "refusal", verdict.what


def test_a_case_follows_from_its_number(tmp_path):
    kind = campaign.kinds()["picture"]
    one, again, other = (
        (prepare(tmp_path, kind, number) / "picture").read_bytes() for number in (3, 3, 4)
    )
    assert one == again != other


# The judge itself: what it must notice.
BAD = {
    "raises": lambda case, out: {}["x"],
    "writes": lambda case, out: (case / "x").write_text("x"),
    "looks": lambda case, out: (case.parent / "outside" / "secret.png").read_bytes(),
    "runs": lambda case, out: __import__("os").system("true"),
    "calls": lambda case, out: __import__("socket").create_connection(("127.0.0.1", 9), 0.1),
    "warns": lambda case, out: __import__("warnings").warn("careful", stacklevel=1),
    "eats": lambda case, out: b"x" * (400 * 2**20),
}


@pytest.mark.parametrize("name", BAD)
def test_the_judge_sees_what_must_not_happen(name, tmp_path):
    kind = Kind(name, lambda rng, folder: None, BAD[name])
    prepare(tmp_path, kind, 0)
    assert judge(tmp_path, kind).outcome == "fault"


# What the campaign found, by kind; each with the right outcome.


def edited_result(folder, **changes):
    """A result whose embedded record was edited."""
    text = json.dumps(pictures.record() | changes)
    (folder / "out.png").write_bytes(pictures.embedded(text, "PNG"))
    for name in ("content.png", "style.png", "start.png"):
        (folder / name).write_bytes(pictures.embedded("{}", "PNG"))
    return folder / "out.png"


@pytest.mark.parametrize(
    "sources",
    [
        {"content": "../secret.png", "style": "style.png"},
        {"content": "/etc/passwd", "style": "style.png"},
        {"content": "..\\secret.png", "style": "style.png"},
        {"content": "content.png", "style": ["style.png", "~/style.png"]},
        {"content": "content.png", "style": "http://127.0.0.1/style.png"},
        {"content": "n" * 300, "style": "style.png"},
        {"content": {"x": 1}, "style": "style.png"},
        {"content": "content.png", "style": [[["style.png"]]]},
        {"trace": "content.png"},
        {"checkpoint": "content.png"},
        {"callback": "content.png"},
        ["content.png"],
    ],
    ids=str,
)
def test_edited_settings_reach_no_other_file_and_no_other_option(sources, tmp_path):
    result = edited_result(tmp_path, sources=sources)
    refusals.sentence(recall, result, network="vgg19-lite")


@pytest.mark.parametrize("name", ["../net.safetensors", "/net.safetensors", "C:\\net", "", None])
def test_edited_settings_name_no_network_elsewhere(name, tmp_path):
    settings = pictures.record()["settings"]
    result = edited_result(tmp_path, settings=settings | {"network": "auto"}, network=name)
    assert "network" in refusals.sentence(recall, result)


def test_postscript_is_not_handed_to_another_program(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("was run"))
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png", "EPS")
    assert "not in a format" in refusals.sentence(reading.read, tmp_path / "x.png")


def test_parts_of_a_sentence_that_come_from_a_file_do_not_reach_the_terminal():
    error = InputError("The file \x1b[2J\x07 says\n  'x' \u202e.")
    assert str(error) == "The file \\x1b[2J\\x07 says 'x' \\u202e."
    assert len(str(InputError("The file" + "x" * 10**6 + "."))) < 4000


@pytest.mark.parametrize(
    "change",
    [
        {"preprocessing": '{"order": "RGB", "scale": NaN, "mean": [0,0,0], "std": [1,1,1]}'},
        {"preprocessing": '{"order": "RGB", "scale": 1e999, "mean": [0,0,0], "std": [1,1,1]}'},
        {"preprocessing": "[" * 100_000},
        {"version": "9" * 5000},
    ],
    ids=lambda change: next(iter(change.values()))[:40],
)
def test_metadata_of_a_weight_file_is_checked(change, tmp_path):
    header, body = mutations.parts_of(weights.vgg())
    header["__metadata__"] |= change
    path = tmp_path / "net.safetensors"
    path.write_bytes(mutations.safetensors_of(header, body))
    with pytest.raises(InputError, match=r"states no valid preprocessing|not a weight file"):
        weightfile.load(path)


@pytest.mark.parametrize(
    "change",
    [{"blocks": 10**9}, {"blocks": True}, {"units": float("nan")}, {"output": "x"}, {"styles": 0}],
    ids=str,
)
def test_the_architecture_of_a_model_is_checked(change):
    plain = modelfile.plain(Architecture("small")) | change
    model = modelfile.ModelFile(modelfile.TRANSFORMER, plain, {}, ("day",))
    assert "does not know" in refusals.sentence(modelfile.architecture_of, model, "x")


@pytest.mark.parametrize("leaf", ["state.x", "state.best", "rows.0.evaluations"])
@pytest.mark.parametrize("change", ["missing", "shape", "kind"])
def test_a_checkpoint_holds_what_the_run_needs(leaf, change, tmp_path):
    data = records.run()
    leaves, about = load(data), mutations.parts_of(data)[0]["__metadata__"]
    x = leaves.pop(leaf)
    if change != "missing":
        leaves[leaf] = np.stack([x, x]) if change == "shape" else x.astype(bool)
    (tmp_path / "run").write_bytes(save(leaves, about))
    text = refusals.sentence(checkpoint.load, tmp_path / "run", records.request())
    assert "delete it to start from the beginning" in text


@pytest.mark.parametrize("picture", ["../x.png", "/x.png", "", 1, None])
def test_a_sweep_reads_no_picture_elsewhere(picture, tmp_path):
    for name, data in records.sweep().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    plan = json.loads((tmp_path / "sweep.json").read_text())
    plan["lanes"][0]["picture"] = picture
    (tmp_path / "sweep.json").write_text(json.dumps(plan))
    assert "sweep.json" in refusals.sentence(nst.load_sweep, tmp_path)


@pytest.mark.parametrize("name", ["n" * 300, "n" * 300 + ".safetensors", "a\0b.safetensors"])
def test_a_name_that_no_file_can_have_is_told(name):
    for read in (weightfile.load, file_weights.locate):
        with pytest.raises(InputError, match="no weight"):
            read(name)


def download_from(reply: bytes, folder, manner="whole", size=None):
    here = servers.server()
    here.reply, here.manner = reply, manner
    return download.download(
        [f"http://127.0.0.1:{here.port}/x"],
        folder / "x",
        digest=servers.SHA,
        size=size,
        timeout=0.3,
        connect_timeout=1.0,
        retry_unreachable=True,
        progress=False,
    )


@pytest.mark.parametrize(
    ("reply", "manner", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "whole", "more than"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "endless", "gives more than"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + servers.BODY, "slow", "less than"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000,
            "slow",
            "stalled",
        ),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\n\r\n", "whole", "not of the web"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", "endless", "could not be downloaded"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "whole", "digest"),
        (b"HTTP/1.1 404 \x1b[2J\r\n\r\n", "whole", "404"),
    ],
    ids=(
        "huge",
        "endless",
        "dripping",
        "dripping chunk",
        "ftp",
        "endless redirect",
        "digits",
        "escapes",
    ),
)
def test_servers_cannot_fill_the_disk_or_hold_the_run(reply, manner, said, tmp_path):
    began = time.monotonic()
    with pytest.raises(InputError, match=said):
        download_from(reply, tmp_path, manner)
    assert time.monotonic() - began < 10
    assert not (tmp_path / "x").exists()


def test_edited_terms_are_told():
    with pytest.raises(InputError, match="terms is 3, but must be a mapping from names to weights"):
        nst.Settings.from_dict({"terms": 3})


@pytest.mark.parametrize("note", ["[]", '{"url": 1}', "[" * 100_000, '{"total": "x", "etag": 1}'])
def test_a_damaged_note_of_an_earlier_transfer_is_ignored(note, tmp_path):
    (tmp_path / "x.part.json").write_text(note)
    (tmp_path / "x.part").write_bytes(b"earlier")
    reply = b"HTTP/1.1 200 OK\r\n\r\n" + servers.BODY
    assert download_from(reply, tmp_path).read_bytes() == servers.BODY

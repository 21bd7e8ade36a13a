"""Pipes, folders and JSON: `-`, several pictures, `--json`, `info` and `completion`."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import shtab
import tiny
from commands import refusal, run
from hypothesis import given
from PIL import Image

import nst_jax
from nst_jax.cli import cache
from nst_jax.files import weights
from nst_jax.pictures import reading
from nst_jax.pictures.sources import distinct

ROOT = Path(__file__).parents[2]
FAST = ["--iterations=4", "--size=none", "--history=3"]
FAST += [f"--{k}={v}".replace("_", "-", 1) for k, v in tiny.SHALLOW.items()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with pictures of one name and one that is too small."""
    network = tiny.network()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nst_jax.stylizing.run.load_network", lambda *_, **__: network)
    monkeypatch.setattr("nst_jax.sweeps.lanes.load_network", lambda *_, **__: network)
    monkeypatch.setattr(cache, "enable", lambda: None)
    for name, size, seed in (
        ("a/1.png", (24, 24), 1),
        ("b/1.jpg", (24, 24), 2),
        ("style.png", (24, 24), 3),
        ("thin.png", (1, 40), 4),
    ):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(tiny.picture(*size, seed)).save(name)
    return tmp_path


class Pipe(io.TextIOWrapper):
    """Standard input with these bytes; a terminal if there are none."""

    def __init__(self, data: bytes | None):
        super().__init__(io.BytesIO(data or b""))
        self._terminal = data is None

    def isatty(self):
        return self._terminal


@pytest.fixture
def piped(monkeypatch):
    def pipe(path=None, data=None):
        found = Path(path).read_bytes() if path else data
        monkeypatch.setattr(sys, "stdin", Pipe(found))

    return pipe


def documented(values):
    """Whether the page on the command line has every key of these values."""
    page = (ROOT / "docs/command-line.md").read_text("utf-8")
    return all(f"`{key}`" in page for key in values)


def pixels(source):
    return np.asarray(Image.open(source))


# Standard input and output.


@pytest.mark.parametrize("which", ["content", "style"])
def test_a_picture_goes_through_pipes(folder, piped, capfdbinary, which):
    names = {"content": "a/1.png", "style": "style.png"}
    assert run("stylize", *names.values(), "-o", "out.png", *FAST, "--quiet") == 0
    piped(names[which])
    names[which] = "-"
    capfdbinary.readouterr()
    assert run("stylize", *names.values(), "-o", "-", *FAST) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"\x89PNG\r\n\x1a\n")
    assert out[-8:-4] == b"IEND", "nothing after the picture"
    np.testing.assert_array_equal(pixels(io.BytesIO(out)), pixels("out.png"))
    assert b"Stylization(24x24" in err

    Path("piped.png").write_bytes(out)
    piped("piped.png")
    assert run("show", "-") == 0
    told = json.loads(capfdbinary.readouterr().out)
    assert run("show", "piped.png", "--json") == 0
    assert json.loads(capfdbinary.readouterr().out) == told
    assert which not in told["sources"]
    assert len(told["sources"]) == 1


def test_standard_output_takes_other_formats(folder, capfdbinary):
    argv = ("stylize", "a/1.png", "style.png", "-o", "-", *FAST, "--quiet", "--format=jpg")
    assert run(*argv) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    with Image.open(io.BytesIO(out)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (24, 24))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["stylize", "-", "-", "-o", "o.png"], "Standard input (-) is one picture"),
        (["stylize", "-", "style.png", "-o", "o.png"], "content picture '<stdin>' is empty"),
        (["stylize", "a/1.png", "-", "-o", "o.png"], "style picture '<stdin>' is empty"),
        (["show", "-"], "picture '<stdin>' is empty"),
        (["stylize", "-", "style.png", "-o", "-", "--json"], "or --json, not both"),
        (["stylize", "a", "style.png", "-o", "-"], "Standard output takes one picture"),
        (["stylize", "a/1.png", "style.png", "-o", "-", "--steps=2"], "name of a file as OUT"),
        (["stylize", "a/1.png", "style.png", "-o", "o.png", "--format=jpg"], "suffix of the"),
        (["stylize", "a", "style.png", "-o", "o.png"], "Several pictures need a folder"),
        (["stylize", "a", "b", "--style=a/1.png", "-o", "o", "--trace=t"], "leave out --trace"),
        (["stylize", "a", "style.png", "-o", "o", "--steps=2"], "needs one content"),
        (
            ["stylize", "a/1.png", "style.png", "-o", "o.png", "--steps=2", "--skip-existing"],
            "and no --skip-existing",
        ),
        (["stylize", "a/1.png", "style.png", "-o", ""], "must end in one of"),
        (["stylize", "", "style.png", "-o", "o.png"], "has an empty name"),
        (["stylize", "a", "style.png", "-o", "style.png/x"], "cannot be made"),
    ],
)
def test_bad_streams_get_one_sentence(folder, piped, capfd, argv, said):
    piped(data=b"")
    assert said in refusal(capfd, *argv)
    assert not Path("o.png").exists()


def test_a_terminal_is_no_stream(folder, piped, capfd, monkeypatch):
    piped()
    said = refusal(capfd, "stylize", "-", "style.png", "-o", "o.png")
    assert "Standard input (-) is a terminal or closed" in said
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        said = refusal(capfd, "stylize", "a/1.png", "style.png", "-o", "-")
    assert "Standard output (-) is a terminal or closed" in said


def test_a_pipe_that_nobody_reads(folder, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch, os.fdopen(os.dup(writer), "w") as out:
        patch.setattr(sys, "stdout", out)
        with pytest.raises(BrokenPipeError):
            run("stylize", "a/1.png", "style.png", "-o", "-", *FAST, "--quiet")
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    os.close(writer)


def test_standard_output_that_is_closed(monkeypatch, capfd):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        codes = run("weights", "list", "--json"), run("stylize", "a", "b", "-o", "-")
    assert codes == (2, 2)
    assert capfd.readouterr().err.count(" closed") == 2
    done = subprocess.run(
        f"{sys.executable} -m nst_jax weights list >&-", shell=True, cwd=ROOT, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_standard_output_that_is_full(monkeypatch, capfd):
    with monkeypatch.context() as patch, open("/dev/full", "w") as out:
        patch.setattr(sys, "stdout", out)
        assert run("weights", "list", "--json") == 2
    assert "Standard output cannot be written (No space left" in capfd.readouterr().err
    with open("/dev/full", "w") as out:
        argv = [sys.executable, "-m", "nst_jax", "completion", "bash"]
        done = subprocess.run(argv, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "nst-jax: The output cannot be written (No space left on device).\n"


# Several pictures.


def test_several_contents_are_drawn_one_by_one(folder, capfd):
    Path("b/bad.png").write_bytes(b"none")
    given = ("stylize", "a/1.png", "b", "thin.png", "--style=style.png", "-o", "out", *FAST)
    assert run(*given, "--json") == 2
    out, err = capfd.readouterr()
    done = json.loads(out)
    assert sorted(p.name for p in Path("out").iterdir()) == ["1-2.png", "1.png"]
    assert [(r["input"], r["output"]) for r in done["results"]] == [
        ("a/1.png", "out/1.png"),
        ("b/1.jpg", "out/1-2.png"),
    ]
    assert [one["input"] for one in done["failed"]] == ["b/bad.png", "thin.png"]
    assert "'thin.png' is 40x1 pixels, too small" in done["failed"][1]["error"]
    told = [line for line in err.splitlines() if line.startswith("nst-jax: ")]
    assert [name in line for name, line in zip(("bad.png", "thin.png"), told, strict=True)]
    assert run("stylize", "b/1.jpg", "style.png", "-o", "alone.png", *FAST, "--quiet") == 0
    np.testing.assert_array_equal(pixels("out/1-2.png"), pixels("alone.png"))

    Path("out/1.png").unlink()
    kept = Path("out/1-2.png").stat().st_mtime_ns
    assert "exists already" in refusal(capfd, *given)
    assert not Path("out/1.png").exists()
    assert run(*given, "--skip-existing", "--json", "--quiet") == 2
    done = json.loads(capfd.readouterr().out)
    assert (len(done["results"]), done["skipped"]) == (1, ["out/1-2.png"])
    assert Path("out/1-2.png").stat().st_mtime_ns == kept


def test_one_picture_may_go_into_a_folder(folder, capfd):
    Path("out").mkdir()
    argv = ("stylize", "a/1.png", "style.png", "-o", "out", *FAST, "--format=webp")
    assert run(*argv) == 0
    assert capfd.readouterr().out.endswith("\nout/1.webp\n")
    assert run(*argv, "--skip-existing") == 0
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_keeps_what_is_drawn(folder, monkeypatch, capfd):
    def stylize(content, style, **options):
        if content == "b/1.jpg":
            raise KeyboardInterrupt
        return drawn(content, style, **options)

    drawn = nst_jax.stylize
    monkeypatch.setattr("nst_jax.stylizing.api.stylize", stylize)
    given = ("stylize", "a/1.png", "b", "--style=style.png", "-o", "out", *FAST, "--quiet")
    assert run(*given, "--json") == 130
    done = json.loads(capfd.readouterr().out)
    assert [one["output"] for one in done["results"]] == ["out/1.png"]
    assert [p.name for p in Path("out").iterdir()] == ["1.png"]
    monkeypatch.setattr("nst_jax.stylizing.api.stylize", drawn)
    assert run(*given, "--skip-existing") == 0
    assert sorted(p.name for p in Path("out").iterdir()) == ["1-2.png", "1.png"]


def test_settings_of_a_result_hold_for_a_folder(folder, capfd):
    Image.fromarray(tiny.picture(24, 24, 7)).save("a/2.png")
    assert run("stylize", "b/1.jpg", "style.png", "-o", "o.png", *FAST, "--seed=5") == 0
    assert run("stylize", "a", "--from", "o.png", "-o", "out", "--network=vgg19-lite") == 0
    for name in ("1.png", "2.png"):
        about = reading.read_settings(f"out/{name}")
        assert (about["settings"]["seed"], about["settings"]["iterations"]) == (5, 4)
        assert about["sources"] == {"content": name, "style": "style.png"}


@pytest.mark.parametrize("option", ["--style-weight=-1", "--preset=gatis", "--style=nowhere.png"])
def test_a_fault_of_an_option_is_told_once(folder, capfd, option):
    refusal(capfd, "stylize", "a", "b", "--style=style.png", option, "-o", "out", *FAST)
    assert not list(Path("out").iterdir())


def test_a_sweep_numbers_names_and_names_pictures(folder, capfd):
    argv = ("a/1.png", "b/1.jpg", "style.png", "-o", "out", *FAST, "--quiet", "--in-flight=1")
    Image.fromarray(tiny.picture(24, 24, 6)).save("a/1.jpg")
    assert run("sweep", "a/1.jpg", *argv[1:], "--json") == 0
    done = json.loads(capfd.readouterr().out)
    assert done == {"output": "out"} | json.loads(Path("out/sweep.json").read_text())
    assert documented(done)
    assert done["axes"] == {"content": ["1.jpg", "1-2.jpg"]}
    assert [lane["status"] for lane in done["lanes"]] == ["finished"] * 2
    said = refusal(capfd, "sweep", "a/1.png", "thin.png", *argv[1:3], "-o", "x", *FAST)
    assert "'thin.png' is 40x1 pixels" in said


@given(st.lists(st.sampled_from(["1.png", "1-2.png", "1-3.png", "1-2-2.png", "x", "1.jpg"])))
def test_names_are_distinct_and_the_first_of_each_stays(names):
    found = distinct(names)
    assert len(set(found)) == len(found) == len(names)
    for name, new in zip(names, found, strict=True):
        assert new == name or new not in names
        assert (new == name) == (found.index(new) == names.index(name))
        assert os.path.splitext(new)[1] == os.path.splitext(name)[1]


def test_a_name_that_is_there_twice_gets_a_number():
    assert distinct(["1.png", "1.png", "1.png"]) == ["1.png", "1-2.png", "1-3.png"]


# JSON.


def test_stylize_reports_what_it_embeds(folder, monkeypatch, capfd):
    given = ("stylize", "a/1.png", "style.png", *FAST, "--quiet", "--json")
    assert run(*given, "-o", "out.png") == 0
    out, err = capfd.readouterr()
    assert err == ""
    done = json.loads(out)
    assert run("show", "out.png") == 0
    about = json.loads(capfd.readouterr().out)
    where = {"input": "a/1.png", "output": "out.png", "width": 24, "height": 24}
    assert done == {"results": [where | about], "failed": [], "skipped": []}
    assert documented(done | done["results"][0])

    def drawn(content, styles, style_blend, **options):
        return nst_jax.stylize(content, styles[0], **options)

    monkeypatch.setattr("nst_jax.stylizing.interpolation.stylize", drawn)
    assert run(*given[:3], "b/1.jpg", *given[3:], "--steps=2", "-o", "s.png") == 0
    done = json.loads(capfd.readouterr().out)
    assert [one["output"] for one in done["results"]] == ["s-1.png", "s-2.png"]


def test_weights_report(folder, capfd):
    assert run("weights", "list", "--json") == 0
    listed = {one.pop("name"): one for one in json.loads(capfd.readouterr().out)["weights"]}
    assert list(listed) == list(weights.manifest())
    assert all(one.keys() == {"title", "licence", "path"} for one in listed.values())
    assert run("weights", "verify", "vgg19-lite", "--json") == 0
    found = json.loads(capfd.readouterr().out)
    assert found["path"] == listed["vgg19-lite"]["path"]
    assert found["digest"].startswith("sha256:")
    assert run("weights", "fetch", "vgg19-lite", "--json") == 0
    assert json.loads(capfd.readouterr().out)["path"] == found["path"]


# Info and completion.


def test_info_tells_versions_devices_caches_and_weights(folder, monkeypatch, capfd):
    monkeypatch.setenv("NST_JAX_WEIGHTS_DIR", str(folder / "w"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "nothing"))
    (folder / "w").mkdir()
    (folder / "w/vgg19.h5.part").write_bytes(bytes(1000))
    (folder / "w/mine.safetensors").write_bytes(bytes(24))
    assert run("info", "--json") == 0
    found = json.loads(capfd.readouterr().out)
    assert documented(found)
    assert found["versions"]["nst_jax"] == nst_jax.__version__
    assert found["versions"]["jax"] == jax.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert len(found["devices"]["devices"]) == len(jax.devices())
    sizes = {name: (one["bytes"], one["files"]) for name, one in found["folders"].items()}
    assert sizes == {"weights": (1024, 2), "programs": (0, 0), "downloads": (1000, 1)}
    kinds = {one["name"]: one["kind"] for one in found["weights"]}
    assert kinds["mine"] == "damaged"
    assert kinds["vgg19-lite"] == "vgg19-lite"
    assert kinds["styles"] == "feedforward-transformer"
    assert run("info") == 0
    out = capfd.readouterr().out
    for value in (nst_jax.__version__, jax.__version__, str(folder / "nothing"), "styles"):
        assert value in out


def test_info_does_not_fail_without_a_backend(monkeypatch, capfd):
    def devices():
        raise RuntimeError("Unable to initialize backend 'foo'")

    monkeypatch.setattr(jax, "devices", devices)
    assert run("info") == 0
    out, err = capfd.readouterr()
    assert "none: Unable to initialize backend 'foo'" in out
    assert err == ""


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sty"], ["stylize"]),
        (["weights", "fe"], ["fetch"]),
        (["stylize", "--skip"], ["--skip-existing"]),
        (["stylize", "--optimizer", "adam"], ["adam"]),
        (["stylize", "pho"], ["photo.png"]),
        (["apply", "styles", "x.png", "--format", "w"], ["webp"]),
        (["completion", "f"], ["fish"]),
    ],
)
def test_bash_completes(tmp_path, capfd, words, wanted):
    assert run("completion", "bash") == 0
    (tmp_path / "photo.png").touch()
    script = capfd.readouterr().out + (
        f"\nCOMP_WORDS=(nst-jax {' '.join(words)}); COMP_CWORD={len(words)}\n"
        '_shtab_nst_jax; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc"], input=script, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == wanted


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_their_own(capfd, shell):
    assert run("completion", shell) == 0
    out = capfd.readouterr().out
    assert shtab.FILE[shell] in out
    for word in ("stylize", "skip-existing", "completion"):
        assert word in out


def test_a_shell_that_is_not_known(capfd):
    assert "invalid choice: 'tcsh'" in refusal(capfd, "completion", "tcsh")

"""The command line: subcommands, exit codes, and one line for every bad input."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny
from commands import refusal, run
from PIL import Image
from refusals import plain_user_folder  # noqa: F401

import nst_jax
from nst_jax import InputError, devices
from nst_jax.cli import cache
from nst_jax.cli import stylize as stylize_command
from nst_jax.files import weightfile, weights
from nst_jax.pictures import reading

ROOT = Path(__file__).parents[2]
NETWORK = tiny.network()
FAST = [
    "--iterations=8",
    "--size=none",
    *(f"--{k}={v}".replace("_", "-", 1) for k, v in tiny.SHALLOW.items()),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with two pictures; a narrow network; nothing kept between runs."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(tiny.picture()).save("content.png")
    Image.fromarray(tiny.picture(32, 32, 2)).save("style.png")
    monkeypatch.setattr("nst_jax.stylizing.run.load_network", lambda *_, **__: NETWORK)
    monkeypatch.setattr(cache, "enable", lambda: None)
    return tmp_path


def stylize(*options, content="content.png", style="style.png", output="out.png"):
    return ["stylize", content, style, "--output", output, *FAST, *options]


def test_stylize_writes_the_picture_and_show_tells_how(folder, capfd):
    assert run(*stylize("--style-weight=7", "--seed", "3", "--history=7")) == 0
    out, err = capfd.readouterr()
    assert re.fullmatch(r"Stylization\(40x32, finished after 8 .*\)\nout.png\n", out)
    assert "100%" in err
    assert "loss=" in err
    assert reading.read("out.png").rgb.shape == (32, 40, 3)
    assert sorted(p.name for p in folder.iterdir()) == ["content.png", "out.png", "style.png"]

    assert run("show", "out.png") == 0
    record = json.loads(capfd.readouterr().out)
    assert record["settings"]["style_weight"] == 7
    assert record["settings"]["seed"] == 3
    assert record["settings"]["size"] is None
    assert record["sources"] == {"content": "content.png", "style": "style.png"}
    assert (record["network"], record["version"]) == ("tiny", nst_jax.__version__)


def test_quiet_says_nothing(folder, capfd):
    assert run(*stylize("--quiet")) == 0
    assert capfd.readouterr() == ("", "")


def test_flags_arrive_and_defaults_are_the_presets(folder, monkeypatch, capfd):
    given = []

    def stylize_(content, style, **options):
        given.append(options)
        raise InputError("Enough.")

    monkeypatch.setattr("nst_jax.stylizing.api.stylize", stylize_)
    bare = ["stylize", "content.png", "style.png", "-o", "out.png"]
    run(*bare)
    run(*bare, "--preset=paper", "--size", "none", "--learning-rate=none", "--remat", "--offline")
    run(*bare, "--no-remat", "--style-layers=relu1_1:2,relu2_1", "--iterations=3", "--quiet")
    assert given == [
        {"offline": None, "progress": True},
        {
            "offline": True,
            "progress": True,
            "preset": "paper",
            "size": None,
            "learning_rate": None,
            "remat": True,
        },
        {
            "offline": None,
            "progress": False,
            "remat": False,
            "style_layers": "relu1_1:2,relu2_1",
            "iterations": 3,
        },
    ]


def test_help_shows_every_setting_with_its_default(capfd):
    assert run("stylize", "--help") == 0
    text = " ".join(capfd.readouterr().out.split())
    for field in dataclasses.fields(nst_jax.Settings):
        default = getattr(nst_jax.PRESETS["default"], field.name)
        assert f"--{field.name.replace('_', '-')}" in text
        if not isinstance(default, dict):
            shown = "none" if default is None else default
            assert re.search(rf"{re.escape(field.metadata['help'])} \(default: {shown}\)", text)


def test_overwriting_needs_force_and_is_refused_before_anything_is_computed(
    folder, monkeypatch, capfd
):
    Path("out.png").write_bytes(b"precious")
    with monkeypatch.context() as patch:
        patch.setattr("nst_jax.stylizing.api.stylize", lambda *_, **__: pytest.fail("computed"))
        assert "exists already" in refusal(capfd, *stylize())
    assert Path("out.png").read_bytes() == b"precious"
    assert run(*stylize("--force")) == 0
    assert reading.read("out.png").rgb.shape == (32, 40, 3)


def test_a_failing_write_leaves_the_old_file(folder, monkeypatch, capfd):
    Path("out.png").write_bytes(b"precious")

    def replace(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    assert "No space left" in refusal(capfd, *stylize("--force", "--quiet"))
    assert Path("out.png").read_bytes() == b"precious"
    assert sorted(p.name for p in folder.iterdir()) == ["content.png", "out.png", "style.png"]


def test_warnings_are_one_line_each(folder, capfd):
    content = np.dstack([tiny.picture(), np.full((32, 40), 128, np.uint8)])
    Image.fromarray(content).save("clear.png")
    before = warnings.showwarning
    with warnings.catch_warnings(action="default"):
        assert run(*stylize("--quiet", content="clear.png", output="out.jpg")) == 0
    assert warnings.showwarning is before
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"nst-jax: JPEG has no transparency, .*\n", err)


def damaged(kind: str) -> None:
    data = Path("content.png").read_bytes()
    Path("bad.png").write_bytes(
        {"empty": b"", "cut": data[: len(data) // 2], "text": b"no picture at all\n" * 20}[kind]
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "'bad.png' is empty (0 bytes)"),
        ("cut", "'bad.png' is damaged or cut short"),
        ("text", "'bad.png' is not in a format that can be read"),
    ],
)
@pytest.mark.parametrize("which", ["content", "style"])
def test_files_that_are_no_pictures(folder, capfd, kind, said, which):
    damaged(kind)
    err = refusal(capfd, *stylize(**{which: "bad.png"}))
    assert f"The {which} picture {said}" in err
    assert not Path("out.png").exists()


@pytest.mark.parametrize(
    ("size", "which", "said"),
    [
        (
            (1, 1),
            "content",
            "content picture 'odd.png' is 1x1 pixels, too small for layers as deep",
        ),
        ((8, 64), "content", "content picture 'odd.png' is 8x64 pixels, too small"),
        ((8, 64), "style", "style picture 'odd.png' is 8x64 pixels, too small"),
        ((30_000, 2), "content", "30000 x 2 pixels, beyond the limit of 178,956,970 pixels"),
        ((30_000, 2), "style", "or raise the limit with max_pixels=400000000"),
    ],
)
def test_pictures_of_unfit_size(folder, capfd, size, which, said):
    Image.new("RGB", size).save("odd.png")
    assert said in refusal(capfd, *stylize("--style-layers=relu5_1", **{which: "odd.png"}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset=gatis"], "There is no preset 'gatis'. Did you mean 'gatys'?"),
        (["--pooling=avarage"], "no pooling 'avarage'. Did you mean 'average'?"),
        (["--init=contents"], "no init 'contents'. Did you mean 'content'?"),
        (["--init=nowhere.jpg"], "The init picture 'nowhere.jpg' does not exist"),
        (["--style-layers=relu6_1"], "no layer 'relu6_1'. Did you mean"),
        (["--content-layers=conv2_11"], "no layer 'conv2_11'. Did you mean 'conv2_1'?"),
        (["--style-weight=-1"], "style_weight is -1.0, but must be a number from 0"),
        (["--style-weight", "-1"], "style_weight is -1.0, but must be a number from 0"),
        (["--content-weight=nan"], "content_weight is nan, but must be a number"),
        (["--tv-weight=inf"], "tv_weight is inf, but must be a number"),
        (["--style-layers=relu1_1:-1"], "the weight of relu1_1 is -1.0"),
        (["--content-weight=0", "--style-weight=0"], "All weights are zero"),
        (["--size=0"], "size is 0, but must be a whole number"),
        (["--iterations=-1"], "iterations is -1, but must be a whole number"),
        (["--precision=bfloat16"], "use optimizer 'adam'"),
        (["--optimizer=lbfgs-zoom", "--learning-rate=1"], "leave out learning_rate"),
        (["--size=many"], "argument --size: invalid whole number value: 'many'"),
        (["--size=3.5"], "argument --size: invalid whole number value: '3.5'"),
        (["--iterations=none"], "argument --iterations: invalid whole number value: 'none'"),
        (["--style-weight=much"], "argument --style-weight: invalid number value: 'much'"),
        (["--style-weight"], "argument --style-weight: expected one argument"),
        (["--stile-weight=3"], "--stile-weight=3; did you mean --style-weight?"),
        (
            ["--style_weight", "3"],
            "did you mean --style-weight? (nst-jax stylize --help says more)",
        ),
        (["--styl=3"], "unrecognized arguments: --styl=3; did you mean --style?"),
        (["--remat=yes"], "argument --remat"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_options(folder, capfd, options, said):
    assert said in refusal(capfd, *stylize(*options))
    assert not Path("out.png").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "the following arguments are required: COMMAND (nst-jax --help says more)"),
        (["stylise"], "invalid choice: 'stylise' (choose from"),
        (["stylize", "a.png"], "required: STYLE, -o/--output (nst-jax stylize --help says more)"),
        (stylize("--steps=2"), "give a list of two style pictures or more"),
        (stylize(content="nowhere.png"), "content picture 'nowhere.png' does not exist"),
        (
            stylize(content="."),
            "Several pictures need a folder, but the output 'out.png' has the name",
        ),
        (stylize(output="out.gif"), "must end in one of .png, .jpg"),
        (stylize(output="out"), "must end in one of .png, .jpg"),
        (stylize(output="nowhere/out.png"), "folder 'nowhere' for the output does not exist"),
        (["show"], "required: OUT"),
        (["show", "nowhere.png"], "picture 'nowhere.png' does not exist"),
        (["show", "content.png"], "carries no settings"),
        (["weights"], "required: ACTION"),
        (["weights", "fetch", "vgg91"], "no weights called 'vgg91'. Did you mean 'vgg19'?"),
        (["weights", "verify", "nowhere.safetensors"], "There is no weight file"),
        (["weights", "convert", "nowhere.h5"], "nowhere.h5"),
        (["weights", "convert", "content.png"], "content.png"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_bad_commands(folder, capfd, argv, said):
    assert said in refusal(capfd, *argv)


def test_an_unwritable_folder(plain_user_folder, monkeypatch, capfd):  # noqa: F811
    plain_user_folder.chmod(0o500)
    output = plain_user_folder / "out.png"
    monkeypatch.setattr("nst_jax.stylizing.api.stylize", lambda *_, **__: pytest.fail("computed"))
    assert "cannot be written (Permission denied)" in refusal(capfd, *stylize(output=output))


def test_too_little_memory(folder, monkeypatch, capfd):
    monkeypatch.setattr(devices, "available", lambda: 50_000_000)
    err = refusal(capfd, *stylize("--size=1000"))
    assert re.search(r"1000x800 pixels needs about [\d.]+ GB of memory, but 0.1 GB are free", err)
    assert all(option in err for option in ("size", "history", "remat", "adam"))


def test_ctrl_c_before_there_is_a_picture(folder, monkeypatch, capfd):
    def stylize_(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nst_jax.stylizing.api.stylize", stylize_)
    assert run(*stylize()) == 130
    assert capfd.readouterr().err == "nst-jax: Interrupted before there was a result.\n"


def test_weights_list_verify_and_convert(folder, monkeypatch, capfd):
    monkeypatch.setattr(weights, "search_path", lambda: [folder])
    monkeypatch.setattr(weights, "store", lambda: folder)
    monkeypatch.setattr(weightfile, "WIDTHS", (4, 4, 6, 6, 6))
    np.savez("mine.npz", **tiny.tensors())
    assert run("weights", "convert", "mine.npz", "--preprocessing=caffe") == 0
    assert capfd.readouterr().out == f"{folder / 'mine.safetensors'}\n"
    assert run("weights", "verify", "mine.safetensors") == 0
    assert re.fullmatch(r"mine.safetensors: sha256:\w+, as it .*\n", capfd.readouterr().out)
    Path("mine.safetensors").rename("vgg16.safetensors")
    assert run("weights", "list") == 0
    out = capfd.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == list(weights.manifest())
    assert f"{folder / 'vgg16.safetensors'}" in out
    assert "not here" in out
    monkeypatch.setenv("NST_JAX_OFFLINE", "1")
    assert "fetching is switched off" in refusal(capfd, "weights", "fetch", "vgg19")


# What follows starts the real command, in a process of its own.

_TINY = """
import sys, tiny
from nst_jax.cli import main
from nst_jax.stylizing import run
network = tiny.network()
run.load_network = lambda *_, **__: network
sys.argv[0] = "nst-jax"
main.run()
"""


def start(*argv, program=_TINY, folder=None, **environment):
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, argv)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("argv", [["--help"], ["stylize", "--help"], ["--version"]])
def test_help_is_quick_and_imports_no_jax(argv):
    program = """
import sys, time
began = time.process_time()  # a busy machine does not count
from nst_jax.cli.main import run
try:
    run()
finally:
    print(time.process_time() - began, [m for m in ("jax", "numpy") if m in sys.modules])
"""
    process = start(*argv, program=program)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    seconds, modules = out.splitlines()[-1].split(" ", 1)
    assert modules == "[]"
    assert float(seconds) < 1
    assert argv == ["--version"] or "usage: nst-jax" in out


def test_the_real_command_refuses_and_interrupts(folder):
    wrong = start("stylize", "content.png", "nowhere.png", "-o", "out.png", folder=folder)
    cache = folder / "cache"
    long = start(
        *stylize("--iterations=10000000", "--history=8"),
        folder=folder,
        XDG_CACHE_HOME=str(cache),
    )
    out, err = wrong.communicate(timeout=100)
    assert (wrong.returncode, out) == (2, "")
    assert re.fullmatch(r"nst-jax: The style picture 'nowhere.png' does not exist.*\n", err)
    assert not Path("out.png").exists()

    assert long.stderr is not None
    seen = ""
    while "loss=" not in seen:
        seen += long.stderr.read(1)
    time.sleep(0.3)
    long.send_signal(signal.SIGINT)
    out, err = long.communicate(timeout=100)
    assert long.returncode == 130
    assert not re.search(r"Traceback|xla_bridge", seen + err)
    assert "interrupted after" in out
    record = reading.read_settings("out.png")
    assert record["status"] == "interrupted"
    assert 1 < record["evaluations"] < 10_000_000
    assert any((cache / "nst_jax" / "xla").iterdir()), "compiled programs are kept"


@pytest.mark.parametrize("argv", [["--help"], ["weights", "list"], ["completion", "fish"]])
def test_a_closed_pipe_ends_quietly(folder, argv):
    program = "from nst_jax.cli import main; main.run()"
    with start(*argv, program=program, folder=folder) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()
        assert done.stderr.read() == ""
    assert done.returncode in (0, 141)


@pytest.mark.parametrize("platform", ["tpu", "foo"])
def test_a_platform_that_is_not_there(folder, platform):
    program = "from nst_jax.cli import main; main.run()"
    wrong = start(*stylize(), program=program, folder=folder, JAX_PLATFORMS=platform)
    out, err = wrong.communicate(timeout=100)
    assert (wrong.returncode, out) == (2, "")
    assert f"JAX finds no device of the platform '{platform}'" in err
    assert "Traceback" not in err


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "nst_jax", "stylise"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert re.fullmatch(r"nst-jax: argument COMMAND: invalid choice: 'stylise' .*\n", done.stderr)


def test_a_result_is_not_lost_to_what_happens_meanwhile(tmp_path, monkeypatch):
    # Where the rescued go.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Result:
        def save(self, path, *, overwrite=True):
            if path.parent == tmp_path / "gone":
                raise InputError("The folder is gone.")
            path.write_bytes(b"picture")
            return path

    out = tmp_path / "out.png"
    out.write_bytes(b"somebody's")
    with pytest.warns(RuntimeWarning, match=r"has made .*out\.png' meanwhile: .*out-1\.png'"):
        assert stylize_command._save(Result(), out, force=False) == tmp_path / "out-1.png"
    assert out.read_bytes() == b"somebody's"
    assert stylize_command._save(Result(), out, force=True) == out
    with pytest.raises(InputError, match=r"gone\. The result is kept in (.*)out\.png\.") as error:
        stylize_command._save(Result(), tmp_path / "gone" / "out.png", force=False)
    kept = Path(str(error.value).split("kept in ")[1].removesuffix("."))
    assert kept.parent.parent == tmp_path
    assert kept.read_bytes() == b"picture"

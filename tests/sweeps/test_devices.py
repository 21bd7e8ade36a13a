"""Sweeps and trainings over virtual devices, sweeps over processes that talk over loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from PIL import Image

ROOT = Path(__file__).parents[2]

DEVICES = """
import jax, numpy as np, tiny, nst_jax as nst
network, content, style = tiny.network(), tiny.picture(24, 32), tiny.picture(32, 32, 2)

def sweep(devices, **options):
    return nst.sweep(content, style, network=network, style_weight=[1, 2, 3, 4, 5, 6, 7],
                     size=None, iterations=5, history=4, progress=False,
                     devices=jax.devices()[:devices], **tiny.SHALLOW, **options)

assert len(jax.devices()) == 8
one = sweep(1, in_flight=1)
for devices, in_flight in ((1, 3), (2, 1), (4, 1), (8, 1)):
    many = sweep(devices, in_flight=in_flight)
    assert len(many) == 7
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a.image, b.image, atol=1e-5)
        np.testing.assert_allclose(a.losses["total"], b.losses["total"], rtol=1e-5)
print("all the same")
"""

TRAINING = """
import jax, numpy as np, tiny
from nst_jax.models.transformer import Architecture
from nst_jax.pictures.reading import Picture
from nst_jax.training import loop, tasks
from nst_jax.training.recipe import Recipe

recipe = Recipe(crop=16, batch=8, style_size=32, network="vgg19-lite", steps=2, **tiny.SHALLOW)
pictures = [tiny.picture(32, 32, n) / np.float32(255) for n in range(10)]
styles = [Picture(picture) for picture in pictures[8:]]
task = tasks.stylizers(recipe, Architecture("small", 2, blocks=0), tiny.network(), styles)
crops = np.stack([picture[:16, :16] for picture in pictures[:8]])

def trained(devices):
    seen = []
    state = loop.run(task, recipe, lambda *_: iter([crops] * 2), loop.start(task), seen.append,
                      devices=jax.devices()[:devices])
    return state, [now.terms for now in seen]

one, losses = trained(1)
many, more = trained(8)
assert {len(v.sharding.device_set) for v in many.parameters.values()} == {8}
for a, b in zip(losses, more, strict=True):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=1e-4, err_msg=name)
for a, b in zip(jax.tree.leaves(one.optimizer), jax.tree.leaves(many.optimizer), strict=True):
    np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4 * np.abs(a).max())
print("all the same")
"""

PROCESS = """
import sys, jax
from nst_jax.cli import main
from nst_jax.cli import cache
from nst_jax.sweeps import batches, lanes, processes
import tiny
lanes.load_network = lambda *_, **__: tiny.network()
cache.enable = lambda: None
processes._BEAT_SECONDS, processes._SILENCE_SECONDS = 0.2, 3.0
if "--die" in sys.argv:
    sys.argv.remove("--die")
    import os, signal
    run = batches.draw
    def dying(*args, **options):
        if dying.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        dying.left -= 1
        return run(*args, **options)
    dying.left = 1
    batches.draw = dying
sys.argv[0] = "nst-jax"
main.run()
"""


def start(program, *argv, **variables):
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, argv)],
        env=os.environ | {"PYTHONPATH": paths} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def pictures(tmp_path):
    for name, seed in (("content.png", 1), ("style.png", 2)):
        Image.fromarray(tiny.picture(24, 32, seed)).save(tmp_path / name)
    return tmp_path


def sweep(folder, count, *, dying=None, resume=False):
    """The exit codes, outputs and errors of `count` processes with one sweep of 8 lanes."""
    coordinator = f"127.0.0.1:{free_port()}"
    running = [
        start(
            PROCESS,
            *("sweep", folder / "content.png", folder / "style.png", "-o", folder / "out"),
            *("--style-weight=1,2,3,4", "--tv-weight", "0,1", "--iterations=3", "--size=none"),
            *("--content-layers=relu2_1", "--style-layers=relu1_1,relu2_1", "--history=4"),
            *("--coordinator", coordinator, "--processes", count, "--process", process),
            *("--in-flight=1", *["--resume"] * resume, *["--die"] * (process == dying)),
        )
        for process in range(count)
    ]
    ended = [process.communicate(timeout=120) for process in running]
    return [(p.returncode, *texts) for p, texts in zip(running, ended, strict=True)]


def index(folder):
    return json.loads((folder / "out" / "sweep.json").read_text())


def previews(folder):
    return (folder / "out" / "index.html").read_text("utf-8").count('"preview": "data:')


@pytest.mark.parametrize("program", [DEVICES, TRAINING], ids=["lanes", "training"])
def test_the_number_of_devices_changes_nothing(program):
    process = start(program, XLA_FLAGS=tiny.with_devices(8))
    out, err = process.communicate(timeout=200)
    assert (process.returncode, out) == (0, "all the same\n"), err


def test_four_processes_share_a_sweep(pictures):
    for code, _, err in sweep(pictures, 4):
        assert code == 0, err
    assert index(pictures)["status"] == "finished"
    assert len(list((pictures / "out").glob("0*.png"))) == previews(pictures) == 8
    assert not list((pictures / "out").glob(".*"))


def test_a_killed_process_is_told_and_the_rest_resumes(pictures):
    (code, _, err), (killed, _, _) = sweep(pictures, 2, dying=1)
    assert (code, killed) == (2, -signal.SIGKILL)
    assert "Process 1 has not been heard of for 3 s; it left lanes 3, 5, 7 undone" in err
    assert "with --resume does the rest" in err
    assert "Traceback" not in err
    assert index(pictures)["status"] == "incomplete"
    kept = {p: p.stat().st_mtime_ns for p in (pictures / "out").glob("0*.png")}
    assert len(kept) == previews(pictures) == 5

    time.sleep(0.01)
    for code, _, err in sweep(pictures, 2, resume=True):
        assert code == 0, err
    assert index(pictures)["status"] == "finished"
    assert previews(pictures) == 8
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())

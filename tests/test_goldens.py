"""Results stay what they were when the goldens were made, and files of then are still read."""

import shutil
from pathlib import Path

import golden_runs
import make_goldens
import numpy as np
import pytest
from PIL import Image

import nst_jax as nst

GOLDEN = Path(__file__).parent / "golden"
FILES = GOLDEN / "v0.1"


@pytest.fixture(scope="module")
def kept():
    with np.load(GOLDEN / "results.npz") as file:
        return dict(file)


def test_every_run_is_kept(kept):
    assert kept.keys() - {"machine"} == golden_runs.RUNS.keys()


@pytest.mark.parametrize("name", golden_runs.RUNS)
def test_results_stay(name, kept):
    # On another machine sums round otherwise, and L-BFGS makes more of that.
    same = str(kept["machine"]) == make_goldens.machine()
    found = golden_runs.RUNS[name]()
    if same:
        np.testing.assert_allclose(found, kept[name], atol=1e-6)
    golden_runs.alike(found, kept[name])


@pytest.fixture
def files(tmp_path, monkeypatch):
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_8_bits(path):
    return np.asarray(Image.open(path))[..., :3] / np.float32(255)


def test_a_result_of_then_is_repeated(files):
    found = nst.repeat("result.png", progress=False)
    np.testing.assert_allclose(found.image, in_8_bits("result.png"), atol=0.02)


def test_a_checkpoint_of_then_is_taken_up(files):
    before = nst.repeat("result.png", progress=False)
    found = nst.repeat("result.png", checkpoint="run.checkpoint", resume=True, progress=False)
    assert found.evaluations[-1] == 8
    golden_runs.alike(found.image, before.image)


def test_a_model_of_then_draws(files):
    model = nst.load("model.safetensors")
    assert model.styles == ("a", "b")
    np.testing.assert_allclose(model("content.png", "a").image, in_8_bits("drawn.png"), atol=0.01)


def test_a_sweep_of_then_is_read(files):
    found = nst.load_sweep("sweep")
    assert found.axes == {"style_weight": (100.0, 1000.0)}
    lane = found.at(style_weight=100.0)
    np.testing.assert_array_equal(lane.image, in_8_bits("sweep/000_style_weight-100.png"))
    again = nst.repeat("sweep/000_style_weight-100.png", progress=False)
    np.testing.assert_allclose(again.image, lane.image, atol=0.01)


def test_a_sweep_of_then_goes_on(files):
    (files / "sweep" / "lanes" / "001.json").unlink()
    options = {"network": "vgg19-lite", "size": 32, "iterations": 3, "history": 2}
    found = nst.sweep(
        "content.png",
        "style.png",
        style_weight=[1e2, 1e3],
        output="sweep",
        resume=True,
        preset="gatys",
        progress=False,
        content_layers="relu2_1",
        style_layers="relu1_1,relu2_1",
        **options,
    )
    assert len(found) == 2
    assert not found.missing

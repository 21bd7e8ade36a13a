"""A full disk: a sentence, nothing half-written, nothing lost of what was there."""

import errno
import os

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import nst_jax as nst
from nst_jax.files import atomic, savepoint, weightfile
from nst_jax.files.weightfile import CAFFE
from nst_jax.films import animation
from nst_jax.models import modelfile
from nst_jax.models.modelfile import ModelFile
from nst_jax.training import api, recording
from nst_jax.training.loop import Now, State

FRAMES = [tiny.picture(16, 16, seed=seed) for seed in (1, 2)]
NETWORK = tiny.network()
FULL = "No space left on device"


def fail(*_, **__):
    raise OSError(errno.ENOSPC, FULL)


@pytest.fixture
def full(monkeypatch):
    """Every file that is completed finds the disk full, until the result is called."""
    fsync = atomic.os.fsync
    monkeypatch.setattr(atomic.os, "fsync", fail)
    return lambda: monkeypatch.setattr(atomic.os, "fsync", fsync)


def of_weights(path):
    tensors = {"conv1_1.kernel": np.ones((3, 3, 3, 4), np.float32)}
    given = {"architecture": "vgg19", "preprocessing": CAFFE, "licence": "none"}
    weightfile.save(path, tensors, source="here", source_digest="sha256:0", **given)


def of_model(path):
    modelfile.save(path, ModelFile("a kind", {}, {"x": np.ones(3, np.float32)}))


WRITERS = {
    "a.safetensors": of_weights,
    "model.safetensors": of_model,
    "a.gif": lambda path: animation.save(path, FRAMES),
    "a.webp": lambda path: animation.save(path, FRAMES),
    "plain": lambda path: atomic.write(path, b"new"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_was_there_stays_and_a_sentence_says_why(name, tmp_path, full):
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(nst.InputError, match=f"{name}.*{FULL}"):
        WRITERS[name](path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {name: b"old"}
    full()
    WRITERS[name](path)
    assert path.read_bytes() != b"old"
    assert os.listdir(tmp_path) == [name]


def test_a_checkpoint_is_done_without(tmp_path, full):
    path = tmp_path / "run"
    path.write_bytes(b"old")
    with pytest.warns(RuntimeWarning, match=f"run.*{FULL}.*the run goes on without"):
        savepoint.save(path, "run", {}, {"x": np.ones(3)})
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["run"]


def test_a_sweep_keeps_its_lanes_and_resumes(tmp_path, monkeypatch):
    from nst_jax.sweeps.folder import Folder

    keep, kept = Folder.keep, []

    def second(folder, lane, result):
        kept.append(lane)
        return fail() if len(kept) == 2 else keep(folder, lane, result)

    options = {
        "content_layers": "relu1_1",
        "style_layers": "relu1_1",
        "seed": [0, 1, 2],
        "init": "noise",
        "iterations": 2,
        "size": None,
        "in_flight": 1,
        "progress": False,
        "network": NETWORK,
        "output": tmp_path / "out",
    }
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "keep", second)
        with pytest.warns(RuntimeWarning, match=f"{FULL}.*the sweep goes on"):
            found = nst.sweep(FRAMES[0], FRAMES[1], **options)
    assert len(found) == 3
    assert nst.load_sweep(tmp_path / "out").missing == (1,)
    resumed = nst.sweep(FRAMES[0], FRAMES[1], resume=True, **options)
    np.testing.assert_array_equal(resumed[1].image, found[1].image)
    assert nst.load_sweep(tmp_path / "out").missing == ()
    # As after a kill between the last lane and the summing up: nothing is left to draw.
    (tmp_path / "out" / "table.csv").unlink()
    np.testing.assert_array_equal(resumed.grid(), found.grid())
    assert len(nst.sweep(FRAMES[0], FRAMES[1], resume=True, **options)) == 3
    assert (tmp_path / "out" / "table.csv").exists()


def test_a_training_goes_on_without_its_trace_and_its_previews(tmp_path, monkeypatch):
    trace, previews = tmp_path / "trace", tmp_path / "previews"
    files = recording.Files(trace=trace, previews=previews, previews_every=1)
    sheet = np.zeros((4, 4, 3), np.float32)
    recorder = recording.Recorder(files, lambda _: sheet, {}, 0)
    state = State(jnp.int32(1), {}, {}, None)
    recorder.report(Now(1, {"total": 1.0}, state))
    with monkeypatch.context() as patch:
        patch.setattr(recording.json, "dumps", fail)
        patch.setattr(atomic.os, "fsync", fail)
        with pytest.warns(RuntimeWarning) as told:
            recorder.report(Now(2, {"total": 1.0}, state))
    assert [str(w.message).partition(" (")[0] for w in told] == [
        f"The trace {str(trace)!r} cannot be written",
        f"The previews {str(previews)!r} cannot be written",
    ]
    recorder.report(Now(3, {"total": 1.0}, state))
    assert (len(trace.read_text().splitlines()), os.listdir(previews)) == (1, ["0000001.png"])


def test_a_trained_model_is_kept_elsewhere(tmp_path, monkeypatch):
    path, rescue = tmp_path / "m.safetensors", tmp_path / "rescue"
    rescue.mkdir()
    path.write_bytes(b"old")
    replace = os.replace
    monkeypatch.setattr(api.tempfile, "mkdtemp", lambda prefix: str(rescue))
    monkeypatch.setattr(atomic.os, "replace", lambda a, b: fail() if b == path else replace(a, b))
    with pytest.raises(nst.InputError, match=rf"{FULL}.*The model is kept in .*rescue"):
        api._save(path, ModelFile("a kind", {}, {"x": np.ones(3, np.float32)}), "none")
    assert modelfile.load(rescue / path.name).kind == "a kind"
    assert path.read_bytes() == b"old"

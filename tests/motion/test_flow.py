"""Flow finds known motion, by either method; cuts are where it finds none."""

import importlib
import sys

import jax
import numpy as np
import pytest
import scenes
from refusals import sentence

from nst_jax.motion.cuts import is_cut
from nst_jax.motion.flow import flow
from nst_jax.motion.reliability import occluded, reliability
from nst_jax.motion.variational import variational

METHODS = ["variational", "dis"]
MOTIONS = {
    "shift": (np.eye(2), (3.4, -2.25)),
    "far": (np.eye(2), (-9, 6)),
    "rotation": (scenes.turn(5), (0, 0)),
    "zoom": (1.08 * np.eye(2), (0.5, 0)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MOTIONS)
def test_known_motion_is_found(name, method, rng):
    a, b, true = scenes.moved(*MOTIONS[name])
    a, b = ((p + rng.normal(0, 0.01, p.shape)).clip(0, 1).astype(np.float32) for p in (a, b))
    found = flow(a, b, method)
    assert (found.shape, found.dtype) == ((96, 96, 2), np.float32)
    inner = np.s_[12:-12, 12:-12]
    errors = np.linalg.norm(found - true, axis=-1)[inner]
    assert errors.mean() < 0.2
    assert np.linalg.norm(true, axis=-1)[inner].mean() > 1
    assert reliability(found, flow(b, a, method))[inner].mean() > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_what_a_disc_covers_is_found(method):
    a, b, true, _, covered = scenes.disc()
    there = flow(a, b, method)
    assert np.linalg.norm(there - true, axis=-1)[~covered].mean() < 0.5
    found = np.asarray(occluded(there, flow(b, a, method)))[8:-8, 8:-8]
    both = (found & covered[8:-8, 8:-8]).sum()
    assert both > 0.4 * covered.sum()
    assert both > 0.35 * found.sum()  # by chance 0.05


def test_many_pairs_at_once():
    motions = (1.5, -1), (-0.75, 0.5)
    pairs = [scenes.moved(np.eye(2), motion, side=20)[:2] for motion in motions]
    found = jax.vmap(variational)(*(np.stack(pictures) for pictures in zip(*pairs, strict=True)))
    for one, motion in zip(found, motions, strict=True):
        errors = np.linalg.norm(np.asarray(one) - motion, axis=-1)
        assert errors[4:-4, 4:-4].mean() < 0.1


@pytest.mark.parametrize(
    ("method", "shape"), [("variational", (7, 13)), ("dis", (1, 1)), ("dis", (7, 90))]
)
def test_small_pictures_have_flow(method, shape):
    picture = scenes.texture(scenes.grid(96))[: shape[0], : shape[1]]
    np.testing.assert_allclose(flow(picture, picture, method), np.zeros((*shape, 2)), atol=1e-3)


def test_cuts_are_told_from_motion_and_light():
    a, b, true = scenes.moved(scenes.turn(5), (3, 0))
    other = scenes.texture(scenes.grid(), 5)
    black = np.zeros_like(a)
    assert not is_cut(a, b, true)
    assert not is_cut(a, 0.5 * b, true)
    assert not is_cut(black, black, 0 * true)
    assert is_cut(a, other, flow(a, other, "dis"))
    assert is_cut(a, other, flow(a, other))
    assert is_cut(black, a, 0 * true)


def test_bad_pictures_get_a_sentence(tmp_path):
    picture = scenes.texture(scenes.grid())
    assert "unlike sizes, 96x96 and 40x96" in sentence(flow, picture, picture[:, :40])
    assert "does not exist" in sentence(flow, picture, tmp_path / "none.png")


def test_a_missing_opencv_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "nst_jax.motion.dis", raising=False)
    assert "pip install" in sentence(importlib.import_module, "nst_jax.motion.dis")

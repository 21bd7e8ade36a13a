"""Warping looks up pixels as scipy's linear interpolation does, and tells what lies outside."""

import jax
import numpy as np
import pytest
import scenes
from scipy import ndimage

from nst_jax.motion.warping import warp


def test_pixels_are_those_of_scipy(rng):
    pictures = rng.random((2, 12, 17, 3), np.float32)
    flows = rng.normal(0, 4, (2, 12, 17, 2)).astype(np.float32)
    warped, inside = jax.vmap(warp)(pictures, flows)
    rows, columns = np.mgrid[:12, :17]
    for n in range(2):
        places = np.stack([rows + flows[n, ..., 1], columns + flows[n, ..., 0]])
        for c in range(3):
            wanted = ndimage.map_coordinates(pictures[n, ..., c], places, order=1, mode="nearest")
            np.testing.assert_allclose(warped[n, ..., c], wanted, atol=1e-5)
        limits = np.array([[[11]], [[16]]])
        np.testing.assert_array_equal(inside[n], ((places >= 0) & (places <= limits)).all(0))
    assert 0.2 < np.mean(inside) < 0.9


def test_the_second_picture_is_brought_to_the_first():
    a, b, flow = scenes.moved(scenes.turn(4), (2, -1.5))
    warped, inside = warp(b, flow)
    assert np.abs(warped - a)[np.asarray(inside)].mean() < 0.01 < np.abs(b - a).mean() / 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e10, -1e10])
def test_wild_motion_is_outside(rng, value):
    picture, flow = rng.random((4, 5, 1), np.float32), np.zeros((4, 5, 2), np.float32)
    flow[1, 2, 0] = value
    warped, inside = warp(picture, flow)
    assert np.isfinite(warped).all()
    assert np.argwhere(~np.asarray(inside)).tolist() == [[1, 2]]
    np.testing.assert_array_equal(np.asarray(warped)[0], picture[0])

"""Reliability is that of Ruder et al.'s checker."""

import os
from pathlib import Path

import numpy as np
import pytest
import scenes
from PIL import Image
from scipy import ndimage

from nst_jax.motion.flofile import read_flow
from nst_jax.motion.reliability import occluded, reliability

PUBLISHED = Path(os.environ.get("NST_JAX_ORACLES_DIR", "")) / "flow"


@pytest.mark.skipif(
    not (PUBLISHED / "reliable_1_2.pgm").is_file(),
    reason="needs the example of artistic-videos: set NST_JAX_ORACLES_DIR to a folder with flow/",
)
@pytest.mark.parametrize("first", range(1, 5))
def test_maps_are_the_published_ones(first):
    one, two = first, first + 1
    forward = read_flow(PUBLISHED / f"forward_{one}_{two}.flo")
    backward = read_flow(PUBLISHED / f"backward_{two}_{one}.flo")
    for flow, back, name in ((forward, backward, (one, two)), (backward, forward, (two, one))):
        found = np.asarray(reliability(flow, back), np.float64) * 255
        with Image.open(PUBLISHED / "reliable_{}_{}.pgm".format(*name)) as picture:
            assert np.abs(found - np.asarray(picture)).max() <= 1 + 1e-4


def checked(flow, back):
    """The checker's formulas in numpy and scipy, of equations 5 to 7."""
    flow, back = flow.astype(np.float64), back.astype(np.float64)
    h, w, _ = flow.shape
    rows, columns = np.mgrid[:h, :w]
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    there = [ndimage.map_coordinates(v, [y, x], order=1) for v in np.moveaxis(back, -1, 0)]
    there = np.stack(there, -1)
    lengths = (flow**2).sum(-1)
    home = ((flow + there) ** 2).sum(-1) < 0.01 * (lengths + (there**2).sum(-1)) + 0.5
    slopes = [ndimage.correlate1d(flow, [-0.5, 0, 0.5], axis, mode="reflect") for axis in (0, 1)]
    boundary = sum((slope**2).sum(-1) for slope in slopes) > 0.01 * lengths + 0.002
    outside = (
        (np.floor(x) < 0) | (np.floor(x) + 1 >= w) | (np.floor(y) < 0) | (np.floor(y) + 1 >= h)
    )
    found = np.where(outside, 0.0, np.where(home, np.where(boundary, 0, 255), -255))
    kinds = [outside, ~outside & ~home, ~outside & home & boundary, found == 255]
    assert min(kind.mean() for kind in kinds) > 0.01
    return ndimage.gaussian_filter(found, 0.8, mode="reflect", radius=2).clip(0, 255) / 255


def test_maps_are_those_of_scipy(rng):
    flow = ndimage.gaussian_filter(rng.normal(0, 70, (40, 56, 2)), (6, 6, 0)).astype(np.float32)
    flow[:, 28:] += (3, 6)
    back = (-flow + rng.normal(0, 0.25, flow.shape)).astype(np.float32)
    back[:12] += 2
    np.testing.assert_allclose(reliability(flow, back), checked(flow, back), atol=1e-4)


def test_a_shift_is_trusted_but_where_it_leaves():
    flow = np.broadcast_to(np.float32([5, 0]), (20, 30, 2))
    found = np.asarray(reliability(flow, -flow))
    np.testing.assert_allclose(found[:17, :22], 1, atol=1e-6)
    assert (found[:, 26:] == 0).all()


def test_what_a_disc_covers_is_not_trusted():
    *_, flow, back, covered = scenes.disc()
    found = np.asarray(reliability(flow, back))
    assert covered.sum() > 100
    assert found[covered].max() < 0.15  # at corners
    assert found[covered].mean() < 0.01
    np.testing.assert_array_equal(occluded(flow, back), covered)
    far = ndimage.binary_erosion(~covered & (flow[..., 0] == 0), iterations=6, border_value=0)
    np.testing.assert_allclose(found[far], 1, atol=1e-6)


def test_unknown_motion_is_not_trusted():
    flow = np.zeros((16, 16, 2), np.float32)
    unknown = flow.copy()
    unknown[7:10, 7:10] = np.nan
    for one, other in ((unknown, flow), (flow, unknown)):
        found = np.asarray(reliability(one, other))
        assert np.isfinite(found).all()
        assert (found[7:10, 7:10] < 0.1).all()
        np.testing.assert_allclose(found[:4, :4], 1, atol=1e-6)

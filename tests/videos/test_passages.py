"""Passages between frames: known motion, cuts, and methods."""

import numpy as np
import scenes

import nst_jax as nst
from nst_jax.videos.passages import passage


def test_an_earlier_frame_is_brought_to_the_later_one():
    earlier, frame, _ = scenes.moved(np.eye(2), (4, -2))
    found = passage(earlier, frame, method="dis")
    brought, _ = nst.warp(earlier, found.flow)
    middle = np.s_[8:-8, 8:-8]
    assert np.abs(np.asarray(brought) - frame)[middle].mean() < 0.01
    assert found.reliable[middle].mean() > 0.95
    assert not found.cut


def test_what_comes_into_sight_is_not_trusted():
    earlier, frame, _, _, _ = scenes.disc()
    _, _, _, _, hidden = scenes.disc(motion=(-7, -3))  # the other way: what the disc uncovers
    assert passage(earlier, frame, method="dis").reliable[hidden].mean() < 0.5


def test_nothing_is_trusted_over_a_cut():
    earlier, frame = (scenes.texture(scenes.grid(), seed) for seed in (0, 9))
    found = passage(earlier, frame, method="dis")
    assert found.cut
    assert not found.reliable.any()

"""Passages between frames: known motion, cuts, and methods."""

import sys

import numpy as np
import pytest
import scenes
from refusals import sentence

import nst_jax as nst
from nst_jax.videos.drawing import draw_video
from nst_jax.videos.optimising import optimise_video
from nst_jax.videos.passages import method_of, passage


def test_an_earlier_frame_is_brought_to_the_later_one():
    earlier, frame, _ = scenes.moved(np.eye(2), (4, -2))
    found = passage(earlier, frame, method="dis")
    brought, _ = nst.warp(earlier, found.flow)
    middle = np.s_[8:-8, 8:-8]
    assert np.abs(np.asarray(brought) - frame)[middle].mean() < 0.01
    assert found.reliable[middle].mean() > 0.95
    assert not found.cut


def test_motion_is_found_better_from_both_sides_and_leads_back(rng):
    earlier, frame, known = scenes.moved(np.eye(2), (2.3, -1.4))
    middle, alone, found = np.s_[8:-8, 8:-8], [], []
    for _ in range(4):
        noise = 0.03 * rng.normal(size=(2, *frame.shape))
        a, b = np.clip(np.stack([earlier, frame]) + noise, 0, 1).astype(np.float32)
        way, back = passage(a, b, method="dis"), passage(b, a, method="dis")
        home = way.flow + np.asarray(nst.warp(back.flow, way.flow)[0])
        assert np.abs(home)[middle].mean() < 0.002
        for flows, one in ((alone, nst.flow(b, a, "dis")), (found, way.flow)):
            flows.append(np.linalg.norm(one + known, axis=-1)[middle].mean())
    assert np.mean(found) < 0.95 * np.mean(alone)


def test_what_comes_into_sight_is_not_trusted():
    earlier, frame, _, _, _ = scenes.disc()
    _, _, _, _, hidden = scenes.disc(motion=(-7, -3))  # the other way: what the disc uncovers
    assert passage(earlier, frame, method="dis").reliable[hidden].mean() < 0.5


def test_nothing_is_trusted_over_a_cut():
    earlier, frame = (scenes.texture(scenes.grid(), seed) for seed in (0, 9))
    found = passage(earlier, frame, method="dis")
    assert found.cut
    assert not found.reliable.any()


@pytest.fixture
def no_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "nst_jax.motion.dis", raising=False)


def test_a_missing_opencv_is_told_before_anything_is_drawn(no_opencv, tmp_path):
    ends = tmp_path / "none.mp4", tmp_path / "out.mp4"
    for draw in (draw_video, optimise_video, nst.deflicker):
        first = (None,) if draw is draw_video else ()
        given = draw, *first, *ends, "style.png"
        assert "needs OpenCV, which is not installed" in sentence(*given, method="dis")
    assert not list(tmp_path.iterdir())


def test_without_opencv_motion_is_found_by_what_needs_nothing(no_opencv):
    assert method_of("auto") == "variational"

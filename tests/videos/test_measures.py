"""Measures against numpy, a floor of zero, cuts, and the table."""

import numpy as np
import pytest
import scenes
import tiny
from PIL import Image
from scipy import ndimage

import nst_jax as nst
from nst_jax.videos import measures
from nst_jax.videos.measures import measure, warping_error
from nst_jax.videos.passages import Passage

SIDE = 48


def test_the_warping_error_is_lais(rng):
    picture, following = rng.random((2, 20, 24, 3)).astype(np.float32)
    flow = rng.uniform(-3, 3, (20, 24, 2)).astype(np.float32)
    mask = rng.random((20, 24)).astype(np.float32) * (rng.random((20, 24)) > 0.3)
    rows, columns = np.mgrid[:20, :24]
    place = [rows + flow[..., 1], columns + flow[..., 0]]
    warped = np.stack(
        [
            ndimage.map_coordinates(p, place, order=1, mode="nearest")
            for p in following.transpose(2, 0, 1)
        ],
        -1,
    )
    expected = (mask[..., None] * (warped - picture) ** 2).sum() / (3 * mask.sum())
    found = warping_error(picture, following, Passage(flow, mask.astype(np.float32), False))
    assert found == pytest.approx(expected, rel=1e-4)
    assert np.isnan(
        warping_error(picture, following, Passage(flow, np.zeros((20, 24), np.float32), True))
    )


def folder_of(place, frames):
    place.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(np.uint8(np.rint(frame * 255))).save(place / f"{number:03}.png")
    return place


@pytest.fixture
def films(tmp_path, monkeypatch):
    """A film with a cut after three frames; its drawing is brighter from frame to frame."""
    monkeypatch.setattr(measures, "FAR", 2)
    grid = scenes.grid(SIDE)
    frames = [scenes.texture(grid + np.array([n, 0]), 0 if n < 3 else 9) for n in range(5)]
    light = [np.clip(f * 0.8 + 0.05 * n, 0, 1) for n, f in enumerate(frames)]
    return folder_of(tmp_path / "in", frames), folder_of(tmp_path / "out", light), frames, light


def test_a_report_has_floor_ceiling_and_losses(films):
    source, styled, _, light = films
    drawn = {"per_frame": styled, "style": tiny.picture(), "every": 2}
    report = measure(source, styled, network=tiny.network(), method="dis", **drawn)
    assert (report.frames, report.cuts) == (5, 1)
    assert list(report.films) == ["original", "styled", "each frame"]
    floor, found = report.films["original"], report.films["styled"]
    assert found == report.films["each frame"]
    assert floor.warping < 0.25 * found.warping
    # A step of 0.05 from frame to frame, and twice that over two frames.
    assert found.warping == pytest.approx(0.05**2, rel=0.3)
    assert found.long_term == pytest.approx(0.1**2, rel=0.3)
    means = [frame.mean((0, 1)) for frame in light]
    drifts = [means[i] - means[0] for i in range(3)] + [means[4] - means[3]]
    assert found.drift == pytest.approx(max(np.sqrt((d**2).mean()) for d in drifts), abs=2e-3)
    assert floor.content == 0
    assert found.content > 0
    assert found.style is not None
    assert found.style > 0
    lines = report.text().splitlines()
    assert [line.split()[0] for line in lines] == ["warping", "original", "styled", "each", "5"]
    assert report.to_dict()["films"]["original"]["content"] == 0


def test_films_that_do_not_belong_together_are_refused(films, tmp_path):
    source, _, frames, _ = films
    for name, other, said in (
        ("few", frames[:3], "give films with a frame for each frame"),
        ("wide", [frame[:30] for frame in frames], "another shape"),
    ):
        with pytest.raises(nst.InputError, match=said):
            measure(source, folder_of(tmp_path / name, other), network=tiny.network())

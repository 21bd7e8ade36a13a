"""Coherent drawings: a static film, a known shift, occlusion, contrast, and sharp warping."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scenes
from scipy import ndimage

from nst_jax.motion.warping import warp, warp_sharp
from nst_jax.videos.coherent import carried, composed
from nst_jax.videos.passages import Passage

SIDE = 48


def shifted(shift, reliable=1.0):
    """A passage of one motion; what comes into sight is not trusted."""
    flow = np.broadcast_to(np.float32(shift), (SIDE, SIDE, 2))
    _, inside = warp(np.zeros((SIDE, SIDE, 1), np.float32), flow)
    return Passage(np.array(flow), reliable * np.asarray(inside, np.float32), False)


def strokes(seed, places=None):
    """Fine strokes, where the drawings of two seeds have nothing in common."""
    places = scenes.grid(SIDE) if places is None else places
    return scenes.texture(places * 2.5, seed)


def test_a_static_film_stays_as_its_first_frame_is_drawn():
    first = last = strokes(0)
    for number in range(1, 5):
        last = composed(strokes(0), last, shifted((0, 0)), number)
        assert np.abs(last - first).max() < 1 / 255


@pytest.mark.parametrize("shift", [(2, 1), (1.5, -0.75)])
def test_strokes_move_with_the_film(shift):
    """A model's drawings that move by themselves, and what is carried: both move alike."""
    places = scenes.grid(SIDE)
    last = strokes(0)
    for number in range(1, 4):
        here = strokes(0, places + number * np.asarray(shift))
        last = composed(here, last, shifted(shift), number)
        middle = np.s_[8:-8, 8:-8]
        assert np.abs(last - here)[middle].mean() <= 0.02


def test_flicker_is_halved_and_strokes_keep_their_contrast():
    """Each frame is drawn in other strokes, the worst that a model can do."""
    drawn = [strokes(seed) for seed in range(7)]
    last, steps = drawn[0], []
    for number in range(1, 7):
        found = composed(drawn[number], last, shifted((0, 0)), number)
        steps.append(np.square(found - last).mean())
        last = found
    alone = [np.square(a - b).mean() for a, b in itertools.pairwise(drawn)]
    assert np.mean(steps) < 0.5 * np.mean(alone)

    def contrast(picture):
        return np.std(picture - ndimage.gaussian_filter(picture, (2, 2, 0)))

    assert contrast(last) == pytest.approx(contrast(drawn[-1]), rel=0.1)
    assert np.abs(last - drawn[-1]).mean() > 0.05, "other strokes are kept for some frames"


def test_what_is_not_trusted_is_drawn_anew():
    last, drawn = strokes(0), strokes(1)
    way = shifted((0, 0))
    way.reliable[:, 24:] = 0
    found = composed(drawn, last, way, 3)
    np.testing.assert_allclose(found[:, 32:], drawn[:, 32:], atol=1.5 / 255)
    assert np.abs(found - drawn)[:, :20].mean() > 0.03


def test_every_place_is_drawn_anew_in_its_turn():
    """Two drawings that differ in strokes alone: the later one is there after six frames."""
    last, drawn = strokes(0), strokes(1)
    for number in range(12):
        last = composed(drawn, last, shifted((0, 0)), number)
    assert np.abs(last - drawn).mean() < 0.02


def test_what_is_carried_is_the_trusted_part_of_the_last_result():
    last = strokes(0)
    found = carried(last, shifted((2, 0)))
    np.testing.assert_allclose(found[:, : SIDE - 6, :3], last[:, 2 : SIDE - 4], atol=1e-6)
    assert found[..., 3].min() == 0
    assert not found[:, -1].any()


def test_sharp_warping_is_that_of_lanczos_taps(rng):
    picture = rng.random((20, 24, 2)).astype(np.float32)
    flow = rng.uniform(-4, 4, (20, 24, 2)).astype(np.float32)
    found = np.asarray(warp_sharp(jnp.asarray(picture), flow))
    rows, columns = np.mgrid[:20, :24]
    x = np.clip(columns + flow[..., 0], 0, 23)
    y = np.clip(rows + flow[..., 1], 0, 19)
    for r, c in ((3, 4), (10, 12), (19, 0), (0, 23)):
        taps = []
        for place in (y[r, c], x[r, c]):
            near = np.floor(place) + np.arange(-2, 4)
            weights = np.sinc(place - near) * np.sinc((place - near) / 3)
            taps.append((near.astype(int), weights / weights.sum()))
        (i, down), (j, across) = taps
        window = picture[np.clip(i, 0, 19)[:, None], np.clip(j, 0, 23)[None]]
        expected = np.einsum("i,j,ijc->c", down, across, window)
        np.testing.assert_allclose(found[r, c], expected, atol=1e-5)

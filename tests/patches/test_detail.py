"""Fine detail from patches of a style and from the content."""

import numpy as np
import pytest
import tiny
from scipy.ndimage import gaussian_filter

from nst_jax.patches import detail

H, W = 40, 48
ONE = np.ones(1, np.float32)


def picture(height, width, seed):
    return np.float32(tiny.picture(height, width, seed) / 255)


def blurred(x):
    x = np.asarray(x, float)
    return np.stack(
        [gaussian_filter(x[..., c], 2.0, truncate=3) for c in range(x.shape[-1])], axis=-1
    )


def coarse(x):
    """Means of blocks of 4 pixels, blurred, and enlarged linearly."""
    x = x.reshape(x.shape[0] // 4, 4, x.shape[1] // 4, 4).mean((1, 3))
    x = gaussian_filter(x, 4.0, truncate=3)
    for axis in (0, 1):
        places = (np.arange(4 * x.shape[axis]) + 0.5) / 4 - 0.5
        x = np.apply_along_axis(
            lambda line, at=places: np.interp(at, np.arange(len(line)), line), axis, x
        )
    return x


def shapes(x):
    grey = blurred(x).mean(-1)
    return grey - coarse(grey)


def added_shapes(drawing, content, style, strength=1.0):
    """What the drawing lacks of the content's shapes, in grey."""
    ours, theirs, wanted = (shapes(x) for x in (drawing, content, style))
    there = coarse(ours**2)
    missing = theirs - np.clip(coarse(ours * theirs) / (there + 1e-6), 0, 1) * ours
    here = coarse(missing**2)
    limit = np.minimum(1, 2 * np.sqrt((wanted**2).mean() / (here + 1e-6)))
    limit = strength * limit + 1 - strength
    return (limit**2 * here / (limit**2 * here + there + 1e-6) * limit * missing)[..., None]


def restated(drawing, content, noise, style, strength=1.0):
    """The docstrings in loops: one style, no mask."""
    more = added_shapes(drawing, content, style, strength)
    added = np.zeros((H + 16, W + 16, 3))
    squares = np.zeros_like(added)
    fine = style - blurred(style)

    def means(x):
        blocks = x.reshape(4, 4, 4, 4, 3).mean((1, 3))
        return (blocks - 0.7 * blocks.mean((0, 1))).ravel()

    corners = [(y, x) for y in range(0, 41 - 16, 4) for x in range(0, 45 - 16, 4)]
    theirs = np.array([means(style[y : y + 16, x : x + 16]) for y, x in corners])
    wide = np.pad(
        drawing + more + 0.12 * noise[..., None], ((8, 8), (8, 8), (0, 0)), mode="symmetric"
    )
    slope = np.sin((np.arange(16) + 0.5) / 16 * np.pi)
    window = np.outer(slope, slope)[..., None]
    for y in range(0, H + 1, 8):
        for x in range(0, W + 1, 8):
            apart = np.square(theirs - means(wide[y : y + 16, x : x + 16])).sum(1)
            v, u = corners[int(apart.argmin())]
            patch = window * fine[v : v + 16, u : u + 16]
            added[y : y + 16, x : x + 16] += patch
            squares[y : y + 16, x : x + 16] += patch**2
    found, squares = added[8:-8, 8:-8], squares[8:-8, 8:-8]

    def power(x):
        return blurred(x.mean(-1, keepdims=True))

    found = strength * found * np.sqrt((power(squares) + 1e-6) / (power(found**2) + 1e-6))
    own = (content - blurred(content)).mean(-1, keepdims=True)
    limit = np.minimum(1, 2 * np.sqrt((fine**2).mean() / (power(own**2) + 1e-6)))
    limit = strength * limit + 1 - strength
    mine = power(own**2) * limit**2
    part = mine / (mine + power(found**2) + 1e-6)
    return blurred(drawing) + more + np.sqrt(1 - part) * found + part * limit * own


def given():
    noise = np.random.default_rng(3).standard_normal((H, W)).astype(np.float32)
    return picture(H, W, 1), picture(H, W, 2), noise, picture(40, 44, 3)


def test_is_what_loops_give():
    drawing, content, noise, style = given()
    for strength in (1.0, 0.3):
        found = detail.redetailed(drawing, content, noise, [detail.source(style)], ONE, strength)
        expected = restated(drawing, content, noise, style, strength)
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_blurred_style_gets_its_own_detail_back():
    style = picture(64, 64, 3)
    even = np.full_like(style, 0.5)
    found = detail.redetailed(
        blurred(style).astype(np.float32),
        even,
        np.zeros((64, 64), np.float32),
        [detail.source(style)],
        ONE,
    )
    inside = slice(8, -8), slice(8, -8)
    lost = np.abs(blurred(style) - style)[inside].mean()
    # The drawing is blurred once more, as any is.
    error = np.abs(np.asarray(found) - (blurred(blurred(style)) + style - blurred(style)))
    assert error[inside].mean() < 0.25 * lost


def test_without_a_style_s_strength_all_detail_is_the_content_s():
    drawing, content, noise, style = given()
    found = detail.redetailed(drawing, content, noise, [detail.source(style)], ONE, 0.0)
    own = (content - blurred(content)).mean(-1, keepdims=True)
    more = added_shapes(drawing, content, style, 0.0)
    np.testing.assert_allclose(found, blurred(drawing) + more + own, atol=0.01)


def test_an_even_style_gives_no_detail():
    drawing, content, noise, _ = given()
    even = detail.source(np.full((32, 32, 3), 0.3, np.float32))
    found = detail.redetailed(drawing, content, noise, [even], ONE)
    np.testing.assert_allclose(found, blurred(drawing), atol=1e-5)


def test_shapes_that_the_drawing_shows_stay_and_others_come_from_the_content():
    rows = np.linspace(0, 4 * np.pi, 64)[:, None, None]
    content = np.tile(0.5 + 0.2 * np.sin(rows), (1, 64, 3)).astype(np.float32)
    even, noise = np.full_like(content, 0.5), np.zeros((64, 64), np.float32)
    style = [detail.source(content)]
    shown = detail.redetailed(content, content, noise, style, ONE)
    smeared = detail.redetailed(even, content, noise, style, ONE)
    middle = slice(16, -16), slice(16, -16)
    contrasts = [float(np.std(np.asarray(x)[middle])) for x in (content, shown, smeared)]
    assert contrasts[1] == pytest.approx(contrasts[0], rel=0.1)
    assert 0.5 * contrasts[0] < contrasts[2] < 1.2 * contrasts[0]


def test_shares_choose_styles_by_place():
    drawing, content, noise, style = given()
    sources = [detail.source(style), detail.source(np.full((32, 32, 3), 0.3, np.float32))]
    shares = np.zeros((H, W, 2), np.float32)
    shares[:, :24, 0] = shares[:, 24:, 1] = 1
    found = detail.redetailed(drawing, content, noise, sources, shares)
    left = detail.redetailed(drawing, content, noise, sources[:1], ONE)
    np.testing.assert_allclose(found[:, :12], left[:, :12], atol=5e-4)
    np.testing.assert_allclose(found[:, 32:], blurred(drawing)[:, 32:], atol=1e-5)


def test_patches_with_hidden_pixels_are_not_taken():
    style = picture(40, 44, 3)
    wide = np.concatenate([style, style[:, ::-1]], axis=1)
    alpha = np.zeros(wide.shape[:2], np.float32)
    alpha[:, :44] = 1
    found = detail.source(wide, alpha)
    index = detail.nearest(found.colors, found.colors, penalty=found.penalty).indices[:, 0]
    assert (found.corners[index, 1] + detail.SIDE <= 44).all()

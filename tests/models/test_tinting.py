"""A drawing gets its styles' colours as a whole."""

import numpy as np
import pytest

from nst_jax.models import tinting

ONE = np.ones(1, np.float32)
AXES = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])


def picture(seed, scale, offset, size=(32, 48)):
    """Blocks of one colour each, so that their means are the pixels."""
    rng = np.random.default_rng(seed)
    colors = rng.normal(offset, scale, (size[0] // 4, size[1] // 4, 3))
    return colors.repeat(4, 0).repeat(4, 1).astype(np.float32)


def along_axes(x):
    return np.reshape(x, (-1, 3)) @ AXES.T


def test_colours_get_the_mean_and_spread_of_the_style():
    drawing, style = picture(1, 0.08, 0.6), picture(2, (0.11, 0.1, 0.12), (0.2, 0.5, 0.3))
    found = tinting.tinted(drawing, [tinting.tones(style)], ONE)
    before, after, wanted = (along_axes(x) for x in (drawing, found, style))
    np.testing.assert_allclose(after.mean(0), wanted.mean(0), atol=1e-5)
    assert after[:, 0].std() == pytest.approx(before[:, 0].std(), rel=1e-4)
    grown = after[:, 1:].std(0) / before[:, 1:].std(0)
    expected = (wanted[:, 1:].std(0) + 0.02) / (before[:, 1:].std(0) + 0.02)
    np.testing.assert_allclose(grown, expected, rtol=1e-4)


def test_colours_spread_at_most_twice_as_far():
    drawing, style = picture(1, 0.05, 0.5), picture(2, 0.6, 0.5)
    for a, b, factor in ((drawing, style, 2), (style, drawing, 0.5)):
        found = along_axes(tinting.tinted(a, [tinting.tones(b)], ONE))
        np.testing.assert_allclose(
            found[:, 1:].std(0), factor * along_axes(a)[:, 1:].std(0), rtol=1e-4
        )


def test_an_even_drawing_stays_even():
    style = tinting.tones(picture(2, 0.2, 0.4))
    found = tinting.tinted(np.full((16, 16, 3), 0.7, np.float32), [style], ONE)
    np.testing.assert_allclose(found, np.broadcast_to(found[0, 0], found.shape), atol=1e-5)


def test_each_style_tints_its_own_part():
    drawing = picture(1, 0.1, 0.5)
    styles = [tinting.tones(picture(n, 0.15, n / 10)) for n in (2, 6)]
    shares = np.zeros((32, 48, 2), np.float32)
    shares[:, :24, 0] = shares[:, 24:, 1] = 1
    found = tinting.tinted(drawing, styles, shares)
    left = tinting.tinted(drawing[:, :24], styles[:1], ONE)
    right = tinting.tinted(drawing[:, 24:], styles[1:], ONE)
    np.testing.assert_allclose(found, np.concatenate([left, right], 1), atol=1e-5)


def test_strength_leads_from_the_drawing_to_the_tinted_one():
    drawing, style = picture(1, 0.1, 0.5), tinting.tones(picture(2, 0.15, 0.3))
    whole = tinting.tinted(drawing, [style], ONE)
    for strength in (0.0, 0.25):
        found = tinting.tinted(drawing, [style], ONE, strength)
        np.testing.assert_allclose(found, drawing + strength * (whole - drawing), atol=1e-6)


def test_hidden_pixels_do_not_count():
    shown, hidden = picture(2, 0.1, 0.3), picture(3, 0.2, 0.9)
    alpha = np.repeat(np.float32([1, 0]), 48) * np.ones((32, 1), np.float32)
    found = tinting.tones(np.concatenate([shown, hidden], 1), alpha)
    for one, other in zip(found, tinting.tones(shown), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)

"""Hues of the content, moved to the style's palette: against loops and moments in numpy."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import nst_jax as nst
from nst_jax.losses.regions import match
from nst_jax.pictures import colorspace
from nst_jax.pictures.palette import along, recolored, within


def picture(seed, height=14, width=18):
    return np.float32(0.4 + 0.2 * tiny.picture(height, width, seed) / 255)


def test_smoothing_along_lightness_by_loops(rng):
    light, values = rng.uniform(size=(5, 6, 1)), rng.normal(size=(5, 6, 2))
    expected = values
    for _ in range(5):
        now = np.zeros_like(values)
        for y, x in np.ndindex(5, 6):
            near = [
                (min(max(y + i, 0), 4), min(max(x + j, 0), 5))
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            ]
            weights = [np.exp(-5 * abs(light[y, x, 0] - light[p][0])) ** 2 for p in near]
            now[y, x] = sum(w * expected[p] for w, p in zip(weights, near, strict=True))
            now[y, x] /= sum(weights)
        expected = now
    np.testing.assert_allclose(along(np.float32(light), np.float32(values)), expected, atol=1e-5)


def test_lightness_of_the_result_and_hues_of_the_content_in_the_palette():
    result, content, style = picture(1), picture(2), picture(3, 20, 9)
    flat = np.broadcast_to(result[:1, :1], result.shape)  # smooths as much as can be
    lab = np.asarray(colorspace.to_oklab(style), float)
    for drawn in (result, flat):
        found = np.asarray(colorspace.to_oklab(recolored(drawn, content, [style], np.ones(1))))
        light = np.asarray(colorspace.to_oklab(drawn))[..., :1]
        np.testing.assert_allclose(
            found[..., :1], np.clip(light, lab[..., 0].min(), lab[..., 0].max()), atol=1e-5
        )
        hues = np.asarray(colorspace.to_oklab(content), float)[..., 1:].reshape(-1, 2)
        theirs = lab[..., 1:].reshape(-1, 2)
        roots = []
        for values in (hues, theirs):
            size, axes = np.linalg.eigh(np.cov(values.T, bias=True))
            roots.append((axes * np.sqrt(size)) @ axes.T)
        moved = (hues - hues.mean(0)) @ np.linalg.inv(roots[0]) @ roots[1] + theirs.mean(0)
        moved = np.asarray(along(light, np.float32(moved.reshape(*content.shape[:2], 2))))
        expected = np.clip(moved, theirs.min(0), theirs.max(0))
        np.testing.assert_allclose(found[..., 1:], expected, atol=2e-4)


def test_within_is_by_channel(rng):
    values, of = rng.normal(size=(2, 6, 7, 2)).astype(np.float32)
    found = np.asarray(within(10 * values, of))
    for n in range(2):
        assert (found[..., n].min(), found[..., n].max()) == (of[..., n].min(), of[..., n].max())


def test_each_region_has_the_palette_of_its_style():
    content, styles = picture(2), [picture(3), np.float32(picture(5) * [1, 0.5, 0.4])]
    half = np.zeros((2, 14, 18), np.float32)
    half[0, :, :9], half[1, :, 9:] = 1, 1
    regions = match({"1": half[0], "2": half[1]}, [None, None], (1.0, 1.0), chosen={"1": 1, "2": 2})
    settings = nst.Settings(
        color="palette-after", color_space="oklab", content_layers="relu1_1", style_layers="relu1_1"
    )
    found = nst.prepare(settings, tiny.PIXELS, content, styles, regions=regions)
    drawn = np.asarray(found.picture(jnp.asarray(255 * content)))
    for part, style in zip(half > 0, styles, strict=True):
        alone = np.asarray(recolored(content, content, [style], np.ones(1)))
        np.testing.assert_allclose(drawn[part], alone[part], atol=1e-5)
    both = nst.prepare(settings, tiny.PIXELS, content, styles)
    mean = recolored(content, content, styles, np.array([0.5, 0.5]))
    np.testing.assert_allclose(both.picture(jnp.asarray(255 * content)), mean, atol=1e-5)


@pytest.mark.parametrize("space", ["rgb", "oklab"])
def test_grey_pictures_stay_in_range(space):
    grey = np.repeat(picture(1)[..., :1], 3, -1)
    for content, style in ((grey, picture(2)), (picture(2), grey), (grey, grey[:1, :1])):
        found = np.asarray(recolored(picture(3), content, [style], np.ones(1), space))
        assert np.isfinite(found).all()
        assert 0 <= found.min() <= found.max() <= 1

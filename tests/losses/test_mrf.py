"""Patches as a statistic: against loops, finite differences, and a patch planted in noise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from refusals import sentence

import nst_jax as nst
from nst_jax.losses.regions import match
from nst_jax.losses.statistics.mrf import Field, MarkovField, mrf_loss, nearest_patches

LAYER, PIXELS = "relu1_1", tiny.Pixels()
CONTENT, STYLE = (tiny.picture(*s) / np.float32(255) for s in ((14, 16), (12, 11)))
OTHER = tiny.picture(9, 13, 4) / np.float32(255)


def field(rng, height, width):
    weights = rng.integers(0, 3, (height, width)).astype(np.float32)
    features = rng.normal(size=(height, width, 4)).astype(np.float32)
    return Field(jnp.asarray(features), jnp.asarray(weights / weights.sum()))


def by_hand(found, target):
    """The loss, by loops over patches in float64."""

    def cut(given):
        features, weights = (np.asarray(x, float) for x in given)
        places = itertools.product(*(range(n - 2) for n in weights.shape))
        return [(features[y : y + 3, x : x + 3].ravel(), weights[y + 1, x + 1]) for y, x in places]

    total = mass = 0
    for patch, weight in cut(found):
        likeness = [
            (patch @ p / np.linalg.norm(p) if w else -np.inf, n)
            for n, (p, w) in enumerate(cut(target))
        ]
        nearest = cut(target)[max(likeness)[1]][0]
        total, mass = total + weight * np.square(patch - nearest).sum(), mass + weight
    return total / mass / (9 * found.features.shape[-1])


def test_loss_by_loops_and_its_gradient_by_differences(rng):
    found, target = field(rng, 6, 7), field(rng, 8, 6)
    assert mrf_loss(found, target) == pytest.approx(by_hand(found, target), rel=1e-5)
    gradient = jax.grad(lambda f: mrf_loss(found._replace(features=f), target))(found.features)
    for _ in range(3):
        step = rng.normal(size=(6, 7, 4))
        ahead, behind = (
            by_hand(found._replace(features=np.asarray(found.features, float) + s * step), target)
            for s in (1e-5, -1e-5)
        )
        slope = float((np.asarray(gradient) * step).sum())
        assert slope == pytest.approx((ahead - behind) / 2e-5, rel=1e-3, abs=1e-6)


def test_finds_a_patch_planted_in_noise(rng):
    """The construction of pystiche's test: one patch of the style stands in noise."""
    style = rng.uniform(size=(20, 24, 5)).astype(np.float32)
    style[7:10, 11:14] = picture = rng.uniform(size=(3, 3, 5)).astype(np.float32)
    found, target = (MarkovField().of(x, None, None) for x in (picture, style))
    assert nearest_patches(found, target).tolist() == [[[7, 11]]]
    assert mrf_loss(found, target) == 0
    assert nearest_patches(
        found, target._replace(features=target.features[1:, 1:]), 2
    ).tolist() == [[[6, 10]]]
    # Cosines do not see how strong a patch is; the loss does.
    brighter = found._replace(features=2 * found.features)
    assert nearest_patches(brighter, target).tolist() == [[[7, 11]]]
    assert mrf_loss(brighter, target) == pytest.approx(np.square(picture).mean(), rel=1e-5)


def style_loss(styles, regions=None, **options):
    layers = {"content_layers": LAYER, "style_layers": LAYER, "statistic": MarkovField(stride=1)}
    settings = nst.Settings(**layers | options)
    problem = nst.prepare(settings, PIXELS, CONTENT, styles, regions=regions)
    return float(problem.fn(problem.x, problem.args)[1]["style"]) / settings.style_weight


def test_of_several_styles_each_is_compared():
    first, second = style_loss(STYLE), style_loss(OTHER)
    both = style_loss([STYLE, OTHER], style_blend=(3, 1))
    assert both == pytest.approx(0.75 * first + 0.25 * second, rel=1e-5)
    field = MarkovField().of(CONTENT, None, None)
    assert first == pytest.approx(by_hand(field, MarkovField().of(STYLE, None, None)), rel=1e-4)


def test_regions_take_patches_of_their_own():
    half = np.zeros((2, *CONTENT.shape[:2]), np.float32)
    half[0, :, :8], half[1, :, 8:] = 1, 1
    styles = np.stack([np.zeros(STYLE.shape[:2]), np.ones(STYLE.shape[:2])]).astype(np.float32)
    styles[:, :, :5] = styles[::-1, :, :5]
    one = np.ones((2, 2), np.float32)
    given = match({"1": half[0], "2": half[1]}, [{"1": styles[0], "2": styles[1]}], (1.0,))
    whole = match({"1": one}, [{"1": one}], (1.0,))
    assert style_loss(STYLE, whole) == pytest.approx(style_loss(STYLE), rel=1e-5)
    parts = [
        by_hand(Field(CONTENT, a / a.sum()), Field(STYLE, b / b.sum()))
        for a, b in zip(half, styles, strict=True)
    ]
    assert style_loss(STYLE, given) == pytest.approx(np.mean(parts), rel=1e-4)


def test_sweeps_over_styles_of_unlike_sizes():
    options = {"iterations": 2, "size": None, "optimizer": "adam", "progress": False}
    options |= {"statistic": "mrf", "content_layers": LAYER, "style_layers": LAYER}
    network = tiny.network()
    content, styles = tiny.picture(16, 16), [tiny.picture(12, 12, 2), tiny.picture(14, 10, 3)]
    found = nst.sweep(content, styles=styles, network=network, in_flight=2, **options)
    for style, result in zip(styles, found, strict=True):
        alone = nst.stylize(content, style, network=network, **options, draft=False, min_size=None)
        np.testing.assert_allclose(result.image, alone.image, atol=1e-4)


def test_a_style_smaller_than_a_patch():
    said = sentence(style_loss, STYLE[:2])
    assert "11 x 2" in said
    assert "3 x 3" in said


def test_under_the_authors_normalization_the_gradient_is_that_of_their_code(rng):
    """Each position is drawn to the mean of what the patches over it ask for."""
    found, target = field(rng, 5, 6), field(rng, 8, 6)
    found = MarkovField().of(found.features, None, None)
    statistic = MarkovField(stride=1)

    def loss(features):
        return statistic.loss(found._replace(features=features), target, "neural-style", 4)

    wanted, count = np.zeros((5, 6, 4)), np.zeros((5, 6, 1))
    for (y, x), corner in zip(
        np.ndindex(3, 4), np.reshape(nearest_patches(found, target), (-1, 2)), strict=True
    ):
        (v, u) = corner
        wanted[y : y + 3, x : x + 3] += target.features[v : v + 3, u : u + 3]
        count[y : y + 3, x : x + 3] += 1
    pull = np.asarray(jax.jit(jax.grad(loss))(found.features))
    # At the border fewer patches pull; there the authors' code divides by fewer.
    expected = (found.features - wanted / count) * count / 9
    np.testing.assert_allclose(pull, expected, rtol=1e-4, atol=1e-5)

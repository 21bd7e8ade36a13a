"""Statistics besides Gram: against numpy, scipy, closed forms, and on pictures that have none."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import tiny

import nst_jax as nst
from nst_jax import linalg
from nst_jax.losses import (
    moments,
    moments_loss,
    products,
    quantile_loss,
    quantiles,
    wasserstein_loss,
)
from nst_jax.losses.regions import match
from nst_jax.losses.registry import statistic as named
from nst_jax.losses.statistics.base import Given, measure

OTHERS = ("moments", "wasserstein", "sliced", "histogram")
CONTENT, STYLE = (a / np.float32(255) for a in (tiny.picture(), tiny.picture(32, 32, 2)))
PIXELS, LAYER = tiny.Pixels(), "relu1_1"


def normal(rng, height, width, channels=4, scale=10.0):
    """Correlated features, off zero."""
    mix = np.eye(channels) + 0.3 * rng.normal(size=(channels, channels))
    values = rng.normal(size=(height, width, channels)) @ mix + rng.normal(size=channels)
    return (scale * values).astype(np.float32)


def spd(rng, size, least=1e-3):
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0]
    return (turn * np.geomspace(least, 1, size)) @ turn.T * 7.0


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("statistic", ["gram", *OTHERS])
def test_a_head_is_a_product_of_every_position(rng, statistic, guided):
    x, head = normal(rng, 5, 6), rng.normal(size=(4, 4)).astype(np.float32)
    guides = rng.uniform(size=(2, 5, 6)).astype(np.float32) if guided else None
    directions = spd(rng, 4).astype(np.float32) if statistic == "sliced" else None
    found = measure(named(statistic), x, Given(guides, directions, head))
    expected = measure(named(statistic), x @ head, Given(guides, directions))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4 * np.abs(b).max())


def test_moments_and_products_by_hand(rng):
    features = normal(rng, 5, 6)
    weights = rng.dirichlet(np.ones(30)).reshape(5, 6).astype(np.float32)
    flat, shares = features.reshape(-1, 4).astype(np.float64), weights.reshape(-1, 1)
    for given, w in ((None, np.full((30, 1), 1 / 30)), (weights, shares)):
        own, joint = moments(features, given), products(features, given)
        np.testing.assert_allclose(own.mean, (w * flat).sum(0), rtol=1e-4)
        np.testing.assert_allclose(own.second, (w * flat**2).sum(0), rtol=1e-4)
        np.testing.assert_allclose(joint.mean, own.mean, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(joint.second, (w * flat).T @ flat, rtol=1e-4, atol=1e-2)


def test_loss_of_moments_by_hand(rng):
    a, b = normal(rng, 8, 8), normal(rng, 6, 9, scale=7)
    flat, other = a.reshape(-1, 4), b.reshape(-1, 4)
    expected = np.square(flat.mean(0) - other.mean(0)) + np.square(flat.std(0) - other.std(0))
    found = moments_loss(moments(a), moments(b))
    assert found == pytest.approx(expected.mean(), rel=1e-3)
    narrow = moments_loss(moments(a), moments(b), width=8)
    assert narrow == pytest.approx(float(found) / 2, rel=1e-5)


@pytest.mark.parametrize("size", [1, 5, 40])
def test_newton_schulz_against_scipy(rng, size):
    matrix = spd(rng, size)
    root, inverse = linalg.newton_schulz(np.float32(matrix))
    expected = np.real(scipy.linalg.sqrtm(matrix))
    np.testing.assert_allclose(root, expected, atol=2e-4)
    np.testing.assert_allclose(inverse, np.linalg.inv(expected), rtol=1e-2, atol=1e-2)


def test_gradient_of_the_root_against_differences_of_scipys(rng):
    matrix = spd(rng, 6, least=0.05)
    gradient = np.asarray(jax.grad(linalg.trace_of_root)(np.float32(matrix)))
    for _ in range(4):
        step = rng.normal(size=(6, 6))
        step = 1e-5 * (step + step.T)
        ahead, behind = (np.trace(scipy.linalg.sqrtm(matrix + s)).real for s in (step, -step))
        assert np.sum(gradient * step) == pytest.approx((ahead - behind) / 2, rel=2e-3)


def gaussian_distance(a, b) -> float:
    """By the textbook, in float64, of features (h, w, c)."""
    flat, other = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (a, b))
    A, B = np.cov(flat.T, bias=True), np.cov(other.T, bias=True)
    root = scipy.linalg.sqrtm(A)
    cross = np.real(scipy.linalg.sqrtm(root @ B @ root))
    means = np.square(flat.mean(0) - other.mean(0)).sum()
    return means + np.trace(A + B - 2 * cross)


def test_wasserstein_loss_and_its_gradient_against_scipy(rng):
    a, b = normal(rng, 20, 20, 5), normal(rng, 15, 18, 5, scale=6)

    def ours(features):
        return wasserstein_loss(products(features), products(b))

    assert ours(a) == pytest.approx(gaussian_distance(a, b) / 5, rel=5e-3)
    gradient = np.asarray(jax.jit(jax.grad(ours))(jnp.asarray(a)))
    for _ in range(3):
        step = rng.normal(size=a.shape)
        ahead, behind = (gaussian_distance(a + s * step, b) / 5 for s in (1e-4, -1e-4))
        slope = np.sum(gradient * step)
        assert slope == pytest.approx(
            (ahead - behind) / 2e-4, abs=3e-2 * float(np.linalg.norm(gradient))
        )


def test_wasserstein_of_independent_maps_is_that_of_each(rng):
    # Diagonal covariances: sum (sigma - tau)^2, as the loss of moments has it.
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)[None]
    a, b = signs * np.float32([3, 5]), signs * np.float32([4, 1])
    found = wasserstein_loss(products(a), products(b))
    assert found == pytest.approx((1 + 16) / 2, rel=1e-2)
    assert moments_loss(moments(a), moments(b)) == pytest.approx(8.5, rel=1e-3)


@pytest.mark.parametrize("directions", [None, "some"])
def test_quantiles_by_sorting(rng, directions):
    features = normal(rng, 32, 24, 3)  # 768 values, three in each of the 256 parts
    axes = np.eye(3, dtype=np.float32)
    if directions:
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0].astype(np.float32)
    values = np.sort(features.reshape(-1, 3).astype(np.float64) @ axes, axis=0)
    expected = values.reshape(256, 3, 3).mean(1).T
    found = quantiles(features, None, axes if directions else None)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("size", [(3, 5), (17, 40)])
def test_quantiles_are_of_values_however_many_there_are(rng, size):
    features = normal(rng, *size, 2)
    repeated = np.repeat(np.repeat(features, 2, 0), 3, 1)
    once = np.asarray(quantiles(features))
    np.testing.assert_allclose(quantiles(repeated), once, atol=2e-2)
    np.testing.assert_allclose(once.mean(1), features.mean((0, 1)), rtol=1e-3, atol=1e-2)
    # Weights count a value as often.
    counts = rng.integers(0, 4, size)
    chosen = np.repeat(features.reshape(-1, 2), counts.ravel(), axis=0)[None]
    weights = (counts / counts.sum()).astype(np.float32)
    np.testing.assert_allclose(quantiles(features, weights), quantiles(chosen), atol=5e-2)


def test_the_gradient_of_the_histogram_loss_pulls_values_to_their_partners(rng):
    a, b = normal(rng, 16, 16, 2), normal(rng, 16, 16, 2)
    target = quantiles(b)
    gradient = jax.grad(lambda f: quantile_loss(quantiles(f), target))(jnp.asarray(a))
    flat, other, found = (np.asarray(x).reshape(-1, 2) for x in (a, b, gradient))
    order = flat.argsort(0)
    partners = np.empty_like(flat)
    np.put_along_axis(partners, order, np.sort(other, axis=0), axis=0)
    np.testing.assert_allclose(found, 2 * (flat - partners) / (256 * 2), atol=1e-3)


@pytest.mark.parametrize("statistic", OTHERS)
def test_distance_of_a_shift_is_its_square(rng, statistic):
    features = normal(rng, 16, 32, 4)
    shift = np.float32([1, -2, 3, 0.5])
    axes = np.linalg.qr(rng.normal(size=(4, 4)))[0].astype(np.float32)
    of = partial(
        measure, named(statistic), given=Given(None, axes if statistic == "sliced" else None)
    )
    found = named(statistic).loss(of(features + shift), of(features), "gatys", 10)
    assert found == pytest.approx(np.square(shift).sum() / 10, rel=2e-2)
    same = named(statistic).loss(of(features), of(features), "gatys", 10)
    assert abs(float(same)) < 1e-3


def problem(network=PIXELS, content=CONTENT, style=STYLE, regions=None, **options):
    layers = {"content_layers": LAYER, "style_layers": LAYER}
    settings = nst.Settings(**layers | options)
    return nst.prepare(settings, network, content, style, regions=regions)


@partial(jax.jit, static_argnums=0)
def _value_and_gradient(fn, x, args):
    return jax.value_and_grad(lambda x: fn(x, args)[0])(x)


def value_and_gradient(given):
    return _value_and_gradient(given.fn, given.x, given.args)


@pytest.mark.parametrize("statistic", ["gram", *OTHERS])
def test_one_region_is_no_region_in_every_statistic(statistic):
    mask = np.ones((2, 2), np.float32)
    one = match({"0": mask}, [{"0": mask}], [1.0])
    plain, guided = (problem(statistic=statistic, regions=r) for r in (None, one))
    (value, gradient), (other, same) = value_and_gradient(plain), value_and_gradient(guided)
    assert value == pytest.approx(float(other), rel=1e-3)
    np.testing.assert_allclose(same, gradient, atol=2e-2 * float(jnp.abs(gradient).max()))


@pytest.mark.parametrize("statistic", ["gram", *OTHERS])
def test_pictures_without_contrast_are_finite(statistic):
    flat = np.full((8, 8, 3), 0.5, np.float32)
    grey = np.repeat(STYLE[:8, :8, :1], 3, axis=-1)
    for content, style in ((flat, flat), (flat, grey), (grey, flat)):
        value, gradient = value_and_gradient(
            problem(tiny.network(), content, style, statistic=statistic)
        )
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("statistic", OTHERS)
def test_blends_and_vmap(statistic):
    given = problem(style=[STYLE, CONTENT], statistic=statistic)

    def total(blend):
        weights = given.args.weights._replace(blend=blend)
        return given.fn(given.x + 20, given.args._replace(weights=weights))[0]

    blends = jnp.float32([[1, 0], [0, 1]])
    each = jax.jit(jax.vmap(total))(blends)
    for found, style in zip(each, (STYLE, CONTENT), strict=True):
        alone = problem(style=style, statistic=statistic)
        expected = alone.fn(alone.x + 20, alone.args)[0]
        assert found == pytest.approx(float(expected), rel=1e-3)


def test_directions_follow_the_seed():
    totals = [
        float(value_and_gradient(problem(statistic="sliced", seed=seed))[0]) for seed in (0, 0, 1)
    ]
    assert totals[0] == totals[1] != totals[2]
    axes = np.asarray(problem(statistic="sliced").args.targets.terms["style"].directions[LAYER])
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("statistic", ["gram", *OTHERS])
def test_normalized_gradients_have_the_sum_of_their_weights(statistic):
    options = {"statistic": statistic, "content_weight": 0.0, "style_weight": 30.0, "units": 1.0}
    plain, unit = (problem(normalize_gradients=n, **options) for n in (False, True))
    (value, gradient), (same, normalized) = value_and_gradient(plain), value_and_gradient(unit)
    assert same == pytest.approx(float(value), rel=1e-5)
    assert jnp.abs(normalized).sum() == pytest.approx(30, rel=1e-4)
    np.testing.assert_allclose(
        normalized, 30 * gradient / jnp.abs(gradient).sum(), atol=1e-4 * jnp.abs(normalized).max()
    )


def test_normalized_gradients_of_both_losses_and_under_factors():
    options = {"content_weight": 2.0, "style_weight": 0.0, "units": 1.0}
    unit = problem(normalize_gradients=True, **options)
    x = unit.x + 0.1
    gradient = jax.grad(lambda x: 0.5 * unit.fn(x, unit.args)[0])(x)
    np.testing.assert_allclose(jnp.abs(gradient).sum(), 1, rtol=1e-4)
    assert jnp.isfinite(value_and_gradient(unit)[1]).all()  # at the content itself: zero


@pytest.mark.parametrize("statistic", OTHERS)
def test_stylize_with_each_statistic(statistic):
    result = nst.stylize(
        CONTENT,
        STYLE,
        statistic=statistic,
        network=tiny.network(),
        size=None,
        iterations=8,
        progress=False,
        **tiny.SHALLOW,
    )
    assert result.losses["total"][result.best] < 0.9 * result.losses["total"][0]
    assert result.record()["settings"]["statistic"] == statistic


def test_bad_input_gets_a_sentence():
    with pytest.raises(nst.InputError, match=r"no statistic 'grams'. Did you mean 'gram'?"):
        nst.Settings(statistic="grams")
    with pytest.raises(nst.InputError, match="leave out normalize_gradients"):
        nst.Settings(optimizer="lbfgs-zoom", normalize_gradients=True)


def test_a_blend_of_means_is_of_the_mixed_pictures(rng):
    a, b = normal(rng, 8, 8), normal(rng, 8, 8)
    both = np.concatenate([a, b])
    for statistic in ("gram", "moments", "wasserstein"):
        of = partial(measure, named(statistic), given=Given())
        mixed = jax.tree.map(lambda x, y: (x + y) / 2, of(a), of(b))
        for found, expected in zip(jax.tree.leaves(mixed), jax.tree.leaves(of(both)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)

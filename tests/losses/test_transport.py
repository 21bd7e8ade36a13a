"""The relaxed earth mover's distance and self-similarity (STROTSS), against numpy and scipy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy import ndimage
from scipy.spatial.distance import cdist

import nst_jax as nst
from nst_jax.losses import registry
from nst_jax.losses.points import at_points, drawn_points, unit_of
from nst_jax.losses.similarity import similarity_loss
from nst_jax.losses.statistics.remd import RelaxedTransport
from nst_jax.losses.transport import moments, transport_loss
from nst_jax.stylizing.presets import PRESETS, resolve

CONTENT, STYLE = (tiny.picture(24, 32, seed) / np.float32(255) for seed in (1, 2))
AXES = np.array([[1, 1, 1], [-1, 1.366025, -0.366025], [-1, -0.366025, 1.366025]]) / np.sqrt(3)


def transport_by_hand(ours, theirs, palette):
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)

    def relaxed(costs):
        return max(costs.min(1).mean(), costs.min(0).mean())

    total = relaxed(cdist(ours, theirs, "cosine"))
    total += np.abs(ours.mean(0) - theirs.mean(0)).mean()
    total += np.abs(np.cov(ours.T, bias=True) - np.cov(theirs.T, bias=True)).mean()
    one, other = ours[:, :3] @ AXES.T, theirs[:, :3] @ AXES.T
    near = np.sqrt(np.maximum(cdist(one, other, "sqeuclidean"), 1e-5) / 3)
    return total + palette * relaxed(cdist(one, other, "cosine") + near)


def similarity_by_hand(ours, theirs):
    shares = []
    for x in (ours, theirs):
        costs = cdist(np.asarray(x, float), np.asarray(x, float), "cosine")
        shares.append(costs / costs.sum(0))
    return np.abs(shares[0] - shares[1]).mean() * len(ours)


def transport(ours, theirs):
    return transport_loss(ours, theirs, moments(theirs), 0.5)


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (transport, functools.partial(transport_by_hand, palette=0.5)),
        (similarity_loss, similarity_by_hand),
    ],
)
def test_losses_by_hand_and_gradients_by_differences(rng, loss, by_hand):
    ours, theirs = rng.uniform(size=(2, 9, 7)).astype(np.float32)
    value, slope = jax.jit(jax.value_and_grad(loss))(ours, theirs)
    assert value == pytest.approx(by_hand(ours, theirs), rel=1e-4)
    for _ in range(2):
        step = 1e-5 * rng.normal(size=ours.shape)
        ahead, behind = (by_hand(ours + s * step, theirs) for s in (1, -1))
        assert (np.asarray(slope) * step).sum() == pytest.approx((ahead - behind) / 2, rel=1e-2)


def test_features_at_pixels_are_interpolated(rng):
    features = rng.normal(size=(6, 5, 2)).astype(np.float32)
    points = rng.integers(0, (24, 20), (40, 2))
    found = jax.jit(at_points)(features, points, 4)
    for n in range(2):
        expected = ndimage.map_coordinates(features[..., n], points.T / 4, order=1, mode="nearest")
        np.testing.assert_allclose(found[:, n], expected, atol=1e-5)


def test_pixels_are_drawn_in_proportion_to_weights():
    weights = np.float32([[0, 1, 0], [3, 0, 0]])
    points = np.asarray(drawn_points(jax.random.key(0), weights, 4000))
    assert {tuple(p) for p in points.tolist()} == {(0, 1), (1, 0)}
    assert (points[:, 0] == 1).mean() == pytest.approx(0.75, abs=0.03)


def test_of_a_problem():
    """What is measured at the pixels of the target, and other pixels after a renewal."""
    settings = nst.Settings(
        statistic=RelaxedTransport(count=20, samples=30),
        style_layers="relu1_1",
        content_layers="",
        style_weight=1,
        similarity_weight=1,
    )
    given = nst.prepare(settings, tiny.PIXELS, CONTENT, STYLE)
    drawn = tiny.picture(24, 32, 5) / np.float32(255)
    evaluated = jax.jit(lambda x, args: given.fn(x, args)[1])
    seen = []
    for args in (given.args, given.renewed(jnp.asarray(255 * drawn), given.args, 1)):
        found = evaluated(255 * drawn, args)
        style, alike = (args.targets.terms[k] for k in ("style", "similarity"))
        y, x = np.asarray(style.points[0]).T
        # The layer of this network is the picture itself; colours are not divided.
        size = np.sqrt(np.square(style.samples[0, :, :3]).mean())
        np.testing.assert_allclose(style.samples[0, :, 3:], style.samples[0, :, :3] / size, 1e-4)
        ours = np.concatenate([drawn[y, x], drawn[y, x] / size], 1)
        expected = transport_by_hand(ours, style.samples[0], 32 / 1024)
        assert found["style"] == pytest.approx(expected, rel=1e-4)
        y, x = np.asarray(alike.points).T
        size = np.sqrt(np.square(CONTENT).mean())
        pair = (np.concatenate([p[y, x], p[y, x] / size], 1) for p in (drawn, CONTENT))
        assert found["similarity"] == pytest.approx(similarity_by_hand(*pair) * 32, rel=1e-4)
        seen.append(np.asarray(style.points))
        # Samples are pixels of the style.
        colors = {tuple(c) for c in STYLE.reshape(-1, 3).tolist()}
        assert {tuple(c) for c in np.asarray(style.samples[0, :, :3]).tolist()} <= colors
    assert (seen[0] != seen[1]).any()


def test_the_preset_has_the_numbers_of_its_code():
    found = PRESETS["strotss"]
    assert list(found.style_layers) == [
        *("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3"),
        *("relu4_3", "relu5_3"),
    ]
    assert (found.optimizer, found.learning_rate, found.pyramid) == ("rmsprop", 2e-3, 5)
    assert (found.min_size, found.scale_step, found.coarse_iterations) == (64, 2, 250)
    assert RelaxedTransport() == RelaxedTransport(count=1024, samples=5000, renew_every=1)


def test_features_are_divided_by_their_size(rng):
    parts = [scale * rng.normal(size=(20, n)).astype(np.float32) for scale, n in ((30, 2), (5, 6))]
    size = np.sqrt(np.square(np.concatenate(parts, 1)).mean())
    assert unit_of(parts) == pytest.approx(size, rel=1e-5)


def test_a_run():
    options = {"network": tiny.PIXELS, "preset": "strotss", "size": None, "progress": False}
    options |= {"style_layers": "relu1_1", "min_size": None, "similarity_weight": 0.1}
    options |= {"iterations": 20, "statistic": RelaxedTransport(count=60, samples=80)}
    options |= {"learning_rate": 0.01}
    result = nst.stylize(np.uint8(255 * CONTENT), np.uint8(255 * STYLE), **options)
    style = result.losses["style"]
    assert np.mean(style[-5:]) < 0.9 * np.mean(style[:5])
    assert result.losses["similarity"][-1] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tile": 64}, "statistic 'remd' needs the whole picture"),
        ({"tile": 64, "statistic": "gram"}, "the term 'similarity' needs the whole picture"),
        ({"tolerance": 0.1}, "'remd' makes its target anew"),
    ],
)
def test_options_that_contradict_it(options, said):
    with pytest.raises(nst.InputError) as caught:
        resolve("strotss", **options)
    assert said in str(caught.value)


def test_the_registry_knows_which_compare_all_layers_without_loading_them():
    joint = [name for name in registry.STATISTICS if registry.statistic(name).joint]
    assert sorted(joint) == sorted(registry.JOINT)
    assert all(registry.statistic(name).renew_every for name in joint)

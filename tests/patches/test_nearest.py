"""The nearest vectors: against brute force, linear assignment, and a count of memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import sentence
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from nst_jax.patches.nearest import least, nearest, patches
from nst_jax.patches.uniform import occurrence_penalty, transport_penalty


def brute(a, b, metric):
    """All distances in float64."""
    a, b = a.astype(float), b.astype(float)
    if metric == "centred-cosine":
        a, b = a - a.mean(0), b - b.mean(0)
    return cdist(a, b, "sqeuclidean" if metric == "euclidean" else "cosine")


def vectors(rng, n=50, m=70, d=7):
    return (rng.normal(1, 1, (count, d)).astype(np.float32) for count in (n, m))


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "centred-cosine"])
@pytest.mark.parametrize(("k", "chunk"), [(1, 2048), (1, 16), (5, 16)])
def test_agrees_with_brute_force(rng, metric, k, chunk):
    a, b = vectors(rng)
    every = brute(a, b, metric)
    found = nearest(a, b, k=k, metric=metric, chunk=chunk)
    np.testing.assert_array_equal(found.indices, np.argsort(every, 1, kind="stable")[:, :k])
    np.testing.assert_allclose(found.distance, np.sort(every, 1)[:, :k], rtol=2e-5, atol=1e-7)


def test_of_equally_near_the_first_is_taken():
    a, b = np.zeros((3, 2), np.float32), np.ones((40, 2), np.float32)
    assert not nearest(a, b, chunk=8).indices.any()
    np.testing.assert_array_equal(nearest(a, b, k=3, chunk=8).indices, [[0, 1, 2]] * 3)
    assert least(jnp.full((2, 5), jnp.inf)).tolist() == [0, 0]


def test_penalty_and_labels(rng):
    a, b = vectors(rng)
    every, penalty = brute(a, b, "cosine"), rng.uniform(0, 0.3, 70).astype(np.float32)
    found = nearest(a, b, metric="cosine", penalty=penalty, chunk=16)
    np.testing.assert_array_equal(found.indices[:, 0], (every + penalty).argmin(1))

    ours, theirs = rng.integers(0, 4, 50), rng.integers(0, 3, 70)
    found = nearest(a, b, metric="cosine", labels=(ours, theirs), chunk=16)
    wanted = np.where(ours[:, None] == theirs[None], every, np.inf)
    alone = ours == 3
    np.testing.assert_array_equal(found.indices[~alone, 0], wanted[~alone].argmin(1))
    assert np.isinf(found.distance[alone]).all()


def test_works_under_vmap(rng):
    pairs = [tuple(vectors(rng)) for _ in range(3)]
    a, b = (np.stack(each) for each in zip(*pairs, strict=True))
    together = jax.vmap(partial(nearest, k=2, chunk=16))(a, b).indices
    for n, pair in enumerate(pairs):
        np.testing.assert_array_equal(together[n], nearest(*pair, k=2).indices)


def test_memory_is_bounded_by_the_chunk():
    # 4096 x 4096 distances would be 64 MiB; those of a chunk are 256 KiB.
    shape = jax.ShapeDtypeStruct((4096, 8), jnp.float32)
    for function in (nearest, partial(transport_penalty, iterations=4)):
        compiled = jax.jit(partial(function, chunk=256)).lower(shape, shape).compile()
        assert compiled.memory_analysis().temp_size_in_bytes < 4 * 2**20


def test_projections_find_nearly_all(rng):
    texture = np.cumsum(rng.normal(size=(40, 40, 3)), 0).astype(np.float32)
    b = np.asarray(patches(texture, 5)).reshape(-1, 75)
    a = b[::3] + 0.1 * rng.normal(size=b[::3].shape).astype(np.float32)
    exact, near = nearest(a, b), nearest(a, b, axes=12)
    assert (exact.indices == near.indices).mean() > 0.98
    np.testing.assert_array_equal(nearest(a, b, axes=75).indices, exact.indices)


def test_patches_are_the_windows(rng):
    picture = rng.normal(size=(9, 11, 2)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (3, 3), axis=(0, 1))
    wanted = np.moveaxis(windows, 2, -1).reshape(7, 9, 18)
    np.testing.assert_array_equal(patches(picture, 3), wanted)
    np.testing.assert_array_equal(patches(picture, 3, 2), wanted[::2, ::2])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_transport_is_the_best_assignment(rng, metric):
    a, b = vectors(rng, 24, 24)
    _, wanted = linear_sum_assignment(brute(a, b, metric))
    penalty = transport_penalty(a, b, metric=metric, epsilon=2e-3, iterations=600, chunk=8)
    found = nearest(a, b, metric=metric, penalty=penalty).indices[:, 0]
    np.testing.assert_array_equal(found, wanted)


def test_penalties_spread_the_use(rng):
    a, b = vectors(rng, 400, 40)
    a = a * 0.3

    def most(penalty):
        return np.bincount(nearest(a, b, penalty=penalty).indices[:, 0], minlength=40).max()

    free, mild, even = (
        most(None),
        most(occurrence_penalty(a, b, 1.0)),
        most(transport_penalty(a, b)),
    )
    assert free > 1.5 * mild
    assert free > 5 * even
    assert even < 20


def test_bad_input(rng):
    a, b = vectors(rng, 4, 5)
    assert "7 and 6" in sentence(nearest, a, b[:, :6])
    assert "from 1 to 5" in sentence(nearest, a, b, k=6)
    assert "smaller than a patch of 5 x 5" in sentence(patches, np.zeros((4, 9, 3), np.float32), 5)

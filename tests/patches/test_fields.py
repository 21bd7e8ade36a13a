"""Fields of patches against loops over all candidates."""

import jax
import numpy as np
import pytest

from nst_jax.patches.fields import (
    best_of,
    copied,
    enlarged,
    nearest_corners,
    nearest_field,
    refined,
    voted,
)


def patches(picture, side, stride=1):
    """Every patch by its corner."""
    rows, columns = (n - side + 1 for n in picture.shape[:2])
    return {
        (y, x): picture[y : y + side, x : x + side].astype(float)
        for y in range(0, rows, stride)
        for x in range(0, columns, stride)
    }


def cosine(one, other):
    return -(one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)


def squared(one, other):
    return np.square(one - other).sum()


@pytest.mark.parametrize(
    ("metric", "cost", "side", "stride"), [("cosine", cosine, 3, 2), ("euclidean", squared, 2, 1)]
)
def test_the_nearest_patch(rng, metric, cost, side, stride):
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((6, 8, 3), (9, 7, 3)))
    theirs = patches(b, side, stride)
    some = rng.uniform(size=len(theirs)) > 0.4
    kept = [corner for corner, allowed in zip(theirs, some, strict=True) if allowed]
    rows, columns = ((n - side) // stride + 1 for n in b.shape[:2])
    found = nearest_corners(
        a, b, side, metric=metric, stride=stride, allowed=some.reshape(rows, columns)
    )
    wanted = [min(kept, key=lambda p: cost(own, theirs[p])) for own in patches(a, side).values()]
    np.testing.assert_array_equal(found.reshape(-1, 2), wanted)


def test_overlapping_patches_are_averaged(rng):
    source = rng.normal(size=(5, 6, 2)).astype(np.float32)
    corners = np.stack([rng.integers(0, n - 2, (4, 3)) for n in (5, 6)], -1).astype(np.int32)
    over = {p: [] for p in np.ndindex(6, 5)}
    for y, x, i, j in np.ndindex(4, 3, 3, 3):
        over[y + i, x + j].append(source[corners[y, x, 0] + i, corners[y, x, 1] + j])
    wanted = [np.mean(values, 0) for values in over.values()]
    np.testing.assert_allclose(voted(source, corners, 3).reshape(-1, 2), wanted, atol=1e-6)


def by_hand(a, b, side, field=None, radius=0):
    """The middle of the nearest patch of B, for each of A; in a window if there is a field."""
    rim = side // 2
    wide = [np.pad(x, ((rim, rim), (rim, rim), (0, 0)), mode="edge") for x in (a, b)]

    def patch(n, y, x):
        return wide[n][y : y + side, x : x + side]

    found = np.zeros((*a.shape[:2], 2), int)
    for y, x in np.ndindex(*a.shape[:2]):
        candidates = [
            p
            for p in np.ndindex(*b.shape[:2])
            if field is None or np.abs(np.subtract(p, field[y, x])).max() <= radius
        ]
        costs = [np.square(patch(0, y, x) - patch(1, *p)).sum() for p in candidates]
        found[y, x] = candidates[int(np.argmin(costs))]
    return found


@pytest.fixture
def features(rng):
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((7, 9, 3), (8, 6, 3)))
    field = np.stack([rng.integers(0, n, a.shape[:2]) for n in b.shape[:2]], -1)
    return a, b, field.astype(np.int32)


@pytest.mark.parametrize(("side", "radius"), [(3, 2), (5, 1)])
def test_the_nearest_in_a_window(features, side, radius):
    a, b, field = features
    found = refined(a, b, field, side=side, radius=radius)
    np.testing.assert_array_equal(found, by_hand(a, b, side, field, radius))


def test_the_nearest_of_all(features):
    a, b, _ = features
    np.testing.assert_array_equal(nearest_field(a, b, 3), by_hand(a, b, 3))


def test_equally_near_patches_stay_where_they_are(features):
    *flat, field = features
    one, other = (np.ones_like(x) for x in flat)
    np.testing.assert_array_equal(refined(one, other, field, side=3, radius=2), field)


def test_the_best_of_two_places(features, rng):
    a, b, one = features
    other = np.stack([rng.integers(0, n, a.shape[:2]) for n in b.shape[:2]], -1).astype(np.int32)
    rim = ((1, 1), (1, 1), (0, 0))
    ours, theirs = (patches(np.pad(x, rim, mode="edge"), 3) for x in (a, b))
    wanted = [
        min((one[p], other[p]), key=lambda q: squared(ours[p], theirs[tuple(q)])) for p in ours
    ]
    np.testing.assert_array_equal(best_of(a, b, [one, other], 3).reshape(-1, 2), wanted)


def test_a_field_enlarged_and_copied(rng):
    field = np.stack(np.mgrid[:4, :5], -1).astype(np.int32)
    larger = jax.jit(enlarged, static_argnums=(1, 2, 3))
    twice = larger(field, (8, 10), (8, 10))
    np.testing.assert_array_equal(twice, np.stack(np.mgrid[:8, :10], -1))
    odd = larger(field, (9, 11), (9, 11), (1, 0))
    np.testing.assert_array_equal(odd, np.stack(np.mgrid[:9, :11], -1))
    jump = np.array([[[0, 0]], [[5, 0]]], np.int32)
    other = larger(jump, (20, 2), (4, 2), (1, 0))
    np.testing.assert_array_equal(other[:, 0, 0], [0, 9, 2, 11])
    picture = rng.uniform(size=(8, 10, 3)).astype(np.float32)
    np.testing.assert_allclose(
        jax.jit(copied, static_argnums=2)(picture, twice, 3), picture, atol=1e-6
    )

"""Fields of patches against loops over all candidates."""

import numpy as np
import pytest

from nst_jax.patches.fields import nearest_corners, voted


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

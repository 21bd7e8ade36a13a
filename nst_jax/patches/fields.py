"""Fields: for each patch of one picture a place in another, from which it may be copied."""

from functools import reduce
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from nst_jax.linalg import dot
from nst_jax.patches.nearest import least
from nst_jax.typing import AnyArray

_TINY = 1e-12


def nearest_corners(
    a: Float[AnyArray, "h w c"],
    b: Float[AnyArray, "h2 w2 c"],
    side: int,
    *,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    stride: int = 1,
    allowed: Bool[AnyArray, "rows2 columns2"] | None = None,
) -> Int[Array, "rows columns 2"]:
    """For each patch of A the corner, (row, column), of the nearest of B.

    Products of patches are sums of products of positions. So each pair of positions is multiplied
    once, not once for every place that it has in a patch. The search is exact, and holds the
    products of `side` rows of A with all of B.

    Args:
        a: the picture A, or features; at least as large as a patch, and so is B.
        b: the picture B.
        side: side of the patches.
        metric: `"euclidean"`, or `"cosine"`.
        stride: distance of neighbouring patches of B.
        allowed: which patches of B may be taken; None for all.

    Returns:
        Corners in B by the patch's row and column in A; of equally near ones the first.
    """
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    columns = a.shape[1] - side + 1
    rows2, columns2 = ((n - side) // stride + 1 for n in b.shape[:2])

    def of_patches(x: Array, i: int, j: int) -> Array:
        down, right = ((n - 1) * stride + 1 for n in (rows2, columns2))
        return x[..., i : i + down : stride, j : j + right : stride]

    def products(row: Array) -> Array:
        return dot(row, b.reshape(-1, b.shape[-1]).T).reshape(-1, *b.shape[:2])

    squares, places = jnp.square(b).sum(-1), list(np.ndindex(side, side))
    lengths = reduce(jnp.add, (of_patches(squares, i, j) for i, j in places)).reshape(1, -1)
    banned = jnp.zeros_like(lengths)
    if allowed is not None:
        banned = jnp.where(jnp.reshape(allowed, lengths.shape), banned, jnp.inf)

    def of_row(before: tuple[Array, ...], row: Array) -> tuple[tuple[Array, ...], Array]:
        strip = (*before, products(row))
        alike = reduce(jnp.add, (of_patches(strip[i][j : j + columns], i, j) for i, j in places))
        alike = alike.reshape(columns, -1)
        if metric == "cosine":
            costs = -alike * lax.rsqrt(jnp.maximum(lengths, _TINY))
        else:
            costs = lengths - 2 * alike
        return strip[1:], least(costs + banned)

    first = tuple(products(a[i]) for i in range(side - 1))
    index = lax.scan(of_row, first, a[side - 1 :])[1]
    return stride * jnp.stack(jnp.divmod(index, columns2), -1)


def voted(
    source: Float[AnyArray, "h w c"], corners: Int[AnyArray, "rows columns 2"], side: int
) -> Float[Array, "h2 w2 c"]:
    """Lay patches of a picture at every position, and average where they overlap.

    Args:
        source: the picture, or features, from which patches are copied.
        corners: for each patch of the result, by the row and column of its own corner, the corner
            (row, column) in `source`.
        side: side of the patches, s.

    Returns:
        The mean at each position, (rows + s - 1, columns + s - 1, c).
    """
    source, corners = jnp.asarray(source), jnp.asarray(corners)
    rows, columns, _ = corners.shape
    total = jnp.zeros((rows + side - 1, columns + side - 1, source.shape[-1]), source.dtype)
    covered = np.zeros((*total.shape[:2], 1), np.float32)
    for y, x in np.ndindex(side, side):
        here = np.s_[y : y + rows, x : x + columns]
        total = total.at[here].add(source[corners[..., 0] + y, corners[..., 1] + x])
        covered[here] += 1
    return total / covered

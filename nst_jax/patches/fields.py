"""Fields: for each patch of one picture a place in another, from which it may be copied."""

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from nst_jax.linalg import dot
from nst_jax.patches.nearest import least, patches
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


def copied(
    source: Float[AnyArray, "h w c"], field: Int[AnyArray, "h2 w2 2"], side: int
) -> Float[Array, "h2 w2 c"]:
    """Put a picture together from patches whose middles a field tells, as `voted` does.

    Args:
        source: the picture that is copied.
        field: for each position the middle of its patch, (row, column) in `source`.
        side: side of the patches, odd. Beyond the edges they go on with what is at the edge.
    """
    rim = side // 2
    found = voted(_edged(jnp.asarray(source), rim), field, side)
    return found[rim : found.shape[0] - rim, rim : found.shape[1] - rim]


def enlarged(
    field: Int[AnyArray, "h w 2"],
    size: tuple[int, int],
    wanted: tuple[int, int],
    beside: tuple[int, int] = (0, 0),
) -> Int[Array, "h2 w2 2"]:
    """The field between two pictures of twice the size.

    Args:
        field: places (row, column) in the picture that is copied.
        size: height and width of that picture, enlarged.
        wanted: height and width of the field, enlarged.
        beside: along rows and along columns, 1 to go on with the second nearest position of the
            field in place of the nearest.
    """
    field, limits = jnp.asarray(field), jnp.asarray(size, jnp.int32)[None, None] - 1
    near, over = [], []
    for length, count, other in zip(wanted, field.shape[:2], beside, strict=True):
        n = jnp.arange(length, dtype=jnp.int32)
        near.append(jnp.clip(n // 2 + other * (2 * (n % 2) - 1), 0, count - 1))
        over.append(n - 2 * near[-1])
    at = field[near[0][:, None], near[1][None]]
    return jnp.clip(2 * at + jnp.stack(jnp.meshgrid(*over, indexing="ij"), -1), 0, limits)


def nearest_field(
    a: Float[AnyArray, "h w c"], b: Float[AnyArray, "h2 w2 c"], side: int
) -> Int[Array, "h w 2"]:
    """For each patch of A the middle, (row, column), of the nearest of B (Euclidean).

    Args:
        a: the picture A, or features.
        b: the picture B.
        side: side of the patches, odd. Beyond the edges they go on with what is at the edge.
    """
    ours, theirs = (_edged(jnp.asarray(x), side // 2) for x in (a, b))
    # Beyond their edge, corners lie where middles do in the pictures themselves.
    return nearest_corners(ours, theirs, side)


def best_of(
    a: Float[AnyArray, "h w c"],
    b: Float[AnyArray, "h2 w2 c"],
    fields: Sequence[Int[AnyArray, "h w 2"]],
    side: int,
) -> Int[Array, "h w 2"]:
    """For each patch of A the nearest (Euclidean) of the few in B that the fields tell.

    Patches have the side `side`, odd. Of equally near ones the first field's is taken.
    """
    rim = side // 2
    a, b = (_edged(jnp.asarray(x, jnp.float32), rim) for x in (a, b))

    def of_row(row: tuple[Array, Array]) -> Array:
        y, places = row
        ours = patches(lax.dynamic_slice_in_dim(a, y, side), side)[0]
        theirs = [windows(b, one, side).reshape(ours.shape) for one in places]
        costs = jnp.stack([jnp.square(ours - other).sum(-1) for other in theirs], -1)
        return jnp.take_along_axis(places, least(costs)[None, :, None], 0)[0]

    every = jnp.stack([jnp.asarray(field) for field in fields], 1)
    return lax.map(of_row, (jnp.arange(every.shape[0], dtype=jnp.int32), every))


def refined(
    a: Float[AnyArray, "h w c"],
    b: Float[AnyArray, "h2 w2 c"],
    field: Int[AnyArray, "h w 2"],
    *,
    side: int,
    radius: int,
) -> Int[Array, "h w 2"]:
    """For each patch of A the nearest of B (Euclidean) in a window around a given place.

    The search is exact, and holds the windows of one row of A at a time. Beyond the pictures' edges
    patches go on with what is at the edge.

    Args:
        a: the picture A, or features.
        b: the picture B.
        field: for each position of A the middle of the window, (row, column) in B.
        side: side of the patches, odd.
        radius: how far the window goes to each side; it ends at B's edges.

    Returns:
        The middle of the nearest patch; of equally near ones, one that is next to the given place.
    """
    rim, span = side // 2, 2 * radius + 1
    reach = rim + radius
    a = _edged(jnp.asarray(a, jnp.float32), rim)
    b = _edged(jnp.asarray(b, jnp.float32), reach)
    field, channels = jnp.asarray(field), b.shape[-1]
    limits = jnp.asarray([n - 2 * reach for n in b.shape[:2]], jnp.int32)
    lengths = patches(jnp.square(b).sum(-1, keepdims=True), side).sum(-1)
    steps = np.indices((span, span)).reshape(2, -1).T - radius
    order = np.argsort(np.square(steps).sum(-1), kind="stable")
    steps = jnp.asarray(steps[order], jnp.int32)

    def of_row(row: tuple[Array, Array]) -> Array:
        y, middles = row
        ours = patches(lax.dynamic_slice_in_dim(a, y, side), side)[0].reshape(-1, side**2, channels)
        across = 2 * reach + 1
        theirs = windows(b, middles, across).reshape(-1, across**2, channels)
        products = jnp.einsum("npc,nqc->npq", ours, theirs, precision="highest")
        products = products.reshape(-1, side, side, across, across)
        alike = reduce(
            jnp.add,
            (products[:, i, j, i : i + span, j : j + span] for i, j in np.ndindex(side, side)),
        )
        costs = (windows(lengths, middles, span) - 2 * alike).reshape(-1, span**2)[:, order]
        places = middles[:, None] + steps[None]
        inside = ((places >= 0) & (places < limits[None, None])).all(-1)
        best = least(jnp.where(inside, costs, jnp.inf))
        return jnp.take_along_axis(places, best[:, None, None], 1)[:, 0]

    return lax.map(of_row, (jnp.arange(field.shape[0], dtype=jnp.int32), field))


def _edged(x: Array, rim: int) -> Array:
    return jnp.pad(x, ((rim, rim), (rim, rim), (0, 0)), mode="edge")


def windows(x: Array, corners: Int[Array, "n 2"], side: int) -> Array:
    """Square parts of an array, by their corners."""
    more = x.ndim - 2
    shape = (side, side, *x.shape[2:])
    return jax.vmap(lambda at: lax.dynamic_slice(x, (at[0], at[1], *[0] * more), shape))(corners)

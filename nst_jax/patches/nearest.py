"""For each vector of one set the nearest of another: patches, features, colours.

The search compares all with all, by matrix products over chunks. These are exact, run at full speed
on CPUs, GPUs and TPUs, and hold a chunk of distances at a time. PatchMatch, the usual search for
patches, is patented (US 8,861,869), so it is not used here.
"""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from nst_jax.errors import InputError
from nst_jax.linalg import dot
from nst_jax.options import unknown
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

Metric = Literal["euclidean", "cosine", "centred-cosine"]

# The distance as a share of the squared distance of the vectors that `prepared` returns.
SHARES: dict[str, float] = {"euclidean": 1.0, "cosine": 0.5, "centred-cosine": 0.5}
CHUNK = 2048
_TINY = 1e-12


class Matches(NamedTuple):
    """The k nearest vectors of B for each vector of A, the nearest first.

    Attributes:
        indices: their numbers in B; of equally near ones the lowest comes first.
        distance: their distances, without the penalty; infinite where B has nothing allowed.
    """

    indices: Int[Array, "n k"]
    distance: Float[Array, "n k"]


def patches(
    picture: Float[AnyArray, "h w c"], size: int, stride: int = 1
) -> Float[Array, "rows columns d"]:
    """Every square patch that lies within a picture or feature map, as a vector.

    Args:
        picture: the picture, or features.
        size: side of the patches.
        stride: distance of neighbouring patches.

    Returns:
        The vectors, by the patch's row and column; a vector goes row by row through its patch.

    Raises:
        InputError: the picture is smaller than a patch.
    """
    height, width, _ = picture.shape
    if size > min(height, width):
        raise InputError(
            f"The picture of {width} x {height} is smaller than a patch of {size} x {size}: give a "
            "larger picture, or take smaller patches."
        )
    picture = jnp.asarray(picture)
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    shifted = [
        picture[
            y : y + (rows - 1) * stride + 1 : stride, x : x + (columns - 1) * stride + 1 : stride
        ]
        for y in range(size)
        for x in range(size)
    ]
    return jnp.concatenate(shifted, axis=-1)


@jit(static=["k", "metric", "axes", "chunk"])
def nearest(
    a: Float[AnyArray, "n d"],
    b: Float[AnyArray, "m _"],
    *,
    k: int = 1,
    metric: Metric = "euclidean",
    penalty: Float[AnyArray, " m"] | None = None,
    labels: tuple[Int[AnyArray, " n"], Int[AnyArray, " m"]] | None = None,
    axes: int = 0,
    chunk: int = CHUNK,
) -> Matches:
    """For each vector of A find the k nearest of B. Works under `jit` and `vmap`.

    Args:
        a: the vectors A.
        b: the vectors B, at least k.
        k: how many neighbours to find.
        metric: `"euclidean"` (squared distances), `"cosine"` (1 - cos), or `"centred-cosine"`, for
            which the mean of A is subtracted from A, and that of B from B (NNST).
        penalty: added to the distance of each vector of B; see `nst_jax.patches.uniform`.
        labels: a whole number for each vector of A and of B; only equal ones are compared.
        axes: search among projections onto so many principal axes of B, and compare the 8 k best of
            them in full; an approximation for long vectors. 0 compares all in full.
        chunk: A and B are compared in chunks of so many vectors, to hold `chunk**2` distances.

    Raises:
        InputError: the metric is unknown, B has fewer than k vectors, or their lengths differ.
    """
    _require(a, b, k, metric)
    a, b = prepared(a, b, metric)
    if penalty is None:
        penalty = jnp.zeros(b.shape[0], jnp.float32)
    penalty = jnp.asarray(penalty) / SHARES[metric]
    if axes and axes < b.shape[1]:
        basis = principal(b, axes)
        few = min(8 * k, b.shape[0])
        index = _searched(dot(a, basis), dot(b, basis), penalty, labels, few, chunk)
        distance = _distances(a, b, labels, index, chunk)
        kept = _lowest(distance + penalty[index], k)
        index, distance = (jnp.take_along_axis(x, kept, 1) for x in (index, distance))
    else:
        index = _searched(a, b, penalty, labels, k, chunk)
        distance = _distances(a, b, labels, index, chunk)
    return Matches(index, SHARES[metric] * distance)


def prepared(
    a: Float[AnyArray, "n d"], b: Float[AnyArray, "m d"], metric: Metric
) -> tuple[Float[Array, "n d"], Float[Array, "m d"]]:
    """Move or scale vectors, in float32, so that squared distances put them in the metric's order.

    Of unit vectors |a - b|^2 = 2 (1 - cos).
    """
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    if metric == "euclidean":
        # Distances stay, but lose fewer digits when |a|^2 - 2ab + |b|^2 gives them.
        middle = b.mean(0, keepdims=True)
        return a - middle, b - middle
    if metric == "centred-cosine":
        a, b = a - a.mean(0, keepdims=True), b - b.mean(0, keepdims=True)
    return unit(a), unit(b)


def unit(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Scale vectors to length 1; zero stays zero."""
    return x * lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), _TINY))


def squared(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """The squared distances of all pairs less |a|^2, which no choice of b changes."""
    return jnp.square(b).sum(1)[None] - 2 * dot(a, b.T)


def least(costs: Float[Array, "n m"]) -> Int[Array, " n"]:
    """The place of each row's minimum, the first of equal ones.

    Two passes of `min`, which on CPUs take a third of the time of `argmin`.
    """
    places = jnp.arange(costs.shape[1], dtype=jnp.int32)[None]
    lowest = costs.min(1, keepdims=True)
    return jnp.where(costs == lowest, places, costs.shape[1] - 1).min(1)


def _require(a: AnyArray, b: AnyArray, k: int, metric: str) -> None:
    if metric not in get_args(Metric):
        raise InputError(unknown("metric", metric, get_args(Metric)))
    if a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"The vectors have {a.shape[-1]} and {b.shape[-1]} entries, but must have as many."
        )
    if not 1 <= k <= b.shape[0]:
        raise InputError(f"The number of neighbours is {k}, but must be from 1 to {b.shape[0]}.")


def _searched(
    a: Array, b: Array, penalty: Array, labels: tuple | None, k: int, chunk: int
) -> Int[Array, "n k"]:
    """The numbers of the k nearest by squared distance plus penalty."""
    ours, theirs = (None, None) if labels is None else labels
    size = min(chunk, b.shape[0])
    pieces = -(-b.shape[0] // size)
    spare = pieces * size - b.shape[0]
    b = jnp.pad(b, ((0, spare), (0, 0))).reshape(pieces, size, -1)
    penalty = jnp.pad(penalty, (0, spare), constant_values=jnp.inf).reshape(pieces, size)
    if theirs is not None:
        theirs = jnp.pad(jnp.asarray(theirs), (0, spare)).reshape(pieces, size)
    starts = jnp.arange(pieces, dtype=jnp.int32) * size

    def rows(row: tuple) -> Array:
        x, own = row

        def further(best: tuple, piece: tuple) -> tuple[tuple, None]:
            y, cost, other, start = piece
            costs = squared(x, y) + cost[None]
            if own is not None:
                costs = jnp.where(own[:, None] == other[None], costs, jnp.inf)
            # What was found earlier comes first, and wins where distances are equal.
            found = tuple(
                jnp.concatenate(pair, 1) for pair in zip(best, _best(costs, start, k), strict=True)
            )
            kept = _lowest(found[0], k)
            return tuple(jnp.take_along_axis(f, kept, 1) for f in found), None

        count = x.shape[0]
        none = jnp.full((count, k), jnp.inf, x.dtype), jnp.zeros((count, k), jnp.int32)
        return lax.scan(further, none, (b, penalty, theirs, starts))[0][1]

    return by_rows(rows, (a, None if ours is None else jnp.asarray(ours)), chunk)


def _best(costs: Array, start: Array, k: int) -> tuple[Array, Array]:
    """The k lowest costs of each row, and where they stand."""
    places = _lowest(costs, min(k, costs.shape[1]))
    return jnp.take_along_axis(costs, places, 1), places + start


def _lowest(costs: Array, k: int) -> Int[Array, "n k"]:
    return least(costs)[:, None] if k == 1 else lax.top_k(-costs, k)[1]


def by_rows(function: Any, rows: Any, chunk: int) -> Any:
    """Apply a function to chunks of rows, one after another."""
    count = jax.tree.leaves(rows)[0].shape[0]
    size = min(chunk, count)
    pieces = -(-count // size)

    def split(x: Array) -> Array:
        spare = [(0, pieces * size - count)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, spare).reshape(pieces, size, *x.shape[1:])

    found = lax.map(function, jax.tree.map(split, rows))
    return jax.tree.map(lambda f: f.reshape(-1, *f.shape[2:])[:count], found)


def _distances(
    a: Array, b: Array, labels: tuple | None, index: Array, chunk: int
) -> Float[Array, "n k"]:
    """The squared distances of the vectors found, from differences: exact where they are small."""

    def rows(row: tuple) -> Array:
        x, places = row
        return lax.map(lambda place: jnp.square(x - b[place]).sum(1), places.T).T

    found = by_rows(rows, (a, index), chunk)
    if labels is None:
        return found
    ours, theirs = (jnp.asarray(each) for each in labels)
    return jnp.where(ours[:, None] == theirs[index], found, jnp.inf)


def principal(b: Float[Array, "m d"], axes: int) -> Float[Array, "d axes"]:
    """About the directions along which the vectors differ most, by subspace iteration."""
    centred = b - b.mean(0, keepdims=True)
    start = jax.random.normal(jax.random.key(0), (b.shape[1], axes), jnp.float32)

    def further(_: Array, basis: Array) -> Array:
        return jnp.linalg.qr(dot(centred.T, dot(centred, basis)))[0]

    return lax.fori_loop(0, 3, further, start)

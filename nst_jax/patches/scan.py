"""Draw one level of an image analogy pixel by pixel, each from the pixels already drawn.

A pixel depends on its neighbours above and left. Those at (y, x) with equal `3 y + x` do not depend
on each other, so they are drawn together. This gives what a scan row by row gives, and makes the
search a product of matrices.
"""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from nst_jax.linalg import dot
from nst_jax.patches.nearest import by_rows, least, nearest, patches, principal
from nst_jax.programs import jit

_FINE, _COARSE = 2, 1  # radius of the neighbourhoods, 5 x 5 and 3 x 3
_SKEW = _FINE + 1
_AXES = 64  # longer vectors are compared by their projections onto so many principal axes
_SAMPLE, _CHUNK = 2**13, 2**14


class Layers(NamedTuple):
    """A picture at one level: what is given of it, and what is drawn.

    Attributes:
        guides: the guides, times the square roots of their weights.
        drawn: A' or B'.
    """

    guides: Float[Array, "h w g"]
    drawn: Float[Array, "h w c"]


class Level(NamedTuple):
    """One level of an image analogy.

    Attributes:
        a: A and A'.
        b: B and a first B', of which only the margins are seen.
        sources: a first guess of the place in A', (y, x), for each pixel of B'.
        coarser: the pictures a and b of the level above; None at the coarsest.
    """

    a: Layers
    b: Layers
    sources: Int[Array, "h w 2"]
    coarser: tuple[Layers, Layers] | None = None


def first_sources(a: Float[Array, "h w g"], b: Float[Array, "h2 w2 g"]) -> Int[Array, "h2 w2 2"]:
    """For each pixel of B the place in A with the nearest neighbourhood, by the guides alone."""
    theirs, ours = (patches(_padded(x, _FINE), 2 * _FINE + 1) for x in (a, b))
    flat = [x.reshape(-1, x.shape[-1]) for x in (ours, theirs)]
    found = nearest(*flat).indices[:, 0]
    return jnp.stack(jnp.divmod(found, a.shape[1]), -1).reshape(*b.shape[:2], 2)


@jit(static=["search"])
def drawn_level(
    level: Level, tolerance: Float[Array, ""], search: int
) -> tuple[Float[Array, "h w c"], Int[Array, "h w 2"]]:
    """Draw B' of one level: each pixel is copied from A'.

    Args:
        level: the pictures.
        tolerance: how much worse than the best a coherent match may be, as a share.
        search: how many places of A, on a grid, are compared with every pixel. Around the best of
            them, all are.

    Returns:
        B', and the place in A' from which each of its pixels was copied.
    """
    height, width, _ = level.b.guides.shape
    size, limits = (_size(x.guides)[None] for x in (level.a, level.b))
    coarse_a, coarse_b = level.coarser or (None, None)
    every = _places(*level.a.guides.shape[:2])
    around = partial(_vectors, level.a, coarse_a, _padded(level.a.drawn, _FINE))
    basis = _basis(around(every[:: max(1, len(every) // _SAMPLE)]))
    known = by_rows(lambda p: dot(around(p), basis), every, _CHUNK)
    stride = max(1, int(np.ceil(np.sqrt(len(every) / search))))
    grid = np.flatnonzero((np.indices(level.a.guides.shape[:2]) % stride == 0).all(0))
    compared = known[grid]
    norms = jnp.square(compared).sum(1)[None]
    window, causal = _offsets(stride // 2), _causal()
    rows = jnp.arange(min(height, -(-width // _SKEW)))

    def distances(query: Array, places: Array) -> Array:
        """From each pixel's vector to those of its own places."""
        found = known[places[..., 0] * level.a.guides.shape[1] + places[..., 1]]
        return jnp.square(found - query[:, None]).sum(-1)

    def nearest_of(query: Array, places: Array, allowed: Any = True) -> tuple[Array, Array]:
        costs = jnp.where(allowed, distances(query, places), jnp.inf)
        best = least(costs)[:, None]
        place = jnp.take_along_axis(places, best[..., None], 1)[:, 0]
        return place, jnp.take_along_axis(costs, best, 1)[:, 0]

    def front(t: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        drawn, sources = state
        y = jnp.maximum(0, -((width - 1 - t) // _SKEW)) + rows
        x = t - _SKEW * y
        there = jnp.stack([y, x], -1)
        inside = (x >= 0) & (x < width) & (y < height)
        safe = jnp.clip(there, 0, limits[0] - 1)
        query = dot(_vectors(level.b, coarse_b, drawn, safe), basis)
        # The nearest of all.
        coarse = jnp.asarray(grid)[least(norms - 2 * dot(query, compared.T))]
        middle = jnp.stack(jnp.divmod(coarse, level.a.guides.shape[1]), -1)[:, None]
        guess = sources[safe[:, 0], safe[:, 1]][:, None]
        near = jnp.concatenate([middle + window, guess], 1)
        best, lowest = nearest_of(query, jnp.clip(near, 0, size - 1))
        # The nearest of those that continue what the neighbours copied.
        beside = safe[:, None] + causal
        done = (beside >= 0) & (beside < limits)
        at = jnp.clip(beside, 0, limits - 1)
        further = sources[at[..., 0], at[..., 1]] - causal
        allowed = (done & (further >= 0) & (further < size)).all(-1)
        coherent, cost = nearest_of(query, jnp.clip(further, 0, size - 1), allowed)
        place = jnp.where((cost <= lowest * (1 + tolerance))[:, None], coherent, best)
        row = jnp.where(inside, y, height + 2 * _FINE)  # out of bounds: dropped
        sources = sources.at[row, x].set(place, mode="drop")
        values = level.a.drawn[place[:, 0], place[:, 1]]
        return drawn.at[row + _FINE, x + _FINE].set(values, mode="drop"), sources

    begin = _padded(level.b.drawn, _FINE), level.sources
    drawn, sources = lax.fori_loop(0, _SKEW * (height - 1) + width, front, begin)
    return drawn[_FINE:-_FINE, _FINE:-_FINE], sources


def _vectors(
    layers: Layers,
    coarser: Layers | None,
    drawn: Float[Array, "h2 w2 c"],
    places: Int[Array, "n 2"],
) -> Float[Array, "n d"]:
    """The neighbourhoods of pixels as vectors, whose squared distances compare them.

    These hold 5 x 5 of the guides, the causal half of it of what is drawn (with its margin), and
    3 x 3 of both at the coarser level, with Gaussian weights. Each of the four has weight 1.
    """
    parts = [(_padded(layers.guides, _FINE), places, _offsets(_FINE)), (drawn, places, _causal())]
    found = [_around(padded, _FINE, at, offsets) for padded, at, offsets in parts]
    if coarser is not None:
        size, less = _size(layers.guides), _size(coarser.guides)
        above = places * less // size
        small = _offsets(_COARSE)
        found += [_around(_padded(x, _COARSE), _COARSE, above, small) for x in coarser]
    return jnp.concatenate(found, 1)


def _around(
    padded: Float[Array, "h w c"],
    margin: int,
    places: Int[Array, "n 2"],
    offsets: Int[np.ndarray, "1 k 2"],
) -> Float[Array, "n d"]:
    """The weighted values at offsets from places; the picture has a margin."""
    weights = np.exp(-np.square(offsets[0]).sum(1) / (2 * (margin / 1.5) ** 2))
    weights = np.sqrt(weights / weights.sum()).astype(np.float32)
    at = places[:, None] + offsets + margin
    found = padded[at[..., 0], at[..., 1]] * weights[None, :, None]
    return found.reshape(len(places), -1)


def _basis(vectors: Float[Array, "n d"]) -> Float[Array, "d r"]:
    """The principal axes of long vectors; all axes of short ones."""
    if vectors.shape[1] <= _AXES:
        return jnp.eye(vectors.shape[1], dtype=jnp.float32)
    return principal(vectors, _AXES)


def _padded(x: Float[Array, "h w c"], margin: int) -> Float[Array, "h2 w2 c"]:
    return jnp.pad(x, ((margin, margin), (margin, margin), (0, 0)), mode="edge")


def _size(picture: Float[Array, "h w c"]) -> Int[Array, "1 2"]:
    return jnp.asarray([picture.shape[:2]], jnp.int32)


def _places(height: int, width: int) -> Int[Array, "n 2"]:
    return jnp.asarray(np.moveaxis(np.indices((height, width), np.int32), 0, -1).reshape(-1, 2))


def _offsets(radius: int) -> Int[np.ndarray, "1 k 2"]:
    """All places of a square around its centre, row by row."""
    places = np.moveaxis(np.indices((2 * radius + 1,) * 2, np.int32), 0, -1).reshape(1, -1, 2)
    return places - np.int32(radius)


def _causal() -> Int[np.ndarray, "1 k 2"]:
    """The neighbours that are drawn before a pixel."""
    square = _offsets(_FINE)
    return square[:, : square.shape[1] // 2]

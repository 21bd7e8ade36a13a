"""Guided synthesis: paint a frame with a painted key frame, patch by patch (EbSynth, 2019).

For each pixel of the frame a place of the key is found, where the key's own picture looks as the
frame does here, and what is painted there fits what is painted around. The energy is that of Fiser
et al. 2016 (StyLit) and Jamriska et al. 2019, "Stylizing video by example". Places are not found at
random: they come from motion, from neighbours (Ashikhmin 2001) and, where nothing is known, from a
comparison of all with all at a coarse scale. PatchMatch is patented, and not used.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from nst_jax.motion.filters import filtered
from nst_jax.motion.warping import warp_sharp
from nst_jax.patches.nearest import nearest, patches
from nst_jax.pictures.color import grey
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

_COLOUR, _EDGE, _PLACE, _STYLE = 6.0, 1.0, 2.0, 1.0  # weights of the guides, and of the painting
_ROUNDS, _FIRST_ROUNDS = 3, 8  # of search and vote, at the finest scale and at the others
_RADIUS = 2  # of the patches, 5 x 5
_BETTER = 0.9  # another place must cost less than this share of a pixel's own
_TINY = 1e-4  # costs, per pixel of a patch, that are none
_COARSEST = 1500  # pixels of the scale where all places are compared
_TORN = 1.0  # pixels by which a patch's places may lie apart for it to be warped as a whole
_SLOPE = (-0.5, 0.0, 0.5)


def places_in(height: int, width: int) -> Float[np.ndarray, "h w 2"]:
    """The place of each pixel of a picture: its column, then its row."""
    return np.moveaxis(np.indices((height, width), np.float32)[::-1], 0, -1).copy()


def matched(
    key: Float[AnyArray, "h w 3"],
    painted: Float[AnyArray, "h w 3"],
    frame: Float[AnyArray, "h w 3"],
    guess: Float[AnyArray, "h w 2"],
    trust: Float[AnyArray, "h w"],
) -> Float[np.ndarray, "h w 2"]:
    """Find for each pixel of a frame its place in the key, from coarse to fine.

    Args:
        key: the key frame before it was painted, RGB in [0, 1].
        painted: the key frame as it was painted.
        frame: the frame to paint.
        guess: places in the key by motion, (column, row).
        trust: how far these can be trusted, from 0 to 1.
    """
    h, w, _ = frame.shape
    sizes = [(h, w)]
    while sizes[-1][0] * sizes[-1][1] > _COARSEST and min(sizes[-1]) >= 16:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    places = None
    for size in reversed(sizes):
        theirs, ours = _layers(key, size), _layers(frame, size)
        style = _resized(jnp.asarray(painted), size) * np.float32(np.sqrt(_STYLE / 3))
        near, known = _placed(guess, trust, size)
        start = _nearest_of_all(theirs, ours) if places is None else _finer(places, size)
        rounds = _ROUNDS if size == sizes[0] else _FIRST_ROUNDS
        places = _level(theirs, style, ours, start, near, known, rounds)
    assert places is not None
    return np.asarray(places)


@jit()
def painted_at(
    painted: Float[AnyArray, "h w 3"], places: Float[AnyArray, "h w 2"]
) -> Float[Array, "h w 3"]:
    """The painting of a frame from places in the key's painting, RGB in [0, 1].

    Patches that moved as a whole are looked up between pixels. Elsewhere pixels are the mean of
    what the patches around them hold.
    """
    voted, apart = _voted(jnp.asarray(painted), jnp.asarray(places))
    moved = jnp.clip(warp_sharp(painted, places - _grid(places)), 0, 1)
    torn = jnp.clip(apart[..., None] - _TORN, 0, 1)
    return moved + torn * (voted - moved)


@jit(static=["size"])
def _layers(picture: Float[AnyArray, "h w 3"], size: tuple[int, int]) -> Float[Array, "h2 w2 4"]:
    """The guides of a picture at a scale, times the square roots of their weights."""
    small = _resized(jnp.asarray(picture), size)
    light = grey(small)
    slopes = sum(jnp.square(filtered(light, _SLOPE, axis)) for axis in (0, 1))
    edges = jnp.sqrt(slopes + 1e-8)
    return jnp.concatenate([small * (_COLOUR / 3) ** 0.5, edges * _EDGE**0.5], -1)


@jit(static=["size"])
def _placed(
    guess: Float[AnyArray, "h w 2"], trust: Float[AnyArray, "h w"], size: tuple[int, int]
) -> tuple[Float[Array, "h2 w2 2"], Float[Array, "h2 w2"]]:
    """Guesses and their trust at a scale; those of single pixels, since a mean lies nowhere."""
    h, w = trust.shape
    scale = jnp.asarray([[[size[1] / w, size[0] / h]]], jnp.float32)
    rows, columns = (jnp.arange(n) * m // n for n, m in zip(size, (h, w), strict=True))
    own = jnp.asarray(guess)[rows][:, columns]
    offset = jnp.stack(jnp.meshgrid(columns, rows), -1).astype(jnp.float32)
    # A place moves with its pixel: what counts is how far it lies from it.
    apart = (own - offset) * scale
    grid = jnp.stack(jnp.meshgrid(jnp.arange(size[1]), jnp.arange(size[0])), -1)
    return grid.astype(jnp.float32) + apart, jnp.asarray(trust)[rows][:, columns]


def _finer(places: Float[Array, "h w 2"], size: tuple[int, int]) -> Float[Array, "h2 w2 2"]:
    """Places at the next scale."""
    rows, columns = jnp.arange(size[0]), jnp.arange(size[1])
    grid = jnp.stack(jnp.meshgrid(columns, rows), -1)
    less = (rows // 2)[:, None], (columns // 2)[None]
    apart = places[less] - jnp.stack(jnp.broadcast_arrays(less[1], less[0]), -1)
    return grid.astype(jnp.float32) + 2 * apart


@jit()
def _nearest_of_all(
    theirs: Float[Array, "h w g"], ours: Float[Array, "h w g"]
) -> Float[Array, "h w 2"]:
    """For each pixel the place with the most similar patch of guides."""
    flat = [patches(_padded(x), 2 * _RADIUS + 1) for x in (ours, theirs)]
    found = nearest(*(x.reshape(-1, x.shape[-1]) for x in flat)).indices[:, 0]
    w = ours.shape[1]
    return jnp.stack([found % w, found // w], -1).reshape(*ours.shape[:2], 2).astype(jnp.float32)


@jit(static=["rounds"])
def _level(
    theirs: Float[Array, "h w g"],
    style: Float[Array, "h w 3"],
    ours: Float[Array, "h w g"],
    start: Float[Array, "h w 2"],
    guess: Float[Array, "h w 2"],
    trust: Float[Array, "h w"],
    rounds: int,
) -> Float[Array, "h w 2"]:
    """Improve places at one scale, by rounds of search and vote."""
    h, w, _ = ours.shape
    limit = jnp.asarray([[[w - 1, h - 1]]], jnp.float32)
    moved = trust > 0.5
    places = jnp.where(moved[..., None], guess, start)
    taps = _offsets(quincunx=True)
    source = _padded(jnp.concatenate([theirs, style], -1))
    sides = jnp.asarray([[[w, h]]], jnp.float32)

    def around(layers: Array) -> Float[Array, "k h w c"]:
        wide = _padded(layers)
        return jnp.stack([wide[y : y + h, x : x + w] for x, y in (taps + _RADIUS).tolist()])

    def cost_of(query: Array, places: Array) -> Float[Array, "h w"]:
        at = jnp.rint(jnp.clip(places, 0, limit)).astype(jnp.int32) + _RADIUS
        flat, width = source.reshape(-1, source.shape[-1]), w + 2 * _RADIUS
        corner = at[..., 1] * width + at[..., 0]

        def add(n: Any, total: Array) -> Array:
            x, y = jnp.asarray(taps)[n]
            return total + jnp.square(flat[corner + y * width + x] - query[n]).sum(-1)

        total = lax.fori_loop(0, len(taps), add, jnp.zeros((h, w), jnp.float32))
        away = jnp.square((places - guess) / sides).sum(-1)
        return total / len(taps) + _PLACE / 2 * trust * away

    def round_(_: Any, places: Array) -> Array:
        drawn, _ = _voted(style, places)
        query = around(jnp.concatenate([ours, drawn], -1))
        moves = jnp.asarray(_MOVES, jnp.float32)[:, None, None]

        def challenged(state: tuple[Array, Array], candidate: Array) -> tuple[Array, Array]:
            best, lowest = state
            cost = cost_of(query, candidate)
            # Where little is gained, places stay, and move smoothly from frame to frame.
            better = cost < jnp.where(moved, _BETTER * lowest - _TINY, lowest)
            return jnp.where(better[..., None], candidate, best), jnp.where(better, cost, lowest)

        beside = [jnp.roll(places, (-y, -x), (0, 1)) - _vector(x, y) for x, y in _MOVES]
        others = jnp.clip(jnp.stack([start, guess, *beside]), 0, limit[None])

        def tried(n: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
            near = jnp.clip(state[0] + moves[n - len(others)], 0, limit)
            return challenged(state, jnp.where(n < len(others), others[n], near))

        state = places, cost_of(query, places)
        return lax.fori_loop(0, len(others) + _NEAREST, tried, state)[0]

    return lax.fori_loop(0, rounds, round_, jnp.clip(places, 0, limit))


# To neighbours (column, row): the nearest, then farther ones.
_NEAREST = 8
_MOVES = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if x or y]
_MOVES += [(-4, 0), (4, 0), (0, -4), (0, 4)]


def _voted(
    painted: Float[Array, "h w c"], places: Float[Array, "h w 2"]
) -> tuple[Float[Array, "h w c"], Float[Array, "h w"]]:
    """The mean of what patches around a pixel hold there, and how far apart their places lie."""
    h, w, _ = painted.shape
    grid = _grid(places)
    offsets = _offsets()
    size = jnp.asarray([[[w, h]]], jnp.int32)

    def add(n: Any, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        total, count, apart = state
        offset = jnp.asarray(offsets)[n][None, None]
        beside = (grid + offset).astype(jnp.int32)
        inside = ((beside >= 0) & (beside < size)).all(-1)
        own = jnp.clip(beside, 0, size - 1)
        place = places[own[..., 1], own[..., 0]] - offset
        at = jnp.rint(jnp.clip(place, 0, size - 1)).astype(jnp.int32)
        share = inside.astype(jnp.float32)
        far = jnp.abs(place - places).max(-1)
        values = painted[at[..., 1], at[..., 0]]
        return (
            total + share[..., None] * values,
            count + share,
            jnp.maximum(apart, share * far),
        )

    zero = jnp.zeros((h, w), jnp.float32)
    total, count, apart = lax.fori_loop(
        0, len(offsets), add, (jnp.zeros(painted.shape, jnp.float32), zero, zero)
    )
    return total / count[..., None], apart


def _vector(x: int, y: int) -> Float[Array, "1 1 2"]:
    return jnp.asarray([[[x, y]]], jnp.float32)


def _resized(picture: Float[Array, "h w c"], size: tuple[int, int]) -> Float[Array, "h2 w2 c"]:
    return jax.image.resize(picture, (*size, picture.shape[-1]), "linear")


def _padded(layers: Float[Array, "h w c"]) -> Float[Array, "h2 w2 c"]:
    return jnp.pad(layers, ((_RADIUS, _RADIUS), (_RADIUS, _RADIUS), (0, 0)), mode="edge")


def _grid(places: Float[AnyArray, "h w 2"]) -> Float[np.ndarray, "h w 2"]:
    return places_in(places.shape[0], places.shape[1])


def _offsets(*, quincunx: bool = False) -> Int[np.ndarray, "k 2"]:
    """The places of a patch's pixels around its middle, (column, row); every second of them."""
    side = range(-_RADIUS, _RADIUS + 1)
    found = [(x, y) for y in side for x in side if not quincunx or (x + y) % 2 == 0]
    return np.array(found, np.int32)

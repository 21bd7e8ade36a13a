"""Hypercolumns: for each position the features of all layers, as one vector."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax.losses.regions import Regions, filled, require_all, stacked, weights_at
from nst_jax.losses.term import Scene
from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

STRIDE = 4  # pixels from one column to the next


class Pair(NamedTuple):
    """A region of the picture, and a source of style for it.

    Attributes:
        region: the number of the region, 0 if there are none.
        source: the number of the source, in the order of `Regions.blend`.
        style: the number of its style picture.
        mask: where the source lies in the style picture, (h, w); None for the whole picture.
    """

    region: int
    source: int
    style: int
    mask: Float[np.ndarray, "h w"] | None


def pairs_of(scene: Scene) -> list[Pair]:
    """Each region of the picture with each source of style that has a weight in it."""
    regions = scene.regions
    every = (None,) * len(scene.styles) if regions is None else regions.styles
    sources: list[tuple[int, Any]] = []
    for number, (style, masks) in enumerate(zip(scene.styles, every, strict=True)):
        height, width, _ = style.shape
        of_style = [None] if masks is None else list(stacked(masks, (height, width)))
        sources += [(number, mask) for mask in of_style]
    used = np.ones((1, len(sources))) if regions is None else regions.blend
    return [Pair(r, k, *sources[k]) for r, k in np.argwhere(np.asarray(used) > 0).tolist()]


def weights_of(pairs: Int[AnyArray, "p 2"], blend: Any) -> Float[Array, " p"]:
    """The weight of each pair of region and source, from `Seen.blend`."""
    pairs = jnp.asarray(pairs, jnp.int32)
    if blend is None:
        return jnp.ones(pairs.shape[0], jnp.float32)
    return jnp.atleast_2d(jnp.asarray(blend))[pairs[:, 0], pairs[:, 1]]


def guides_of(
    scene: Scene, pairs: Sequence[Pair], strides: dict[str, int]
) -> dict[str, Float[Array, "p _ _"]]:
    """The weight, in [0, 1], of the picture's positions in each pair, for each of some strides.

    Raises:
        InputError: a region of the picture or of a style is empty at one of the strides.
    """
    height, width, _ = scene.content.shape
    ones = np.ones((1, height, width), np.float32)
    drawn = ones if scene.regions is None else scene.regions.drawn((height, width))
    found = {key: weights_at(drawn, stride) for key, stride in strides.items()}
    if scene.regions is not None:
        if scene.regions.passing:
            found = filled(found)
        else:
            require_all(found, scene.regions.labels, "content")
        _require_styles(scene.regions, scene, strides)
    chosen = np.array([pair.region for pair in pairs])
    return {key: guides[chosen] for key, guides in found.items()}


def _require_styles(regions: Regions, scene: Scene, strides: dict[str, int]) -> None:
    for style, masks in zip(scene.styles, regions.styles, strict=True):
        if masks is not None:
            height, width, _ = style.shape
            given = stacked(masks, (height, width))
            require_all({k: weights_at(given, s) for k, s in strides.items()}, masks, "style")


def grid_of(height: int, width: int) -> tuple[int, int]:
    """The number of rows and columns of a picture's hypercolumns."""
    return max(height // STRIDE, 1), max(width // STRIDE, 1)


def aligned(
    features: Float[AnyArray, "h w c"], rows: int, columns: int
) -> Float[Array, "rows columns c"]:
    """Resize feature maps bilinearly, so that their corners stay where they are."""
    return _resized(_resized(jnp.asarray(features), 0, rows), 1, columns)


def part_of(
    features: Float[AnyArray, "h w i"], head: Float[AnyArray, "i c"] | None, rows: int, columns: int
) -> Float[Array, "rows columns c"]:
    """A layer's part of the hypercolumns, float32."""
    features = jnp.asarray(features)
    if features.shape[0] * features.shape[1] > rows * columns:
        found = projected(aligned(features, rows, columns), head)
    else:
        found = aligned(projected(features, head), rows, columns)
    return found.astype(jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _resized(x: Array, axis: int, count: int) -> Array:
    places, shares = _sources(x.shape[axis], count)
    return _mixture(x, axis, places, shares)


def _resized_forward(x: Array, axis: int, count: int) -> tuple[Array, Array]:
    return _resized(x, axis, count), jnp.zeros(x.shape[axis], x.dtype)


def _resized_backward(axis: int, count: int, like: Array, pulled: Array) -> tuple[Array]:
    # JAX would scatter what it gathered, one row after the other. Each row has few that look at it.
    places, shares = _transposed(*_sources(like.shape[0], count), like.shape[0])
    return (_mixture(pulled, axis, places, shares),)


_resized.defvjp(_resized_forward, _resized_backward)


def _sources(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `count` positions the two of `length` between which it lies, and their shares."""
    places = np.linspace(0, length - 1, count) if count > 1 else np.zeros(1)
    below = np.minimum(places.astype(np.int32), max(length - 2, 0))
    above, share = np.minimum(below + 1, length - 1), places - below
    return np.stack([below, above], 1), np.stack([1 - share, share], 1)


def _transposed(
    places: np.ndarray, shares: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each of `length` positions those that look at it, and its shares in them."""
    lookers: list[list[tuple[int, float]]] = [[] for _ in range(length)]
    for number, (two, parts) in enumerate(zip(places, shares, strict=True)):
        for place, part in zip(two, parts, strict=True):
            if part:
                lookers[place].append((number, part))
    most = max(len(found) for found in lookers)
    padded = [found + [(0, 0.0)] * (most - len(found)) for found in lookers]
    numbers, parts = np.moveaxis(np.array(padded), -1, 0)
    return numbers.astype(np.int32), parts


def _mixture(x: Array, axis: int, places: np.ndarray, shares: np.ndarray) -> Array:
    """Sums of rows or columns: those at the places, times their shares."""
    sides = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    parts = [
        jnp.take(x, one, axis, mode="clip") * jnp.asarray(share.reshape(sides), x.dtype)
        for one, share in zip(places.T, shares.T, strict=True)
    ]
    return sum(parts[1:], parts[0])


@jit(static=["layers"])
def columns(
    network: Network, picture: Float[AnyArray, "h w 3"], layers: tuple[str, ...]
) -> Float[Array, "n d"]:
    """The hypercolumns of a picture, each layer divided by its number of feature maps, float32."""
    height, width, _ = picture.shape
    rows, across = grid_of(height, width)

    def tap(layer: str, features: Any, head: Any = None) -> tuple[Any, Array]:
        return features, part_of(features, head, rows, across) / network.widths[layer]

    found = network(jnp.asarray(picture), layers, tap)
    return jnp.concatenate([found[layer] for layer in layers], -1).reshape(rows * across, -1)


def split(
    vectors: Sequence[Float[AnyArray, "h w d"]], layers: tuple[str, ...], network: Network
) -> dict[str, Float[Array, "p h w _"]]:
    """The parts of hypercolumns that belong to each layer, of several pictures stacked."""
    side = max(network.strides[layer] for layer in layers)
    image = jax.ShapeDtypeStruct((side, side, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: network(x, layers), image)
    ends = np.cumsum([shapes[layer].shape[-1] for layer in layers])[:-1]
    return _split([jnp.asarray(v) for v in vectors], layers, tuple(ends.tolist()))


@jit(static=["layers", "ends"])
def _split(
    vectors: list[Array], layers: tuple[str, ...], ends: tuple[int, ...]
) -> dict[str, Array]:
    return dict(zip(layers, jnp.split(jnp.stack(vectors), ends, -1), strict=True))


def turned(picture: Float[AnyArray, "h w ..."], turns: int) -> list[Any]:
    """A picture or mask as it is, and turned by further quarters; `turns` of them in all."""
    return [np.rot90(np.asarray(picture), quarter) for quarter in range(turns)]

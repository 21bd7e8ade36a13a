"""Hypercolumns: for each position the features of all layers, as one vector."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax.losses.aligning import aligned
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

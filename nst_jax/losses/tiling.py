"""Sums over the positions of a picture's layers, tile by tile: for pictures larger than memory.

What the losses need of a layer are sums over its positions: squared differences to the content,
and what Gram matrices and moments are made of. So a first pass over the tiles adds these up, with
no gradient; the losses are those of the whole picture, and their cotangents of the sums the same
for every tile; a second pass pulls them back through one tile after the other. No more than one
tile's activations are there at a time, and value and gradient are the untiled ones.

Every tile is seen through a window of one shape, so that all share a program: the tile with a
margin as wide as the deepest layer's view. Windows begin at multiples of the coarsest stride, where
pooling lays its blocks as in the whole picture, and the last ends with the picture. At the
picture's edge a window has the network's own border, and inner edges lie beyond the margin. Each
position of each layer belongs to one tile.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from nst_jax.losses.gradients import beside
from nst_jax.networks.base import Network
from nst_jax.typing import AnyArray

# Of a layer's name and features in a window, perhaps still without their linear head, that head,
# the window's part of the layer's maps, and which positions are the tile's own (1, else 0): a
# pytree of sums over these. Maps are a pytree of arrays over positions, (h, w, ...).
Measure = Callable[[str, Array, Array | None, Any, Float[Array, "h w"]], Any]


# The axes of their rows: of a head, which has none, of maps, and of the tile's own positions.
_ROWS: Any = (-1, 0, 0)


@dataclass(frozen=True)
class Axis:
    """Windows along the height or the width, in pixels.

    Attributes:
        length: of each window.
        starts: where they begin.
        ends: where the part of each that is its tile ends, and the next tile begins.
    """

    length: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How a picture is cut, and the picture's pixels per position of each layer; hashable."""

    rows: Axis
    columns: Axis
    strides: tuple[tuple[str, int], ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are measured."""
        return tuple(layer for layer, _ in self.strides)

    def table(self) -> Int[np.ndarray, "n 2 3"]:
        """For each tile, along rows and columns: start of the window, begin and end of the tile."""
        along = [
            list(zip(axis.starts, (0, *axis.ends), axis.ends, strict=False))
            for axis in (self.rows, self.columns)
        ]
        return np.array([(row, column) for row in along[0] for column in along[1]], np.int32)


def layout(
    tile: int, network: Network, layers: tuple[str, ...], height: int, width: int
) -> Layout | None:
    """How to cut a picture into tiles of at most about `tile` pixels a side; None for no need.

    0 is one tile. Tiles have whole blocks of the coarsest stride, so the smallest is such a block.
    """
    if not tile or not layers:
        return None
    stride = max(network.strides[layer] for layer in layers)
    margin = -(-max(network.margins[layer] for layer in layers) // stride) * stride
    rows, columns = (_axis(size, tile, margin, stride) for size in (height, width))
    if len(rows.starts) == len(columns.starts) == 1:
        return None
    return Layout(rows, columns, tuple((layer, network.strides[layer]) for layer in layers))


def _axis(size: int, tile: int, margin: int, stride: int) -> Axis:
    tile = max(tile // stride, 1) * stride
    count = -(-(size - 2 * margin) // tile)  # the outer ones have a margin less, and hold more
    if count <= 1:
        return Axis(size, (0,), (size,))
    step = -(-(size - 2 * margin) // (count * stride)) * stride
    length = step + 2 * margin + size % stride
    starts = tuple(dict.fromkeys(min(n * step, size - length) for n in range(count)))
    return Axis(length, starts, (*(start + margin for start in starts[1:]), size))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def summed(
    layout: Layout,
    measure: Measure,
    image: Float[Array, "h w 3"],
    network: Network,
    maps: Mapping[str, Any],
) -> dict[str, Any]:
    """What `measure` gives for each layer, summed over all tiles; differentiable in `image`.

    Args:
        layout: the tiles; static.
        measure: of every layer in every window; static.
        image: RGB in [0, 1].
        network: the feature extractor.
        maps: what lies over the positions of each layer.
    """
    first = jnp.asarray(layout.table()[0])
    shapes = jax.eval_shape(partial(_of_tile, layout, measure), image, network, maps, first)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(total, place):
        found = _of_tile(layout, measure, image, network, maps, place)
        return jax.tree.map(jnp.add, total, found), None

    return lax.scan(add, zeros, layout.table())[0]


def _forward(layout, measure, image, network, maps):
    return summed(layout, measure, image, network, maps), (image, network, maps)


def _backward(layout, measure, kept, cotangents):
    image, network, maps = kept

    def add(gradient, place):
        window = _window(layout, image, place)
        own = partial(_of_window, layout, measure, network=network, maps=maps, place=place)
        (part,) = jax.vjp(own, window)[1](cotangents)
        return _put(gradient, _window(layout, gradient, place) + part, place), None

    gradient, _ = lax.scan(add, jnp.zeros_like(image), layout.table())
    return gradient, None, None


summed.defvjp(_forward, _backward)


def gathered(
    layout: Layout, image: Float[Array, "h w 3"], network: Network
) -> dict[str, Float[Array, "_ _ c"]]:
    """The features of a whole picture, computed tile by tile."""
    height, width, _ = image.shape
    window = jax.ShapeDtypeStruct((layout.rows.length, layout.columns.length, 3), image.dtype)
    shapes = jax.eval_shape(lambda x: network(x, layout.layers), window)
    zeros = {
        layer: jnp.zeros((height // stride, width // stride, s.shape[-1]), s.dtype)
        for layer, stride in layout.strides
        for s in (shapes[layer],)
    }

    def put(whole, place):
        found = network(_window(layout, image, place), layout.layers)
        return {
            layer: _put(
                whole[layer],
                jnp.where(
                    _own(layout, place, stride)[..., None] > 0,
                    found[layer],
                    _window(layout, whole[layer], place, stride),
                ),
                place,
                stride,
            )
            for layer, stride in layout.strides
        }, None

    return lax.scan(put, zeros, layout.table())[0]


def _of_tile(layout, measure, image, network, maps, place):
    window = _window(layout, image, place)
    return _of_window(layout, measure, window, network=network, maps=maps, place=place)


def _of_window(layout, measure, window, *, network, maps, place):
    here = {
        layer: (_maps_at(layout, maps[layer], place, stride), _own(layout, place, stride))
        for layer, stride in layout.strides
    }
    return network(window, layout.layers, Partial(partial(_tap, measure), here))


def _tap(
    measure: Measure,
    here: dict[str, Any],
    layer: str,
    features: Array,
    head: Array | None = None,
) -> tuple[Array, Any]:
    def own(features: Array, given: tuple[Array | None, Any, Array]) -> Any:
        return measure(layer, features, *given)

    return beside(own, _ROWS, features, (head, *here[layer]))


def _maps_at(layout: Layout, maps: Any, place: Array, stride: int) -> Any:
    return jax.tree.map(lambda array: _window(layout, array, place, stride), maps)


def _window(layout: Layout, array: AnyArray, place: Array, stride: int = 1) -> Array:
    """The part of an array over positions, (h, w, ...), that a window shows."""
    sizes = layout.rows.length // stride, layout.columns.length // stride
    starts: list[Any] = [0] * array.ndim
    shape = [*array.shape]
    for i, size in enumerate(sizes):
        starts[i], shape[i] = place[i, 0] // stride, size
    return lax.dynamic_slice(array, starts, shape)


def _put(array: Array, window: Array, place: Array, stride: int = 1) -> Array:
    starts = place[0, 0] // stride, place[1, 0] // stride, 0
    return lax.dynamic_update_slice(array, window, starts)


def _own(layout: Layout, place: Array, stride: int) -> Float[Array, "h w"]:
    """1 where a window's positions are its tile's, 0 elsewhere."""

    def along(length: int, limits: Array) -> Array:
        pixels = limits[0] + stride * jnp.arange(length // stride)
        return ((pixels >= limits[1]) & (pixels < limits[2])).astype(jnp.float32)

    rows, columns = along(layout.rows.length, place[0]), along(layout.columns.length, place[1])
    return rows[:, None] * columns[None]

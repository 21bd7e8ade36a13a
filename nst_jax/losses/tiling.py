"""Compute losses tile by tile, for pictures whose activations do not fit into memory.

At each layer the losses need only sums over positions: squared differences from the content, Gram
matrices, moments. A first pass over the tiles adds up these sums, without a gradient. From the sums
follow the losses of the whole picture, and their cotangents, which are the same for every tile. A
second pass pulls the cotangents back through one tile after the other. Only one tile's activations
are in memory at a time. The loss and its gradient are the same as without tiles.

Each tile is computed in a window: the tile plus a margin that covers the receptive field of the
deepest layer. All windows have the same shape and share a program. They begin at multiples of the
coarsest stride, so that pooling uses the same blocks as in the whole picture; the last one ends at
the picture's edge. At this edge a window has the network's own border. Its other edges are a margin
away from the tile and do not affect it. Each position of each layer belongs to exactly one tile.
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

# measure(layer, features, head, maps, own) returns a pytree of sums over the tile's own positions.
# `features` are those of the window; if there is a linear `head`, it is not applied yet. `maps` is
# the window's part of the layer's maps, a pytree of arrays over positions, (h, w, ...). `own` is 1
# at the tile's own positions, 0 elsewhere.
Measure = Callable[[str, Array, Array | None, Any, Float[Array, "h w"]], Any]


# For `beside`, the axis of rows of the head (which has none), the maps, and the own positions.
_ROWS: Any = (-1, 0, 0)


@dataclass(frozen=True)
class Axis:
    """The windows along the height or the width, in pixels.

    Attributes:
        length: the length of each window.
        starts: where each window begins.
        ends: where the tile of each window ends; the next tile begins there.
    """

    length: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How a picture is cut into tiles; hashable.

    Attributes:
        rows: the windows along the height.
        columns: the windows along the width.
        strides: each layer with its stride, the pixels per position.
    """

    rows: Axis
    columns: Axis
    strides: tuple[tuple[str, int], ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are measured."""
        return tuple(layer for layer, _ in self.strides)

    def table(self) -> Int[np.ndarray, "n 2 3"]:
        """The start of the window, and the begin and end of the tile, for rows and columns."""
        along = [
            list(zip(axis.starts, (0, *axis.ends), axis.ends, strict=False))
            for axis in (self.rows, self.columns)
        ]
        return np.array([(row, column) for row in along[0] for column in along[1]], np.int32)


def layout(
    tile: int, network: Network, layers: tuple[str, ...], height: int, width: int
) -> Layout | None:
    """Cut a picture into tiles of about `tile` pixels a side, or fewer.

    The sides are multiples of the coarsest stride, and at least this stride.

    Returns:
        The layout; None if one tile is enough, or if `tile` is 0.
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
    count = -(-(size - 2 * margin) // tile)  # the outer tiles need one margin less, so are larger
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
    """Sum `measure` over all tiles, for each layer; differentiable with respect to `image`.

    Args:
        layout: the tiles; static.
        measure: called for every layer in every window; static.
        image: RGB in [0, 1].
        network: the feature extractor.
        maps: for each layer, the arrays over its positions.
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
    """Compute the features of a whole picture tile by tile."""
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
    """The part of an array over positions, (h, w, ...), that lies in a window."""
    sizes = layout.rows.length // stride, layout.columns.length // stride
    starts: list[Any] = [jnp.zeros((), place.dtype)] * array.ndim
    shape = [*array.shape]
    for i, size in enumerate(sizes):
        starts[i], shape[i] = place[i, 0] // stride, size
    return lax.dynamic_slice(array, starts, shape)


def _put(array: Array, window: Array, place: Array, stride: int = 1) -> Array:
    starts = place[0, 0] // stride, place[1, 0] // stride, jnp.zeros((), place.dtype)
    return lax.dynamic_update_slice(array, window, starts)


def _own(layout: Layout, place: Array, stride: int) -> Float[Array, "h w"]:
    """1 at the positions of a window that belong to its tile, 0 elsewhere."""

    def along(length: int, limits: Array) -> Array:
        pixels = limits[0] + stride * jnp.arange(length // stride)
        return ((pixels >= limits[1]) & (pixels < limits[2])).astype(jnp.float32)

    rows, columns = along(layout.rows.length, place[0]), along(layout.columns.length, place[1])
    return rows[:, None] * columns[None]

"""Features of all layers at random pixels: what STROTSS (Kolkin et al. 2019) compares."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.typing import AnyArray


def strides_of(network: Network, layers: tuple[str, ...]) -> dict[str, Int[Array, ""]]:
    """The strides of layers, as data."""
    return {layer: jnp.asarray(network.strides[layer], jnp.int32) for layer in layers}


def unit_of(features: Sequence[Float[AnyArray, "..."]]) -> Float[Array, ""]:
    """The root of the mean square of features, by layer; of all positions and channels together.

    Divided by it, features are as large as colours. The shares of means, covariances and colours in
    the loss depend on how large features are, and they differ from network to network: those of
    Caffe's VGG19 are ten times as large as the authors', if each pixel has unit deviation.
    """
    parts = [jnp.square(jnp.asarray(f, jnp.float32)) for f in features]
    squares = sum((p.sum(-1).mean() for p in parts), jnp.zeros((), jnp.float32))
    return jnp.sqrt(jnp.maximum(squares / sum(p.shape[-1] for p in parts), 1e-12))


def drawn_points(key: Array, weights: Float[AnyArray, "h w"], count: int) -> Int[Array, "count 2"]:
    """Draw pixels (row, column) at random, in proportion to weights."""
    width = weights.shape[1]
    heights = jnp.cumsum(jnp.asarray(weights).reshape(-1))
    chosen = jax.random.uniform(key, (count,), jnp.float32) * heights[-1]
    places = jnp.searchsorted(heights, chosen, side="right")
    places = jnp.minimum(places, heights.shape[0] - 1).astype(jnp.int32)
    return jnp.stack(jnp.divmod(places, width), -1)


def at_points(
    features: Float[AnyArray, "h w i"],
    points: Int[AnyArray, "n 2"],
    stride: int | Int[Array, ""],
    head: Float[AnyArray, "i c"] | None = None,
) -> Float[Array, "n c"]:
    """Features at pixels, bilinear between positions that are `stride` pixels apart; float32."""
    features = jnp.asarray(features)
    limits = jnp.asarray(features.shape[:2], jnp.int32) - 1
    places = jnp.asarray(points) / stride
    below = jnp.minimum(jnp.floor(places).astype(jnp.int32), limits[None])
    above = jnp.minimum(below + 1, limits[None])
    share = (places - jnp.floor(places))[..., None]
    found = jnp.zeros((points.shape[0], features.shape[-1]), jnp.float32)
    for rows, down in ((below[:, 0], 1 - share[:, 0]), (above[:, 0], share[:, 0])):
        for columns, right in ((below[:, 1], 1 - share[:, 1]), (above[:, 1], share[:, 1])):
            found += down * right * features[rows, columns]
    return found if head is None else projected(found[None], head)[0].astype(jnp.float32)

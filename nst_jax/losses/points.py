"""Features of all layers at random pixels: what STROTSS (Kolkin et al. 2019) compares."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.networks.lite import Lite
from nst_jax.typing import AnyArray

_DEVIATION = 0.226  # of ImageNet's pictures, in [0, 1]


def strides_of(network: Network, layers: tuple[str, ...]) -> dict[str, Int[Array, ""]]:
    """The strides of layers, as data."""
    return {layer: jnp.asarray(network.strides[layer], jnp.int32) for layer in layers}


def unit_of(network: Network) -> float:
    """How many times larger features are than for input of unit deviation, as the authors' is.

    Covariances, and the share of RGB beside features, depend on it: about 58 for Caffe's networks.
    """
    if isinstance(network, Lite):
        return 255 * _DEVIATION  # its heads give the features of Caffe's VGG19
    how = getattr(network, "preprocessing", None)
    return 1.0 if how is None else float(_DEVIATION * np.mean(how.scale / np.asarray(how.std)))


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

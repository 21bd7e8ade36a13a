"""The content loss: how far the picture's features are from the content picture's."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses import tiling
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.options import Normalization, weighted
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Content(Term):
    """Squared distance of the features at some layers (Gatys et al. 2016, eq. 1).

    Its target is the content picture's features by layer, (h, w, c).
    """

    layers: tuple[str, ...] = ("relu4_2",)
    normalization: Normalization = "gatys"
    name: ClassVar[str] = "content"
    additive: ClassVar[bool] = True
    follows: ClassVar[tuple[str, ...]] = ("content",)

    @classmethod
    def of(cls, options: Any) -> "Term | None":
        """Of the layers that weigh something."""
        layers = weighted(options.content_layers)
        return cls(layers, options.normalization) if layers else None

    def target(self, scene: Scene) -> dict[str, Array]:
        """Features of the content picture."""
        return content_features(scene.network, scene.content, self.layers, scene.tile)

    def given(self, layer: str, target: Any) -> Array:
        """The features of the layer."""
        return target[layer]

    def measure(
        self, layer: str, features: Array, head: Array | None, given: Array
    ) -> tuple[Array, Array]:
        """The sum of squared differences."""
        del layer
        return features, squared_error(projected(features, head), given)

    def over(self, layer: str, target: Any) -> Array:
        """The features of the layer."""
        return target[layer]

    def part(
        self, layer: str, features: Array, head: Array | None, over: Array, own: Array
    ) -> Array:
        """The tile's squared differences."""
        del layer
        return squared_error(projected(features, head), over, own)

    def loss(self, seen: Seen, target: Any) -> dict[str, Array]:
        """For each layer."""
        del target
        return {
            layer: scaled_error(
                seen.found[layer],
                positions(seen.network, layer, seen.picture),
                seen.network.widths[layer],
                self.normalization,
            )
            for layer in self.layers
        }


@partial(jax.jit, static_argnames=("layers", "tile"))
def content_features(
    network: Network, content: Float[AnyArray, "h w 3"], layers: tuple[str, ...], tile: int = 0
) -> dict[str, Array]:
    """Features of a picture, (h, w, 3) in [0, 1]; computed in tiles if that is said."""
    height, width, _ = content.shape
    layout = tiling.layout(tile, network, layers, height, width)
    if layout is not None:
        return tiling.gathered(layout, jnp.asarray(content), network)
    return network(content, layers)


def positions(network: Network, layer: str, picture: AnyArray) -> int:
    """How many positions a layer has."""
    stride = network.strides[layer]
    return (picture.shape[0] // stride) * (picture.shape[1] // stride)


def content_loss(
    features: Float[AnyArray, "h w c"],
    target: Float[AnyArray, "h w c"],
    normalization: Normalization = "gatys",
    *,
    width: int | None = None,
) -> Float[Array, ""]:
    """Distance of two pictures' features at one layer (Gatys et al. 2016, eq. 1).

    Args:
        features: of the picture, (h, w, c).
        target: of the content picture, the same shape.
        normalization: `"gatys"`, `"paper"` or `"neural-style"`; see `nst_jax.losses`.
        width: N in the formulas; c if not given. A network that projects its feature maps gives
            the unprojected number.

    Returns:
        A float32 scalar.
    """
    h, w, c = features.shape
    return scaled_error(squared_error(features, target), h * w, width or c, normalization)


def squared_error(
    features: Float[AnyArray, "h w c"],
    target: Float[AnyArray, "h w c"],
    weights: Float[AnyArray, "h w"] | None = None,
) -> Float[Array, ""]:
    """The sum of squared differences, in float32; by weights of the positions."""
    squares = jnp.square(features.astype(jnp.float32) - target.astype(jnp.float32))
    return (squares if weights is None else squares * weights[..., None]).sum()


def scaled_error(
    total: Float[Array, ""], positions: int, width: int, normalization: Normalization
) -> Float[Array, ""]:
    """The content loss of a picture whose squared differences sum to `total`."""
    return total / 2 if normalization == "paper" else total / (positions * width)

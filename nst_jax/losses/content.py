"""The content loss: the distance of the picture's features from those of the content picture."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses import tiling
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.options import Normalization, weighted
from nst_jax.programs import jit
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Content(Term):
    """The squared distance of features at some layers (Gatys et al. 2016, eq. 1).

    The target is a dict from each layer to the features of the content picture, (h, w, c).
    """

    layers: tuple[str, ...] = ("relu4_2",)
    normalization: Normalization = "gatys"
    name: ClassVar[str] = "content"
    additive: ClassVar[bool] = True
    follows: ClassVar[tuple[str, ...]] = ("content",)

    @classmethod
    def of(cls, options: Any) -> "Term | None":
        """The term for the layers whose weight is not zero; None if there are none."""
        layers = weighted(options.content_layers)
        return cls(layers, options.normalization) if layers else None

    def target(self, scene: Scene) -> dict[str, Array]:
        """The features of the content picture, by layer."""
        return content_features(scene.network, scene.content, self.layers, scene.tile)

    def given(self, layer: str, target: Any) -> Array:
        """The features of the content picture at one layer."""
        return target[layer]

    def measure(
        self, layer: str, features: Array, head: Array | None, given: Array
    ) -> tuple[Array, Array]:
        """Sum the squared differences from the content picture's features."""
        del layer
        return features, squared_error(projected(features, head), given)

    def over(self, layer: str, target: Any) -> Array:
        """The features of the content picture at one layer."""
        return target[layer]

    def part(
        self, layer: str, features: Array, head: Array | None, over: Array, own: Array
    ) -> Array:
        """Sum the squared differences within one tile."""
        del layer
        return squared_error(projected(features, head), over, own)

    def loss(self, seen: Seen, target: Any) -> dict[str, Array]:
        """The content loss of each layer."""
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


@jit(static=["layers", "tile"])
def content_features(
    network: Network, content: Float[AnyArray, "h w 3"], layers: tuple[str, ...], tile: int = 0
) -> dict[str, Array]:
    """Compute the features of a picture by layer, in tiles if `tile` is not 0.

    The picture is (h, w, 3), in [0, 1].
    """
    height, width, _ = content.shape
    layout = tiling.layout(tile, network, layers, height, width)
    if layout is not None:
        return tiling.gathered(layout, jnp.asarray(content), network)
    return network(content, layers)


def positions(network: Network, layer: str, picture: AnyArray) -> int:
    """The number of positions at a layer."""
    stride = network.strides[layer]
    return (picture.shape[0] // stride) * (picture.shape[1] // stride)


def content_loss(
    features: Float[AnyArray, "h w c"],
    target: Float[AnyArray, "h w c"],
    normalization: Normalization = "gatys",
    *,
    width: int | None = None,
) -> Float[Array, ""]:
    """The content loss of one layer (Gatys et al. 2016, eq. 1).

    Args:
        features: features of the picture, (h, w, c).
        target: features of the content picture, with the same shape.
        normalization: `"gatys"`, `"paper"` or `"neural-style"`; see `nst_jax.losses`.
        width: N in the formulas; None means c. For a network that projects its feature maps, N is
            their number before the projection.

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
    """The sum of squared differences in float32, weighted by position if weights are given."""
    squares = jnp.square(features.astype(jnp.float32) - target.astype(jnp.float32))
    return (squares if weights is None else squares * weights[..., None]).sum()


def scaled_error(
    total: Float[Array, ""], positions: int, width: int, normalization: Normalization
) -> Float[Array, ""]:
    """Scale the sum of squared differences to the content loss."""
    return total / 2 if normalization == "paper" else total / (positions * width)

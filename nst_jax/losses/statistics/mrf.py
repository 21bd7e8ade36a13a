"""Patches of feature maps, each compared with its nearest in the style: a Markov random field."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from nst_jax.errors import InputError
from nst_jax.losses.statistics.base import Statistic
from nst_jax.options import Normalization
from nst_jax.patches.fields import nearest_corners
from nst_jax.typing import AnyArray

SIDE = 3  # of the patches, in positions


class Field(NamedTuple):
    """Feature maps with the weights of their positions.

    Attributes:
        features: F, in float32.
        weights: the weights of the positions, which sum to 1.
    """

    features: Float[Array, "h w c"]
    weights: Float[Array, "h w"]


@dataclass(frozen=True)
class MarkovField(Statistic):
    """All patches of features, compared by `mrf_loss` (Li & Wand 2016, CNNMRF).

    Attributes:
        stride: distance of neighbouring patches of the style, in positions; the authors' is 2.
    """

    stride: int = 2
    name: ClassVar[str] = "mrf"
    mixes: ClassVar[bool] = False

    @property
    def copies(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The patches of the style, as they are and as unit vectors."""
        return 18 / self.stride

    def of(self, features: Any, weights: Any, directions: Any) -> Field:
        """The features themselves, from which `loss` cuts patches.

        Raises:
            InputError: there is no patch of 3 x 3 positions.
        """
        del directions
        height, width, _ = features.shape
        if min(height, width) < SIDE:
            raise InputError(
                f"The picture has {width} x {height} positions at a layer, fewer than a patch of "
                f"{SIDE} x {SIDE}: give a larger picture, or take shallower style_layers."
            )
        if weights is None:
            weights = jnp.full((height, width), 1 / (height * width), jnp.float32)
        return Field(jnp.asarray(features, jnp.float32), weights)

    def loss(
        self, found: Any, target: Any, normalization: Normalization, width: int
    ) -> Float[Array, ""]:
        """See `mrf_loss`; with `"neural-style"`, half the sum over positions and feature maps.

        The gradient of that is the one of the authors' code, at their weights.
        """
        loss = mrf_loss(found, target, width=width, stride=self.stride)
        if normalization == "neural-style":
            height, across, _ = found.features.shape
            return loss * (width * (height - SIDE + 1) * (across - SIDE + 1) / 2)
        return loss


def mrf_loss(
    found: Field, target: Field, *, width: int | None = None, stride: int = 1
) -> Float[Array, ""]:
    """The mean squared distance of patches from those of the style that are nearest by cosine.

    The sum over a patch's entries is divided by 9 N. Where the patches overlap at a position, the
    gradient pulls it to the mean of what they ask for, as in the authors' code.

    Args:
        found: the picture's features. Their weights say how much a patch counts, by its middle.
        target: the style's features. Patches whose middle has the weight zero are not chosen.
        width: N, the number of feature maps; None means c.
        stride: distance of neighbouring patches of the style.
    """
    features, channels = found.features, found.features.shape[-1]
    weights = lax.stop_gradient(middles(found.weights))
    weights = weights / jnp.maximum(weights.sum(), 1e-12)
    chosen = nearest_patches(found, target, stride)
    total = jnp.zeros((), jnp.float32)
    rows, columns = weights.shape
    for y, x in np.ndindex(SIDE, SIDE):
        own = features[y : y + rows, x : x + columns]
        other = target.features[chosen[..., 0] + y, chosen[..., 1] + x]
        total += (weights[..., None] * jnp.square(own - lax.stop_gradient(other))).sum()
    return total / (SIDE**2 * (width or channels))


def nearest_patches(found: Field, target: Field, stride: int = 1) -> Int[Array, "rows columns 2"]:
    """The corner, (row, column), of the nearest patch of the style, for each patch of a picture."""
    ours, theirs = (lax.stop_gradient(f.features) for f in (found, target))
    allowed = middles(target.weights)[::stride, ::stride] > 0
    return nearest_corners(ours, theirs, SIDE, metric="cosine", stride=stride, allowed=allowed)


def middles(weights: Float[AnyArray, "h w"]) -> Float[AnyArray, "h2 w2"]:
    """The weights at the middles of all patches."""
    edge = SIDE // 2
    return weights[edge:-edge, edge:-edge]

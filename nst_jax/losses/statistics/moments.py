"""The mean and standard deviation of each feature map (Li et al. 2017; AdaIN)."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses.statistics.base import Statistic
from nst_jax.options import Normalization
from nst_jax.typing import AnyArray

_ROUNDING, _TINY = 1e-6, 1e-6


@dataclass(frozen=True)
class MeanDeviation(Statistic):
    """The statistic `moments`, compared by `moments_loss`."""

    name: ClassVar[str] = "moments"
    additive: ClassVar[bool] = True

    def of(self, features: Any, weights: Any, directions: Any) -> "Moments":
        """See `moments`."""
        del directions
        return moments(features, weights)

    def loss(
        self, found: Any, target: Any, normalization: Normalization, width: int
    ) -> Float[Array, ""]:
        """See `moments_loss`."""
        del normalization
        return moments_loss(found, target, width=width)


class Moments(NamedTuple):
    """The first and second moments of feature maps.

    They are not centred. So they are means over positions, and the average of two pictures' moments
    is that of both pictures side by side.

    Attributes:
        mean: the mean of each feature map, (c,).
        second: the mean squares (c,), or the mean products of all pairs of maps (c, c).
    """

    mean: Float[Array, "*r c"]
    second: Float[Array, "*r _"] | Float[Array, "*r _ _"]


def moments(
    features: Float[AnyArray, "h w c"], weights: Float[AnyArray, "h w"] | None = None
) -> Moments:
    """The mean and mean square of each feature map, in float32; for `weights` see `gram`."""
    flat = jnp.asarray(features, jnp.float32).reshape(-1, features.shape[-1])
    if weights is None:
        return Moments(flat.mean(0), jnp.square(flat).mean(0))
    shares = weights.reshape(-1, 1)
    return Moments((flat * shares).sum(0), (jnp.square(flat) * shares).sum(0))


def moments_loss(found: Moments, target: Moments, *, width: int | None = None) -> Float[Array, ""]:
    """The distance of the means and standard deviations of feature maps at one layer.

    It is 1/N sum ((mu - nu)^2 + (sigma - tau)^2), the loss of batch statistics in Li et al. 2017,
    "Demystifying Neural Style Transfer". AdaIN's style loss uses norms in place of the squares.
    """
    means = jnp.square(found.mean - target.mean)
    deviations = jnp.square(_deviation(found) - _deviation(target))
    return (means + deviations).sum() / (width or found.mean.size)


def _deviation(found: Moments) -> Array:
    """The standard deviation, with a floor of the size of the rounding error.

    It is never zero, so the root stays differentiable.
    """
    variance = jnp.maximum(found.second - jnp.square(found.mean), 0)
    return jnp.sqrt(variance + _ROUNDING * found.second + _TINY)

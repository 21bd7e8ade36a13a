"""Quantiles of each feature map (`histogram`), or along random directions (`sliced`)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.linalg import einsum
from nst_jax.losses.statistics.base import Statistic
from nst_jax.options import Normalization
from nst_jax.typing import AnyArray

_PARTS = 256


@dataclass(frozen=True)
class Histogram(Statistic):
    """The `quantiles` of each feature map, compared by `quantile_loss` (Risser et al. 2017)."""

    name: ClassVar[str] = "histogram"

    def of(self, features: Any, weights: Any, directions: Any) -> Float[Array, "d q"]:
        """See `quantiles`."""
        return quantiles(features, weights, directions)

    def loss(
        self, found: Any, target: Any, normalization: Normalization, width: int
    ) -> Float[Array, ""]:
        """See `quantile_loss`."""
        del normalization
        return quantile_loss(found, target, width=width)


@dataclass(frozen=True)
class Sliced(Histogram):
    """The `quantiles` along random directions, compared by `quantile_loss` (Heitz et al. 2021)."""

    name: ClassVar[str] = "sliced"
    projects: ClassVar[bool] = True

    def directions(self, channels: int, key: Array) -> Float[Array, "c c"]:
        """Random orthogonal directions, as many as there are channels."""
        return jax.random.orthogonal(key, channels, dtype=jnp.float32)


def quantiles(
    features: Float[AnyArray, "h w c"],
    weights: Float[AnyArray, "h w"] | None = None,
    directions: Float[AnyArray, "c d"] | None = None,
) -> Float[Array, "d q"]:
    """The quantile functions of features along directions, as the means of 256 equal parts.

    The values along a direction are sorted and divided into parts of equal weight. The means of the
    parts are exact for any number of positions, so pictures of different sizes are comparable. 256
    is the number of bins in Risser et al. 2017.

    Args:
        features: F, with c values for each position.
        weights: the weights of the positions, as for `gram`.
        directions: d unit vectors; None takes each feature map by itself.

    Returns:
        A float32 matrix with 256 means for each direction.
    """
    flat = jnp.asarray(features, jnp.float32).reshape(-1, features.shape[-1])
    values = flat.T if directions is None else einsum("pi,id->dp", flat, directions)
    positions = values.shape[1]
    if weights is None:
        values = jnp.sort(values)
        shares = jnp.full((1, positions), 1 / positions, jnp.float32)
    else:
        order = jnp.argsort(values)
        values = jnp.take_along_axis(values, order, axis=1)
        shares = lax.stop_gradient(weights).reshape(-1)[order]
    # Subtract the mean, so that the running sums stay small and lose no digits.
    mean = lax.stop_gradient((values * shares).sum(1, keepdims=True))
    mass, sums = (
        jnp.pad(jnp.cumsum(a, axis=1), ((0, 0), (1, 0))) for a in (shares, (values - mean) * shares)
    )
    ends = jnp.linspace(0, 1, _PARTS + 1, dtype=jnp.float32)
    at_ends = jax.vmap(lambda m, s: jnp.interp(ends, m, s), (None if weights is None else 0, 0))
    return mean + jnp.diff(at_ends(mass[0] if weights is None else mass, sums)) * _PARTS


def quantile_loss(
    found: Float[AnyArray, "d q"], target: Float[AnyArray, "d q"], *, width: int | None = None
) -> Float[Array, ""]:
    """The squared Wasserstein-2 distances along d directions, summed and divided by N.

    On a line, optimal transport pairs equal quantiles. With the feature maps as directions, this is
    the histogram loss of Risser et al. 2017. With random directions it is the sliced distance of
    Heitz et al. 2021; here these are orthogonal, and as many as there are maps.
    """
    return jnp.square(found - target).mean(1).sum() / (width or found.shape[0])

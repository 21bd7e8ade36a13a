"""The mean and covariance of feature maps, compared by the Wasserstein-2 distance of Gaussians."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.linalg import dot, trace_of_root
from nst_jax.losses.statistics.base import Statistic
from nst_jax.losses.statistics.gram import gram
from nst_jax.losses.statistics.moments import Moments
from nst_jax.options import Normalization
from nst_jax.typing import AnyArray

_FLOOR, _ROUNDING, _TINY = 1e-3, 1e-6, 1e-6


@dataclass(frozen=True)
class Wasserstein(Statistic):
    """The statistic `products`, compared by `wasserstein_loss`."""

    name: ClassVar[str] = "wasserstein"
    additive: ClassVar[bool] = True

    def of(self, features: Any, weights: Any, directions: Any) -> Moments:
        """See `products`."""
        del directions
        return products(features, weights)

    def loss(
        self, found: Any, target: Any, normalization: Normalization, width: int
    ) -> Float[Array, ""]:
        """See `wasserstein_loss`."""
        del normalization
        return wasserstein_loss(found, target, width=width)


def products(
    features: Float[AnyArray, "h w c"], weights: Float[AnyArray, "h w"] | None = None
) -> Moments:
    """The mean of each feature map, and the Gram matrix (the mean products), in float32."""
    flat = jnp.asarray(features, jnp.float32)
    mean = flat.mean((0, 1)) if weights is None else jnp.einsum("hwi,hw->i", flat, weights)
    return Moments(mean, gram(features, weights))


def wasserstein_loss(
    found: Moments, target: Moments, *, width: int | None = None
) -> Float[Array, ""]:
    """The squared Wasserstein-2 distance of two Gaussians at one layer, divided by N.

    The distance is |mu - nu|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), with the covariances A and B.
    With the Cholesky factor A = L L^T, the last root has the same trace as the root of L^T B L, so
    no root of A is needed.
    """
    a, b = _covariance(target), _covariance(found)
    factor = jnp.linalg.cholesky(a)
    cross = trace_of_root(dot(factor.T, dot(b, factor)))
    total = jnp.square(found.mean - target.mean).sum() + jnp.trace(a) + jnp.trace(b) - 2 * cross
    return total / (width or found.mean.size)


def _covariance(found: Moments) -> Array:
    """The covariance, with a floor added to its eigenvalues.

    The floor is larger than all rounding errors, here and in later products.
    """
    size = found.mean.size
    covariance = found.second - jnp.outer(found.mean, found.mean)
    floor = _FLOOR * jnp.sqrt(jnp.square(covariance).sum() + _TINY)
    floor += _ROUNDING * jnp.trace(found.second) + _TINY
    return covariance + floor * jnp.eye(size)

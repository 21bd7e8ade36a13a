"""Gram matrices: the inner products of feature maps (Gatys et al. 2016)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.linalg import einsum
from nst_jax.losses.statistics.base import Statistic
from nst_jax.options import Normalization
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Gram(Statistic):
    """`gram` and `style_loss`."""

    name: ClassVar[str] = "gram"
    additive: ClassVar[bool] = True

    def of(self, features: Any, weights: Any, directions: Any) -> Float[Array, "c c"]:
        """See `gram`."""
        del directions
        return gram(features, weights)

    def of_product(
        self, activations: Any, head: Any, weights: Any, directions: Any
    ) -> Float[Array, "c c"]:
        """(F R)^T F R = R^T (F^T F) R, with the head's products no longer one a position."""
        del directions
        return einsum("ia,ib->ab", head, einsum("ij,jb->ib", gram(activations, weights), head))

    def loss(
        self, found: Any, target: Any, normalization: Normalization, width: int
    ) -> Float[Array, ""]:
        """See `style_loss`."""
        return style_loss(found, target, normalization, width=width)


@jax.custom_vjp
def gram(
    features: Float[AnyArray, "h w c"], weights: Float[AnyArray, "h w"] | None = None
) -> Float[Array, "c c"]:
    """Gram matrix over positions, `F^T F / (h w)`, float32 whatever the features' dtype.

    The inner products of feature maps of Gatys et al. 2016, eq. 3, divided by the number of
    positions, so that pictures of different sizes compare. The losses' normalisations start here.

    Args:
        features: F, one row of c values for each position.
        weights: of the positions, summing to 1; equal if not given. Not differentiated.
    """
    flat = features.reshape(-1, features.shape[-1])
    if weights is None:
        return einsum("pi,pj->ij", flat, flat) / flat.shape[0]
    return einsum("pi,pj->ij", flat, flat * weights.reshape(-1, 1))


def _gram_forward(features, weights):
    return gram(features, weights), (features, weights)


def _gram_backward(kept, g):
    # One product with the symmetrised cotangent, where automatic differentiation makes two.
    features, weights = kept
    h, w, _ = features.shape
    if weights is None:
        symmetric = ((g + g.T) / (h * w)).astype(features.dtype)
        return einsum("hwi,ij->hwj", features, symmetric).astype(features.dtype), None
    gradient = einsum("hwi,ij->hwj", features, (g + g.T).astype(features.dtype))
    return (gradient * weights[..., None]).astype(features.dtype), jnp.zeros_like(weights)


gram.defvjp(_gram_forward, _gram_backward)


def style_loss(
    gram: Float[AnyArray, "c c"],
    target: Float[AnyArray, "c c"],
    normalization: Normalization = "gatys",
    *,
    width: int | None = None,
) -> Float[Array, ""]:
    """Distance of two Gram matrices at one layer (Gatys et al. 2016, eq. 4).

    Args:
        gram: of the picture, over positions (`gram`), (c, c).
        target: of the style picture, the same shape.
        normalization: `"gatys"`, `"paper"` or `"neural-style"`; see `nst_jax.losses`.
        width: N in the formulas; c if not given.

    Returns:
        A float32 scalar. For pictures of unequal size, `paper` takes M from the picture.
    """
    n = width or gram.shape[-1]
    total = jnp.square(gram - target).sum()
    match normalization:
        case "gatys":
            return total / n**2 / n**2
        case "neural-style":
            return jnp.square((gram - target) / n).sum() / n**2
        case "paper":
            return total / (4 * n**2)

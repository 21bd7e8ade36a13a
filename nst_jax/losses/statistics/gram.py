"""Gram matrices: the inner products of feature maps (Gatys et al. 2016)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.linalg import einsum
from nst_jax.losses.statistics.base import Statistic
from nst_jax.options import Normalization
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Gram(Statistic):
    """The statistic `gram`, compared by `style_loss`."""

    name: ClassVar[str] = "gram"
    additive: ClassVar[bool] = True

    def of(self, features: Any, weights: Any, directions: Any) -> Float[Array, "c c"]:
        """See `gram`."""
        del directions
        return gram(features, weights)

    def of_product(
        self, activations: Any, head: Any, weights: Any, directions: Any
    ) -> Float[Array, "c c"]:
        """Use (F R)^T F R = R^T (F^T F) R, so that the head R is not applied at every position."""
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
    """The Gram matrix of features divided by the number of positions, `F^T F / (h w)`.

    These are the inner products of feature maps (Gatys et al. 2016, eq. 3). The division makes
    pictures of different sizes comparable. All normalisations of the loss start from this matrix.

    Args:
        features: F, with c values for each position.
        weights: the weights of the positions, which sum to 1; None for equal weights. They are not
            differentiated.

    Returns:
        A float32 matrix (c, c), whatever the dtype of the features.

    Raises:
        InputError: the features have no three axes.
    """
    if features.ndim != 3:
        raise InputError(
            f"The features have the shape {tuple(features.shape)}; expected (height, width, "
            "channels) of one picture: use jax.vmap(gram) for several."
        )
    flat = features.reshape(-1, features.shape[-1])
    if weights is None:
        return einsum("pi,pj->ij", flat, flat) / flat.shape[0]
    return einsum("pi,pj->ij", flat, flat * weights.reshape(-1, 1))


def _gram_forward(features, weights):
    return gram(features, weights), (features, weights)


def _gram_backward(kept, g):
    # One product with the symmetrised cotangent; automatic differentiation would need two.
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
    """The style loss of one layer: the distance of two Gram matrices (Gatys et al. 2016, eq. 4).

    Args:
        gram: the Gram matrix of the picture, from `gram`, (c, c).
        target: the Gram matrix of the style picture, with the same shape.
        normalization: `"gatys"`, `"paper"` or `"neural-style"`; see `nst_jax.losses`.
        width: N in the formulas; None means c.

    Returns:
        A float32 scalar. M cancels out of the formula of `paper`, so the two pictures may have
        different sizes.
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

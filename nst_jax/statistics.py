"""Statistics of feature maps: arrays in, arrays out."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.typing import AnyArray


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
        return _product("pi,pj->ij", flat, flat) / flat.shape[0]
    return _product("pi,pj->ij", flat, flat * weights.reshape(-1, 1))


def _gram_forward(features, weights):
    return gram(features, weights), (features, weights)


def _gram_backward(kept, g):
    # One product with the symmetrised cotangent, where automatic differentiation makes two.
    features, weights = kept
    h, w, _ = features.shape
    if weights is None:
        symmetric = ((g + g.T) / (h * w)).astype(features.dtype)
        return _product("hwi,ij->hwj", features, symmetric).astype(features.dtype), None
    gradient = _product("hwi,ij->hwj", features, (g + g.T).astype(features.dtype))
    return (gradient * weights[..., None]).astype(features.dtype), jnp.zeros_like(weights)


gram.defvjp(_gram_forward, _gram_backward)


def in_regions(
    features: Float[Array, "h w c"], guides: Float[AnyArray, "r h w"] | None
) -> Float[Array, "*r c c"]:
    """Gram matrices of all positions, (c, c), or of guided regions, (r, c, c).

    Args:
        features: F.
        guides: by how much each position counts in each region (`regions.at_layers`).
    """
    if guides is None:
        return gram(features)
    return jnp.stack([gram(features, guide / guide.sum()) for guide in guides])


def _product(indices: str, a: AnyArray, b: AnyArray) -> Array:
    return jnp.einsum(
        indices, a, b, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )

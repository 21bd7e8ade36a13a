"""Statistics of feature maps: arrays in, arrays out."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.typing import AnyArray


@jax.custom_vjp
def gram(features: Float[AnyArray, "h w c"]) -> Float[Array, "c c"]:
    """Gram matrix over positions, `F^T F / (h w)`, float32 whatever the features' dtype.

    The inner products of feature maps of Gatys et al. 2016, eq. 3, divided by the number of
    positions, so that pictures of different sizes compare. The losses' normalisations start here.
    """
    flat = features.reshape(-1, features.shape[-1])
    return _product("pi,pj->ij", flat, flat) / flat.shape[0]


def _gram_forward(features):
    return gram(features), features


def _gram_backward(features, g):
    # One product with the symmetrised cotangent, where automatic differentiation makes two.
    h, w, _ = features.shape
    symmetric = ((g + g.T) / (h * w)).astype(features.dtype)
    return (_product("hwi,ij->hwj", features, symmetric).astype(features.dtype),)


gram.defvjp(_gram_forward, _gram_backward)


def _product(indices: str, a: AnyArray, b: AnyArray) -> Array:
    return jnp.einsum(
        indices, a, b, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )

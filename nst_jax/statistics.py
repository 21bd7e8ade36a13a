"""Statistics of feature maps: arrays in, arrays out."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def gram(features: Float[Array, "h w c"]) -> Float[Array, "c c"]:
    """Gram matrix over positions, `F^T F / (h w)`, float32 whatever the features' dtype.

    The inner products of feature maps of Gatys et al. 2016, eq. 3, divided by the number of
    positions, so that pictures of different sizes compare. The losses' normalisations start here.
    """
    flat = features.reshape(-1, features.shape[-1])
    product = jnp.einsum(
        "pi,pj->ij", flat, flat, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )
    return product / flat.shape[0]

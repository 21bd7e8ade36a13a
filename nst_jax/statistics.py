"""Statistics of feature maps: arrays in, arrays out."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.ordering import after
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


@jax.custom_vjp
def with_gram(
    features: Float[Array, "h w c"],
) -> tuple[Float[Array, "h w c"], Float[Array, "c c"]]:
    """The features and their Gram matrix, for features that are also used further on.

    The Gram matrix's part of the gradient waits for the other part, and makes what it needs of the
    features again. Otherwise XLA computes it in the forward pass already, and keeps it, or a copy
    of the features, for every layer: 125 of 579 MB with VGG19 at 512 px.
    """
    return features, gram(features)


def _with_gram_forward(features):
    return with_gram(features), features


def _with_gram_backward(features, cotangents):
    further, g = cotangents
    return (further + _gram_backward(after(features, further), g)[0],)


with_gram.defvjp(_with_gram_forward, _with_gram_backward)


def _product(indices: str, a: AnyArray, b: AnyArray) -> Array:
    return jnp.einsum(
        indices, a, b, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )

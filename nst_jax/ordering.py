"""Order of computation, where memory depends on it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array


def after(value: Array, other: Array) -> Array:
    """`value`, which XLA cannot compute before `other`.

    `jax.lax.optimization_barrier` says the same, but XLA's CPU backend drops it: then what is
    needed late is computed early and kept. Adds a zero that is not provably one (a float may be
    NaN, and then `value` is too).
    """
    first = jax.lax.stop_gradient(other[(0,) * other.ndim])
    return value + (0 * first).astype(jnp.result_type(value))

"""Loops over strips of rows: what would be one more large array is then never whole."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

_VALUES = 2**20  # of a strip: its arrays stay in the processor's cache
_LARGE = 2**23  # values: loops over less cost time, and save little memory


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is worth a loop; other backends than the CPU's fuse."""
    return math.prod(shape) >= _LARGE and jax.default_backend() == "cpu"


def over_strips(
    step: Callable[[Any, Array, Bool[Array, " rows"]], Any], carry: Any, height: int, width: int
) -> Any:
    """What `step(carry, top, fresh)` makes of `carry`, strip after strip.

    The strips are equally high, so the last may begin within the one before: `fresh` is false for
    rows that were in that one. XLA does not compute across the loop: what it fills is made once,
    and no second time where it is needed again.

    Args:
        step: gives back the carry, changed in place if it is an update of some rows.
        carry: arrays.
        height: rows.
        width: values of a row.
    """
    rows = min(height, max(1, _VALUES // width))

    def one(i: Array, carry: Any) -> Any:
        top = jnp.minimum(i * rows, height - rows)
        return step(carry, top, top + jnp.arange(rows) >= i * rows)

    return lax.fori_loop(0, -(-height // rows), one, carry)


def rows_of(array: Array, top: Array, rows: int, axis: int = 0) -> Array:
    """So many rows from `top`."""
    return lax.dynamic_slice_in_dim(array, top, rows, axis)


def with_rows(array: Array, rows: Array, top: Array) -> Array:
    """The array with these rows from `top`."""
    return lax.dynamic_update_slice_in_dim(array, rows, top, 0)


def added(array: Array, rows: Array, top: Array) -> Array:
    """The array with these added to its rows from `top`."""
    return with_rows(array, rows_of(array, top, rows.shape[0]) + rows, top)


def after(value: Array, other: Array) -> Array:
    """`value`, which XLA cannot compute before `other`.

    `jax.lax.optimization_barrier` says the same, but XLA's CPU backend drops it: then what is
    needed late is computed early and kept.
    """
    return value + zero_of(other).astype(jnp.result_type(value))


def zeros_after(shape: tuple[int, ...], dtype: Any, other: Array) -> Array:
    """Zeros, to be filled in a loop, that XLA cannot make (and keep) before `other`."""
    return jnp.broadcast_to(zero_of(other).astype(dtype), shape)


def zero_of(other: Array) -> Array:
    """A zero that is not provably one: a float may be NaN, and then this is too."""
    # Of the middle: a padded picture's corner is known.
    middle = tuple(n // 2 for n in other.shape)
    return 0 * jax.lax.stop_gradient(other[middle])

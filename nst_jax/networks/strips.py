"""Loops over strips of rows, so that large intermediate arrays are never complete in memory."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

_VALUES = 2**20  # values in a strip, so that its arrays stay in the processor's cache
_LARGE = 2**23  # values; loops over smaller arrays cost time and save little memory


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is worth a loop. Only on CPUs: other backends fuse instead."""
    return math.prod(shape) >= _LARGE and jax.default_backend() == "cpu"


def over_strips(
    step: Callable[[Any, Array, Bool[Array, " rows"]], Any], carry: Any, height: int, width: int
) -> Any:
    """Apply `carry = step(carry, top, fresh)` to one strip of rows after the other.

    All strips have the same height, so the last one may overlap the one before: `fresh` is False
    for the rows that were already done. XLA does not recompute across a loop: the result is
    computed only once, even if it is needed again later.

    Args:
        step: takes the carry, the strip's first row, and `fresh`, one boolean for each row of the
            strip. It returns the new carry; updates of some rows are done in place.
        carry: a pytree of arrays.
        height: number of rows.
        width: number of values in a row.
    """
    rows = min(height, max(1, _VALUES // width))

    def one(i: Array, carry: Any) -> Any:
        top = jnp.minimum(i * rows, height - rows)
        return step(carry, top, top + jnp.arange(rows) >= i * rows)

    return lax.fori_loop(0, -(-height // rows), one, carry)


def rows_of(array: Array, top: Array, rows: int, axis: int = 0) -> Array:
    """The rows from `top` to `top + rows`."""
    return lax.dynamic_slice_in_dim(array, top, rows, axis)


def with_rows(array: Array, rows: Array, top: Array) -> Array:
    """The array with its rows from `top` replaced by `rows`."""
    return lax.dynamic_update_slice_in_dim(array, rows, top, 0)


def added(array: Array, rows: Array, top: Array) -> Array:
    """The array with `rows` added to its rows from `top`."""
    return with_rows(array, rows_of(array, top, rows.shape[0]) + rows, top)


def after(value: Array, other: Array) -> Array:
    """Return `value` such that XLA cannot compute it before `other`.

    `jax.lax.optimization_barrier` is meant for this, but XLA's CPU backend drops it. Values that
    are needed late would then be computed early and kept in memory.
    """
    return value + zero_of(other).astype(jnp.result_type(value))


def zeros_after(shape: tuple[int, ...], dtype: Any, other: Array) -> Array:
    """Zeros to be filled in a loop, which XLA cannot allocate before `other` is computed."""
    return jnp.broadcast_to(zero_of(other).astype(dtype), shape)


def zero_of(other: Array) -> Array:
    """A zero computed from `other`. XLA cannot simplify it, since it is NaN if the value is NaN."""
    # From the middle, because the corner of a padded picture is a known constant.
    middle = tuple(n // 2 for n in other.shape)
    return 0 * jax.lax.stop_gradient(other[middle])

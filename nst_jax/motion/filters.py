"""Small filters of pictures and flows."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# The exchanges that leave the median of nine values in the middle (Smith 1996): 12 is of
# the values 1 and 2, the smaller one first.
_EXCHANGES = (12, 45, 78, 1, 34, 67, 12, 45, 78, 3, 58, 47, 36, 14, 25, 47, 42, 64, 42)


def filtered(planes: Float[Array, "*n"], taps: Sequence[float], axis: int) -> Float[Array, "*n"]:
    """Correlate with an odd number of taps along an axis; borders mirror, edge pixels doubled."""
    radius, size = len(taps) // 2, planes.shape[axis]
    width = [(0, 0)] * planes.ndim
    width[axis] = (radius, radius)
    wide = jnp.pad(planes, width, mode="symmetric")
    found = jnp.zeros_like(planes)
    for start, tap in enumerate(taps):
        if tap:
            found += tap * lax.slice_in_dim(wide, start, start + size, axis=axis)
    return found


def median(planes: Float[Array, "c h w"]) -> Float[Array, "c h w"]:
    """The median of 3x3 pixels."""
    _, h, w = planes.shape
    wide = jnp.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    nine = [wide[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
    for pair in _EXCHANGES:
        i, j = divmod(pair, 10)
        nine[i], nine[j] = jnp.minimum(nine[i], nine[j]), jnp.maximum(nine[i], nine[j])
    return nine[4]

"""Feature maps resized so that their corners stay where they are, with a gradient that is quick.

Each new position lies between two old ones. JAX's own gradient of that would scatter: on CPUs one
row after the other. But the old positions know which new ones look at them, so the gradient is a
gather too.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.typing import AnyArray


def aligned(
    features: Float[AnyArray, "h w c"], rows: int, columns: int
) -> Float[Array, "rows columns c"]:
    """Resize feature maps bilinearly, so that their corners stay where they are."""
    return _resized(_resized(jnp.asarray(features), 0, rows), 1, columns)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _resized(x: Array, axis: int, count: int) -> Array:
    places, shares = _sources(x.shape[axis], count)
    return _mixture(x, axis, places, shares)


def _resized_forward(x: Array, axis: int, count: int) -> tuple[Array, Array]:
    # All that the gradient needs is the length; an array carries it.
    return _resized(x, axis, count), jnp.zeros(x.shape[axis], x.dtype)


def _resized_backward(axis: int, count: int, like: Array, pulled: Array) -> tuple[Array]:
    places, shares = _transposed(*_sources(like.shape[0], count), like.shape[0])
    return (_mixture(pulled, axis, places, shares),)


_resized.defvjp(_resized_forward, _resized_backward)


def _sources(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `count` positions the two of `length` between which it lies, and their shares."""
    places = np.linspace(0, length - 1, count) if count > 1 else np.zeros(1)
    below = np.minimum(places.astype(np.int32), max(length - 2, 0))
    above, share = np.minimum(below + 1, length - 1), places - below
    return np.stack([below, above], 1), np.stack([1 - share, share], 1)


def _transposed(
    places: np.ndarray, shares: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each of `length` positions those that look at it, and its shares in them."""
    lookers: list[list[tuple[int, float]]] = [[] for _ in range(length)]
    for number, (two, parts) in enumerate(zip(places, shares, strict=True)):
        for place, part in zip(two, parts, strict=True):
            if part:
                lookers[place].append((number, part))
    most = max(len(found) for found in lookers)
    padded = [found + [(0, 0.0)] * (most - len(found)) for found in lookers]
    numbers, parts = np.moveaxis(np.array(padded), -1, 0)
    return numbers.astype(np.int32), parts


def _mixture(x: Array, axis: int, places: np.ndarray, shares: np.ndarray) -> Array:
    """Sums of rows or columns: those at the places, times their shares."""
    sides = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    parts = [
        jnp.take(x, one, axis, mode="clip") * jnp.asarray(share.reshape(sides), x.dtype)
        for one, share in zip(places.T, shares.T, strict=True)
    ]
    return sum(parts[1:], parts[0])

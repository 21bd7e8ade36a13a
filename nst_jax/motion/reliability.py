"""Where a flow can be trusted: neither occlusions nor boundaries between motions.

The tests and their constants are those of Ruder, Dosovitskiy & Brox 2016, "Artistic style transfer
for videos", equations 5 to 7, after Sundaram, Brox & Keutzer 2010. What the paper leaves open is
as in the authors' `consistencyChecker`: the derivatives, the borders, and a Gaussian that takes
occlusions for negative, so that it widens them.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from nst_jax.motion.filters import filtered
from nst_jax.motion.warping import require_flow, targets, warp
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

_DERIVATIVE = (-0.5, 0.0, 0.5)
_SIGMA, _RADIUS = 0.8, 2


@jit()
def reliability(
    flow: Float[AnyArray, "h w 2"], back: Float[AnyArray, "h w 2"]
) -> Float[Array, "h w"]:
    """How far a flow can be trusted, from 0 to 1, by a flow in the other direction; `vmap` works.

    It is 0 where the flow leaves the picture (which includes what it points to in the last row and
    column), is occluded, or has a boundary between motions.

    Args:
        flow: from picture `a` to picture `b`; the result belongs to `a`.
        back: from `b` to `a`.

    Raises:
        InputError: the shapes do not fit.
    """
    require_flow(flow, back)
    still, hidden = jnp.float32(0), jnp.float32(-1)
    trusted = jnp.where(boundaries(flow), still, jnp.float32(1))
    found = jnp.where(leaves(flow), still, jnp.where(occluded(flow, back), hidden, trusted))
    weights = np.exp(-np.square(np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) / 2)
    taps = tuple(float(tap) for tap in weights / weights.sum())
    return jnp.clip(filtered(filtered(found, taps, 0), taps, 1), 0, 1)


def leaves(flow: Float[AnyArray, "h w 2"]) -> Bool[Array, "h w"]:
    """Where a flow points out of the picture, or to its last row or column."""
    h, w, _ = flow.shape
    x, y = targets(flow)
    return (x < 0) | (x >= w - 1) | (y < 0) | (y >= h - 1)


def occluded(flow: Float[AnyArray, "h w 2"], back: Float[AnyArray, "h w 2"]) -> Bool[Array, "h w"]:
    """Where `back`, from the place that `flow` points to, does not lead home (equation 5)."""
    flow = jnp.asarray(flow)
    there, _ = warp(back, flow)
    allowed = 0.01 * (_square(flow) + _square(there)) + 0.5
    return ~(_square(flow + there) < allowed)  # also where the motion is not known


def boundaries(flow: Float[AnyArray, "h w 2"]) -> Bool[Array, "h w"]:
    """Where the motion changes from pixel to pixel (equation 6)."""
    flow = jnp.asarray(flow)
    change = sum(_square(filtered(flow, _DERIVATIVE, axis)) for axis in (0, 1))
    return ~(change <= 0.01 * _square(flow) + 0.002)


def _square(vectors: Float[Array, "h w 2"]) -> Float[Array, "h w"]:
    return jnp.square(vectors).sum(-1)

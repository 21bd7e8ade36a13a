"""What is known of a frame from earlier ones, and how much it counts."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.losses.term import Earlier
from nst_jax.motion.filters import filtered
from nst_jax.motion.reliability import leaves
from nst_jax.motion.warping import warp

# Motion of less than this deviation, in pixels, is none.
_STIR = 0.1
_SIGMA = 3.0  # pixels; holes much smaller than this are none
# Colours whose squared distance, over so many pixels, is less than this look alike.
_NOISE, _ALIKE = 1.5, 0.006


def closest_first(reliable: Float[np.ndarray, "k h w"]) -> Float[np.ndarray, "k h w"]:
    """How much each earlier frame counts: as far as nearer ones are not trusted (equation 9).

    Args:
        reliable: how far each earlier frame can be trusted, from 0 to 1, the nearest first.
    """
    nearer = np.cumsum(reliable, 0) - reliable
    return np.maximum(reliable - nearer, 0)


def stillness_of(flow: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w"]:
    """Where nothing moves: 1 there, 0 from half a pixel on."""
    return np.exp(-np.square(flow / _STIR).sum(-1) / 2)


def agreement(
    before: Float[np.ndarray, "r h w"],
    now: Float[np.ndarray, "r h w"],
    flow: Float[np.ndarray, "h w 2"],
) -> Float[np.ndarray, "h w"]:
    """Where the masks of an earlier frame, brought to this one, are those of this one, 0 to 1.

    What was drawn for another region says nothing of how a pixel is to be drawn.
    """
    moved, _ = warp(jnp.moveaxis(jnp.asarray(before), 0, -1), flow)
    return np.asarray(1 - jnp.abs(jnp.moveaxis(moved, -1, 0) - now).max(0))


def strange_in(
    before: Float[np.ndarray, "h w 3"],
    frame: Float[np.ndarray, "h w 3"],
    flow: Float[np.ndarray, "h w 2"],
) -> Float[np.ndarray, "h w"]:
    """Where a frame shows what the one before does not, from 0 to 1.

    Flow fails its checks in many places, such as clouds, where it still leads to what looks alike:
    strokes that are carried there are right enough to begin with.

    Args:
        before: the frame before.
        frame: the frame.
        flow: from this frame to the one before.
    """
    warped, _ = warp(before, flow)
    apart = _blurred(jnp.square(warped - frame).sum(-1), _NOISE)
    strange = jnp.maximum(leaves(flow), jnp.clip(apart / _ALIKE - 1, 0, 1))
    return np.asarray(jnp.clip(4 * _blurred(strange, _SIGMA), 0, 1))  # with what is around


def start_of(earlier: Earlier) -> Float[np.ndarray, "h w 3"]:
    """Where a frame begins: what is trusted of each earlier one, elsewhere the nearest one."""
    weights = np.asarray(earlier.weights)[..., None]
    total = weights.sum(0)
    known = (weights * earlier.pictures).sum(0) / np.maximum(total, 1)
    return known + np.maximum(1 - total, 0) * earlier.pictures[0]


def hole_of(
    earlier: Earlier, strange: Float[np.ndarray, "h w"] | None = None
) -> Float[np.ndarray, "h w"]:
    """Where nothing is known from earlier frames, from 0 to 1; thin lines do not count.

    Args:
        earlier: the earlier frames.
        strange: where the frame shows something new, from `strange_in`; None for everywhere.
    """
    free = np.maximum(1 - np.asarray(earlier.weights).sum(0), 0)
    free = free if strange is None else free * strange
    return free * np.clip(4 * np.asarray(_blurred(jnp.asarray(free), _SIGMA)) - 1, 0, 1)


def _blurred(plane: Float[Array, "h w"], sigma: float) -> Float[Array, "h w"]:
    radius = math.ceil(3 * sigma)
    taps = np.exp(-np.square(np.arange(-radius, radius + 1) / sigma) / 2)
    taps = tuple(float(tap) for tap in taps / taps.sum())
    return filtered(filtered(plane, taps, 0), taps, 1)

"""Passages: how one frame of a film comes from an earlier one."""

import importlib
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.motion import flow as flows
from nst_jax.motion.cuts import is_cut
from nst_jax.motion.reliability import reliability
from nst_jax.motion.warping import warp
from nst_jax.options import unknown
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

Method = Literal["auto", "dis", "variational"]


@dataclass(frozen=True, eq=False)
class Passage:
    """How a frame comes from an earlier one.

    Attributes:
        flow: from the frame to the earlier one, in pixels to the right and down: warping what was
            drawn of the earlier frame by it brings that to this frame.
        reliable: how far the flow can be trusted, from 0 to 1; 0 everywhere at a cut.
        cut: whether the two frames show different pictures.
    """

    flow: Float[np.ndarray, "h w 2"]
    reliable: Float[np.ndarray, "h w"]
    cut: bool


def passage(
    earlier: Float[np.ndarray, "h w 3"],
    frame: Float[np.ndarray, "h w 3"],
    *,
    method: Method = "auto",
) -> Passage:
    """Find the motion from an earlier frame to this one, and where it can be trusted.

    There, the flow is the mean of those that are found in both directions. Their errors differ, so
    that it is more accurate; and the passage the other way leads back to the same place.

    Args:
        earlier: RGB in [0, 1].
        frame: another frame of the same size.
        method: of `motion.flow`; "auto" takes DIS on a CPU if OpenCV is at hand, which is several
            times faster there.

    Raises:
        InputError: the method is unknown, the frames have unlike sizes, or OpenCV is missing.
    """
    chosen = method_of(method)
    back = flows.flow(frame, earlier, chosen)
    forth = flows.flow(earlier, frame, chosen)
    reliable = np.asarray(reliability(back, forth))
    cut = bool(is_cut(frame, earlier, back))
    back = np.asarray(_averaged(back, forth, reliable))
    return Passage(back, np.zeros_like(reliable) if cut else reliable, cut)


@jit()
def _averaged(
    flow: Float[AnyArray, "h w 2"], back: Float[AnyArray, "h w 2"], share: Float[AnyArray, "h w"]
) -> Float[Array, "h w 2"]:
    """The mean of a flow and of that in the other direction, reversed; `share` is how far."""
    home, _ = warp(back, flow)
    return jnp.asarray(flow) - jnp.asarray(share)[..., None] * (flow + home) / 2


def method_of(method: Method) -> flows.Method:
    """The method of `motion.flow` that is meant on this machine.

    Raises:
        InputError: there is no such method, or it needs OpenCV, which is missing.
    """
    if method not in get_args(Method):
        raise InputError(unknown("method of flow", method, get_args(Method)))
    if method == "variational" or (method == "auto" and jax.default_backend() != "cpu"):
        return "variational"
    try:
        importlib.import_module("nst_jax.motion.dis")
    except InputError:
        if method == "dis":
            raise
        return "variational"
    return "dis"

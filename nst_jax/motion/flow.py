"""Optical flow between two pictures, by any of the methods that there are."""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.pictures.reading import read
from nst_jax.pictures.sources import PictureSource

Method = Literal["variational", "dis"]


def flow(
    a: PictureSource, b: PictureSource, method: Method = "variational"
) -> Float[np.ndarray, "h w 2"]:
    """Optical flow from picture `a` to picture `b`: where each pixel of `a` is found in `b`.

    Args:
        a: a picture file, an array, or what else `stylize` takes.
        b: a picture of the same size.
        method: "variational" runs on any device (`motion.variational`). "dis" is OpenCV's dense
            inverse search: several times faster on a CPU, less accurate, and in the extra `video`.

    Returns:
        Pixels to the right, then pixels down: the pixel (x, y) of `a` is found in `b` at
        (x + flow[y, x, 0], y + flow[y, x, 1]).

    Raises:
        InputError: a picture cannot be read, the pictures have unlike sizes, or OpenCV is missing.
    """
    if method not in get_args(Method):
        raise InputError(f'The flow\'s method is "variational" or "dis"; got {method!r}.')
    one, other = read(a, what="first picture").rgb, read(b, what="second picture").rgb
    if one.shape != other.shape:
        (h, w, _), (h2, w2, _) = one.shape, other.shape
        raise InputError(
            f"The pictures have unlike sizes, {w}x{h} and {w2}x{h2} pixels: flow needs "
            "two pictures of one size, so resize one of them."
        )
    if method == "dis":
        from nst_jax.motion.dis import dis

        return dis(one, other)
    from nst_jax.motion.variational import variational

    return np.asarray(variational(jnp.asarray(one), jnp.asarray(other)))

"""Coarse versions of pictures."""

import jax
import numpy as np
from jaxtyping import Array, Float

from nst_jax.motion.filters import filtered

BLOCK = 4  # pixels a side


def block_means(x: Float[Array, "h w c"]) -> Float[Array, "h2 w2 c"]:
    """The means of whole blocks."""
    rows, columns = (n // BLOCK for n in x.shape[:2])
    whole = x[: rows * BLOCK, : columns * BLOCK]
    return whole.reshape(rows, BLOCK, columns, BLOCK, -1).mean((1, 3))


def blurred(x: Float[Array, "h w c"], deviation: float) -> Float[Array, "h w c"]:
    """Blur with a Gaussian of this deviation in pixels; borders mirror."""
    reach = np.arange(-int(3 * deviation), int(3 * deviation) + 1)
    taps = np.exp(-np.square(reach / deviation) / 2)
    taps = [float(tap) for tap in taps / taps.sum()]
    return filtered(filtered(x, taps, 0), taps, 1)


def coarse(x: Float[Array, "h w c"], deviation: float) -> Float[Array, "h w c"]:
    """The same for a wide Gaussian, of this deviation in blocks: by way of their means."""
    return jax.image.resize(blurred(block_means(x), deviation), x.shape, "linear")

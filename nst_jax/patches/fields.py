"""Fields: for each patch of one picture a place in another, from which it may be copied."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax.typing import AnyArray


def voted(
    source: Float[AnyArray, "h w c"], corners: Int[AnyArray, "rows columns 2"], side: int
) -> Float[Array, "h2 w2 c"]:
    """Lay patches of a picture at every position, and average where they overlap.

    Args:
        source: the picture, or features, from which patches are copied.
        corners: for each patch of the result, by the row and column of its own corner, the corner
            (row, column) in `source`.
        side: side of the patches, s.

    Returns:
        The mean at each position, (rows + s - 1, columns + s - 1, c).
    """
    source, corners = jnp.asarray(source), jnp.asarray(corners)
    rows, columns, _ = corners.shape
    total = jnp.zeros((rows + side - 1, columns + side - 1, source.shape[-1]), source.dtype)
    covered = np.zeros((*total.shape[:2], 1), np.float32)
    for y, x in np.ndindex(side, side):
        here = np.s_[y : y + rows, x : x + columns]
        total = total.at[here].add(source[corners[..., 0] + y, corners[..., 1] + x])
        covered[here] += 1
    return total / covered

"""The minimum error boundary cut: where two overlapping pictures differ least."""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int


def cut(errors: Float[np.ndarray, "h w"]) -> Int[np.ndarray, " h"]:
    """The connected path from top to bottom with the least sum of errors (dynamic programming).

    Args:
        errors: what it costs to pass at each pixel.

    Returns:
        The column of the path in each row; neighbouring rows differ by one column at most.
    """
    total = np.pad(errors, ((0, 0), (1, 1)), constant_values=np.inf)
    for above, row in pairwise(total):
        row[1:-1] += np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:])
    path = np.empty(len(total), int)
    path[-1] = total[-1].argmin()
    for y in range(len(total) - 2, -1, -1):
        left = path[y + 1] - 1
        path[y] = left + total[y, left : left + 3].argmin()
    return path - 1


def right_of_cut(errors: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Which pixels lie on the path of `cut` or right of it."""
    return np.arange(errors.shape[1])[None] >= cut(errors)[:, None]

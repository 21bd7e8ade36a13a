"""Names for the annotations."""

import jax
import numpy as np

# What public functions take: device arrays and numpy's alike.
AnyArray = jax.Array | np.ndarray

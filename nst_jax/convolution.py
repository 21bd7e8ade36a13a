"""XLA's convolution, on CPUs by the one of its two libraries that is faster for the size."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.typing import AnyArray

# XLA's CPU backend gives convolutions to YNNPACK, which computes small ones and short sums on one
# thread, or to Eigen, which computes those with few output channels on one thread. Measured on two
# cores with jaxlib 0.10.2: Eigen takes 0.5 to 0.9 of YNNPACK's time within these bounds.
_SMALL = 1.2e9  # operations
_SHORT, _MIDDLE = 400, 4e9  # terms of a sum, and up to how many operations their number matters
_WIDE = 32  # output channels


def convolution(
    x: Float[AnyArray, "b h w i"],
    kernel: Float[AnyArray, "kh kw i o"],
    stride: int = 1,
    padding: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    precision: lax.Precision = lax.Precision.HIGHEST,
) -> Float[Array, "b h2 w2 o"]:
    """Convolve pictures, padded by zeros: rows above and below, columns on the left and right."""
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    (above, below), columns = padding
    # YNNPACK leaves a convolution that is larger than its input to Eigen.
    more = int(_is_for_eigen(x, kernel) and stride == 1 and above + below + 1 == len(kernel))
    y = lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=[(above, below + more), columns],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )
    return y[:, :-1] if more else y


def _is_for_eigen(x: AnyArray, kernel: AnyArray) -> bool:
    if jax.default_backend() != "cpu" or x.dtype != jnp.float32:
        return False
    inputs, outputs = kernel.shape[2:]
    operations = 2 * x.size * kernel.size / inputs
    short = kernel.size / outputs < _SHORT
    return outputs >= _WIDE and operations < (_MIDDLE if short else _SMALL)

"""Convolutions in cells of 2x2 pixels: one position holds four pixels, whose channels follow.

CPUs are fast with wide products and slow with few channels, with strides and with large padded
copies. In cells an upsampled, a strided and a transposed convolution are plain ones.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.convolution import convolution
from nst_jax.linalg import dot
from nst_jax.models.layers import convolve, zero_padded
from nst_jax.typing import AnyArray


def space_to_depth(x: Float[AnyArray, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
    """Turn each 2x2 block of pixels into one pixel with four times the channels."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return jnp.asarray(x.reshape(b, h // 2, w // 2, 4 * c))


def depth_to_space(x: Float[AnyArray, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
    """The inverse of `space_to_depth`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
    return jnp.asarray(x.reshape(b, 2 * h, 2 * w, c // 4))


def convolve_doubled(
    x: Float[AnyArray, "b h w i"], kernel: Float[AnyArray, "k k i o"]
) -> Float[Array, "b h2 w2 o4"]:
    """`convolve(doubled(x), kernel)` with a quarter of the work, in cells of 2x2 pixels.

    The four output pixels that come from one input pixel see the same neighbours. Taps of the
    kernel that meet equal pixels are therefore summed first. This gives four kernels of about half
    the side, which are applied at the smaller size.

    Args:
        x: activations padded by `(k // 2 + 1) // 2` on each side.
        kernel: its side k is odd.

    Returns:
        Four pixels at each position, as `space_to_depth` orders them.
    """
    side, _, inputs, outputs = kernel.shape
    reach = (side // 2 + 1) // 2
    taps = [[(p + d - side // 2) // 2 + reach for d in range(side)] for p in range(2)]
    fold = [np.eye(2 * reach + 1, dtype=np.float32)[:, t] for t in taps]
    flat = kernel.reshape(side * side, inputs * outputs)
    # One product for each of the four kernels: this layout is fast in XLA's CPU backend.
    small = [
        dot(np.kron(p, q).astype(flat.dtype), flat).reshape(
            2 * reach + 1, 2 * reach + 1, inputs, outputs
        )
        for p in fold
        for q in fold
    ]
    return convolve(x, jnp.concatenate(small, axis=-1))


def convolve_cells(
    x: Float[AnyArray, "b h w i"], kernel: Float[AnyArray, "k k i o"]
) -> Float[Array, "b h2 w2 o4"]:
    """`space_to_depth(convolve(x, kernel))`, for wide kernels and few channels.

    Four pixels with their channels are one product of four times the size: CPUs are fast with
    those, and several times slower with three channels.

    Args:
        x: padded activations with even sides.
        kernel: its side k is odd.
    """
    side, _, inputs, outputs = kernel.shape
    cells = (side + 1) // 2
    # From a pixel of an input cell to one of the output cell; `side` stands for no tap.
    a, p, r = np.ogrid[:cells, :2, :2]
    taps = 2 * a + p - r
    taps = np.where((taps < 0) | (taps >= side), side, taps)
    wide = jnp.pad(jnp.asarray(kernel), ((0, 1), (0, 1), (0, 0), (0, 0)))
    found = wide[taps[:, :, :, None, None, None], taps]  # (a, p, r, b, q, s, i, o)
    found = found.transpose(0, 3, 1, 4, 6, 2, 5, 7)
    return convolve(space_to_depth(x), found.reshape(cells, cells, 4 * inputs, 4 * outputs))


def convolve_halving(
    cells: Float[AnyArray, "b h w i4"],
    kernel: Float[AnyArray, "3 3 i o"],
    lead: int,
    reflects: bool,
) -> Float[Array, "b h w o"]:
    """A 3x3 convolution with stride two, on an input in cells of 2x2 pixels, padded by one pixel.

    Args:
        cells: activations.
        kernel: its taps meet the pixels 2 i - `lead` to 2 i - `lead` + 2.
        lead: 1, or 0.
        reflects: whether the border is reflected rather than zero; `lead` is then 1.
    """
    taps = np.array([[3, 0], [1, 2]] if lead else [[0, 1], [2, 3]])
    wide = jnp.pad(jnp.asarray(kernel), ((0, 1), (0, 1), (0, 0), (0, 0)))
    found = wide[taps[:, :, None, None], taps]  # (a, p, b, q, i, o)
    found = found.transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, -1, kernel.shape[-1])
    y = convolution(cells, found, 1, [(lead, 1 - lead)] * 2)
    if not reflects:
        return y
    # The reflection of a pixel is in the cell at the border itself. Only that border is padded:
    # a copy of all would take as long as the convolution.
    edges = ((0, 0), (1, 0), (1, 0), (0, 0))
    top, left = (jnp.pad(x, edges, mode="edge") for x in (cells[:, :1], cells[:, :, :1]))
    y = y.at[:, :1].set(convolution(top, found))
    return y.at[:, :, :1].set(convolution(left, found))


def convolve_transposed(
    x: Float[AnyArray, "b h w i"], kernel: Float[AnyArray, "3 3 i o"], lead: int
) -> Float[Array, "b h w o4"]:
    """Transposed 3x3 convolution with stride two, in cells of 2x2 pixels.

    The output has twice the size. An input pixel i reaches the output pixels 2 i - `lead` to
    2 i - `lead` + 2. One pixel in four is computed by each of four kernels of 2x2 taps, at the
    smaller size.

    Args:
        x: activations.
        kernel: taps in the order in which one input pixel paints them.
        lead: 0 as in TensorFlow with padding SAME, or 1 as in Torch with padding and adjustment 1.
    """
    # Taps that meet the two neighbours, for outputs of even and of odd index; 3 stands for none.
    taps = ((2, 0), (3, 1)) if lead == 0 else ((1, 3), (2, 0))
    wide = jnp.pad(jnp.asarray(kernel), ((0, 1), (0, 1), (0, 0), (0, 0)))
    small = [wide[np.ix_(rows, columns)] for rows in taps for columns in taps]
    x = zero_padded(x, 1 - lead, lead)
    return convolve(x, jnp.concatenate(small, axis=-1))

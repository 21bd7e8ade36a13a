"""The layers of feed-forward networks: trainable convolutions, upsampling, instance normalisation.

Arrays are activations of several pictures, `(b, h, w, c)`, rather than of one picture under
`vmap`, so that the gradient of a kernel is one product over all of them. Convolutions do not pad:
the caller pads first, by reflection (`padded`) or by zeros (`zero_padded`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nst_jax.linalg import dot, einsum
from nst_jax.typing import AnyArray

EPSILON = 1e-5  # added to the variance, as in PyTorch


def padded(x: Float[AnyArray, "b h w c"], rim: int) -> Float[Array, "b h2 w2 c"]:
    """Pad by `rim` reflected rows and columns on each side; the edge itself is not repeated."""
    return jnp.pad(x, _rims(rim), mode="reflect")


def zero_padded(
    x: Float[AnyArray, "b h w c"], before: int, after: int
) -> Float[Array, "b h2 w2 c"]:
    """Pad by `before` rows and columns of zeros above and left, and `after` below and right."""
    return jnp.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))


def convolve(
    x: Float[AnyArray, "b h w i"], kernel: Float[AnyArray, "k k i o"], stride: int = 1
) -> Float[Array, "b h2 w2 o"]:
    """Convolution without padding, differentiable in `x` and `kernel`."""
    if jax.default_backend() != "cpu":  # on CPUs the ways below are faster
        return _convolution(x, kernel, stride, "VALID")
    return _convolve(x, kernel) if stride == 1 else _cropped(x, kernel, stride)


def _convolution(x: Any, kernel: Any, stride: int, padding: Any) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


def _cropped(x: Any, kernel: Any, stride: int) -> Array:
    """A "valid" convolution as a crop of a padded one, which XLA's CPU backend runs faster."""
    side = kernel.shape[0]
    same = [(side // 2, side // 2)] * 2 if stride == 1 else [(0, stride - 1)] * 2
    y = _convolution(x, kernel, stride, same)
    rim = side // 2 if stride == 1 else 0
    h, w = ((n - side) // stride + 1 for n in x.shape[1:3])
    return y[:, rim : rim + h, rim : rim + w]


def _framed(x: Any, kernel: Any) -> Array:
    """A "valid" convolution as a padded one of the middle, with a border that is computed apart.

    It saves cropping the result, which costs time where that has more channels than the input.
    """
    rim, reach = kernel.shape[0] // 2, kernel.shape[0] // 2 * 3
    y = _convolution(x[:, rim:-rim, rim:-rim], kernel, 1, [(rim, rim)] * 2)
    for first, last in ((slice(reach), slice(rim)), (slice(-reach, None), slice(-rim, None))):
        y = y.at[:, last].set(_convolution(x[:, first], kernel, 1, "VALID"))
        y = y.at[:, :, last].set(_convolution(x[:, :, first], kernel, 1, "VALID"))
    return y


@jax.custom_vjp
def _convolve(x, kernel):
    side, _, inputs, outputs = kernel.shape
    wider = side > 1 and side % 2 and outputs > 4 * inputs
    return _framed(x, kernel) if wider else _cropped(x, kernel, 1)


def _convolve_forward(x, kernel):
    return _convolve(x, kernel), (x, kernel)


def _convolve_backward(kept, g):
    # One product for each row of taps is several times faster on CPUs than XLA's kernel gradient.
    x, kernel = kept
    side, _, inputs, outputs = kernel.shape
    h, rim = g.shape[1], side - 1
    columns = [jnp.pad(g, ((0, 0), (0, 0), (j, rim - j), (0, 0))) for j in range(side)]
    beside = jnp.concatenate(columns, axis=-1)
    rows = [einsum("bhwi,bhwp->ip", x[:, i : i + h], beside) for i in range(side)]
    gradient = jnp.stack(rows).reshape(side, inputs, side, outputs).transpose(0, 2, 1, 3)
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    back = _cropped(jnp.pad(g, _rims(rim)), flipped, 1)
    return back.astype(x.dtype), gradient.astype(kernel.dtype)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _rims(rim: int) -> tuple[tuple[int, int], ...]:
    return ((0, 0), (rim, rim), (rim, rim), (0, 0))


@jax.custom_vjp
def depthwise(
    x: Float[AnyArray, "b h w c"], kernel: Float[AnyArray, "k k c"]
) -> Float[Array, "b h2 w2 c"]:
    """Convolve each channel separately, without padding, as a sum of shifted products.

    XLA's own depthwise convolution is slow on CPUs.
    """
    side, _, channels = kernel.shape
    taps = kernel.reshape(-1, 1, 1, 1, channels)
    products = [shift * tap for shift, tap in zip(_shifts(x, side), taps, strict=True)]
    return jnp.asarray(sum(products[1:], products[0]))


def _depthwise_forward(x, kernel):
    return depthwise(x, kernel), (x, kernel)


def _depthwise_backward(kept, g):
    x, kernel = kept
    side = kernel.shape[0]
    taps = [einsum("bhwc,bhwc->c", shift, g) for shift in _shifts(x, side)]
    back = depthwise(jnp.pad(g, _rims(side - 1)), kernel[::-1, ::-1])
    return back.astype(x.dtype), jnp.stack(taps).reshape(kernel.shape).astype(kernel.dtype)


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _shifts(x: Any, side: int) -> list[Any]:
    """The part of the pictures under each tap of a kernel, in row order."""
    h, w = (n - side + 1 for n in x.shape[1:3])
    return [x[:, i : i + h, j : j + w] for i in range(side) for j in range(side)]


def pointwise(
    x: Float[AnyArray, "b h w i"], kernel: Float[AnyArray, "i o"]
) -> Float[Array, "b h w o"]:
    """1x1 convolution, which is a matrix product."""
    return dot(x, kernel)


def doubled(x: Float[AnyArray, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Nearest-neighbour upsampling by two; a convolution after it leaves no checkerboard."""
    b, h, w, c = x.shape
    wide = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
    return wide.reshape(b, 2 * h, 2 * w, c)


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
    y = _convolution(cells, found, 1, [(lead, 1 - lead)] * 2)
    if not reflects:
        return y
    # The reflection of a pixel is in the cell at the border itself. Only that border is padded:
    # a copy of all would take as long as the convolution.
    edges = ((0, 0), (1, 0), (1, 0), (0, 0))
    top, left = (jnp.pad(x, edges, mode="edge") for x in (cells[:, :1], cells[:, :, :1]))
    y = y.at[:, :1].set(_convolution(top, found, 1, "VALID"))
    return y.at[:, :, :1].set(_convolution(left, found, 1, "VALID"))


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


def doubled_smoothly(x: Float[AnyArray, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Bilinear upsampling by two; pixel centres keep their places, and the edge is repeated."""
    for axis in (1, 2):
        wide = jnp.pad(x, [(int(a == axis),) * 2 for a in range(4)], mode="edge")
        n = x.shape[axis]
        before, after = (
            0.25 * lax.slice_in_dim(wide, k, k + n, axis=axis) + 0.75 * jnp.asarray(x)
            for k in (0, 2)
        )
        shape = (*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
        x = jnp.stack([before, after], axis + 1).reshape(shape)
    return jnp.asarray(x)


class Moments(NamedTuple):
    """Mean and variance of each channel, (b, c), float32."""

    mean: Float[AnyArray, "b c"]
    variance: Float[AnyArray, "b c"]


def instance_moments(x: Float[AnyArray, "b h w c"], pixels: int = 1) -> Moments:
    """Mean and variance over all positions; the variance divides by their number, as in PyTorch.

    `pixels` is the number of pixels at each position, whose channels follow each other.
    """
    x = jnp.asarray(x, jnp.float32)
    mean = _over_pixels(x.mean((1, 2)), pixels)
    apart = jnp.square(x - jnp.tile(mean, (1, pixels))[:, None, None])
    return Moments(mean, _over_pixels(apart.mean((1, 2)), pixels))


def _over_pixels(values: Float[AnyArray, "b c"], pixels: int) -> Float[Array, "b c2"]:
    return jnp.asarray(values).reshape(len(values), pixels, -1).mean(1)


def normalize(
    x: Float[AnyArray, "b h w c"],
    moments: Moments,
    scale: Float[AnyArray, "b *hw c"],
    shift: Float[AnyArray, "b *hw c"],
    epsilon: float = EPSILON,
) -> Float[Array, "b h w c"]:
    """Instance normalisation (Ulyanov et al. 2016): mean 0 and deviation 1, then scale and shift.

    With scale and shift of a style it is conditional (Dumoulin et al. 2017, eq. 5). With deviation
    and mean of another picture it is adaptive (Huang & Belongie 2017, eq. 8).

    Args:
        x: activations.
        moments: moments of `x`, or of the whole picture if `x` is a part of it.
        scale: for each picture, (b, c), or for each position, (b, h, w, c).
        shift: of the same shape as `scale`.
        epsilon: added to the variance.
    """
    x = jnp.asarray(x)
    mean, variance = (m[:, None, None] for m in moments)
    if scale.ndim == 2:
        scale, shift = scale[:, None, None], shift[:, None, None]
    factor = lax.rsqrt(jnp.asarray(variance) + epsilon) * scale
    return (x * factor + (shift - mean * factor)).astype(x.dtype)

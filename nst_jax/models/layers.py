"""The layers of feed-forward networks: trainable convolutions, upsampling, instance normalisation.

Arrays are activations of several pictures, `(b, h, w, c)`, rather than of one picture under
`vmap`, so that the gradient of a kernel is one product over all of them. Convolutions do not pad:
the caller pads first, by reflection (`padded`) or by zeros (`zero_padded`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.convolution import convolution
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
        return convolution(x, kernel, stride)
    return _convolve(x, kernel) if stride == 1 else _cropped(x, kernel, stride)


def _cropped(x: Any, kernel: Any, stride: int) -> Array:
    """A "valid" convolution as a crop of a padded one, which XLA's CPU backend runs faster."""
    side = kernel.shape[0]
    same = [(side // 2, side // 2)] * 2 if stride == 1 else [(0, stride - 1)] * 2
    y = convolution(x, kernel, stride, same)
    rim = side // 2 if stride == 1 else 0
    h, w = ((n - side) // stride + 1 for n in x.shape[1:3])
    return y[:, rim : rim + h, rim : rim + w]


def _framed(x: Any, kernel: Any) -> Array:
    """A "valid" convolution as a padded one of the middle, with a border that is computed apart.

    It saves cropping the result, which costs time where that has more channels than the input.
    """
    rim, reach = kernel.shape[0] // 2, kernel.shape[0] // 2 * 3
    y = convolution(x[:, rim:-rim, rim:-rim], kernel, 1, [(rim, rim)] * 2)
    for first, last in ((slice(reach), slice(rim)), (slice(-reach, None), slice(-rim, None))):
        y = y.at[:, last].set(convolution(x[:, first], kernel))
        y = y.at[:, :, last].set(convolution(x[:, :, first], kernel))
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

"""The layers of feed-forward networks: trainable convolutions, upsampling, instance normalisation.

Arrays are activations of several pictures, `(b, h, w, c)`, not of one under `vmap`: the gradient of
a kernel is then one product over all of them. Convolutions are "valid": whoever calls them pads
first, by reflection (`padded`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nst_jax.linalg import dot, einsum
from nst_jax.typing import AnyArray

_EPSILON = 1e-5  # PyTorch's, under the root of the variance


def padded(x: Float[AnyArray, "b h w c"], rim: int) -> Float[Array, "b h2 w2 c"]:
    """With `rim` reflected rows and columns on every side; the edge itself is not repeated."""
    return jnp.pad(x, _rims(rim), mode="reflect")


def convolve(
    x: Float[AnyArray, "b h w i"], kernel: Float[AnyArray, "k k i o"], stride: int = 1
) -> Float[Array, "b h2 w2 o"]:
    """Convolution without padding, differentiable in both."""
    if jax.default_backend() != "cpu":  # what follows makes up for what XLA lacks on CPUs
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
    """The middle of a "same" convolution: XLA's CPU backend has no fast path for "valid" ones."""
    side = kernel.shape[0]
    same = [(side // 2, side // 2)] * 2 if stride == 1 else [(0, stride - 1)] * 2
    y = _convolution(x, kernel, stride, same)
    rim = side // 2 if stride == 1 else 0
    h, w = ((n - side) // stride + 1 for n in x.shape[1:3])
    return y[:, rim : rim + h, rim : rim + w]


@jax.custom_vjp
def _convolve(x, kernel):
    return _cropped(x, kernel, 1)


def _convolve_forward(x, kernel):
    return _convolve(x, kernel), (x, kernel)


def _convolve_backward(kept, g):
    # A product for each row of taps: on CPUs several times as fast as XLA's gradient of a kernel.
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
    """Convolution of each channel by itself, as shifted products: XLA's own is slow on CPUs."""
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
    """The pictures under each tap of a kernel, in the order of its axes."""
    h, w = (n - side + 1 for n in x.shape[1:3])
    return [x[:, i : i + h, j : j + w] for i in range(side) for j in range(side)]


def pointwise(
    x: Float[AnyArray, "b h w i"], kernel: Float[AnyArray, "i o"]
) -> Float[Array, "b h w o"]:
    """Convolution of one pixel: a matrix product."""
    return dot(x, kernel)


def doubled(x: Float[AnyArray, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Nearest-neighbour upsampling by two, after which convolutions leave no checkerboard."""
    b, h, w, c = x.shape
    wide = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
    return wide.reshape(b, 2 * h, 2 * w, c)


def space_to_depth(x: Float[AnyArray, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
    """Four neighbouring pixels as one, with four times the channels."""
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
) -> Float[Array, "b h2 w2 o"]:
    """`convolve(doubled(x), kernel)` at a quarter of the work.

    The four pixels that come of one see the same neighbours, so the kernel's taps on equal ones are
    added up first: four kernels of about half the side, at the smaller size.

    Args:
        x: with `k // 4` rows and columns more on each side than come back, doubled.
        kernel: its side is one more than a multiple of four.
    """
    side, _, inputs, outputs = kernel.shape
    reach = side // 4
    taps = [[(p + d - 2 * reach) // 2 + reach for d in range(side)] for p in range(2)]
    fold = [np.eye(2 * reach + 1, dtype=np.float32)[:, t] for t in taps]
    flat = kernel.reshape(side * side, inputs * outputs)
    # One product for each phase, joined: the layout in which XLA's CPU backend is fast.
    small = [
        dot(np.kron(p, q).astype(flat.dtype), flat).reshape(
            2 * reach + 1, 2 * reach + 1, inputs, outputs
        )
        for p in fold
        for q in fold
    ]
    return depth_to_space(convolve(x, jnp.concatenate(small, axis=-1)))


class Moments(NamedTuple):
    """Mean and variance of each channel, (b, c), float32."""

    mean: Float[AnyArray, "b c"]
    variance: Float[AnyArray, "b c"]


def instance_moments(x: Float[AnyArray, "b h w c"]) -> Moments:
    """Over all positions; the variance is the mean square, as in PyTorch's instance norm."""
    x = jnp.asarray(x, jnp.float32)
    mean = x.mean((1, 2))
    return Moments(mean, jnp.square(x - mean[:, None, None]).mean((1, 2)))


def normalize(
    x: Float[AnyArray, "b h w c"],
    moments: Moments,
    scale: Float[AnyArray, "b *hw c"],
    shift: Float[AnyArray, "b *hw c"],
) -> Float[Array, "b h w c"]:
    """Instance normalisation (Ulyanov et al. 2016): to mean zero and deviation one, then affine.

    With a style's own scale and shift it is conditional (Dumoulin et al. 2017, eq. 5), with another
    picture's deviation and mean adaptive (Huang & Belongie 2017, eq. 8).

    Args:
        x: activations.
        moments: theirs, or those of the picture that they are a part of.
        scale: of each picture, (b, c), or of each position, (b, h, w, c).
        shift: likewise.
    """
    x = jnp.asarray(x)
    mean, variance = (m[:, None, None] for m in moments)
    if scale.ndim == 2:
        scale, shift = scale[:, None, None], shift[:, None, None]
    factor = lax.rsqrt(jnp.asarray(variance) + _EPSILON) * scale
    return (x * factor + (shift - mean * factor)).astype(x.dtype)

"""Winograd's F(4x4, 3x3): a 3x3 convolution with a quarter of the multiplications.

A tile of 6x6 inputs gives 4x4 outputs with 36 matrix products instead of 144 (Lavin & Gray 2016).
In one dimension, y = A [(G g) * (B x)]: polynomials are multiplied through their values at six
points. The points are 0, +-sqrt(2), +-1/sqrt(2) and infinity. They keep rounding errors small, and
their reciprocals are the same set: the flipped kernel of the backward pass has the same values in
another order, up to known factors, so that one transformed kernel serves both passes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nst_jax.linalg import einsum
from nst_jax.typing import AnyArray

_OUT, _IN = 4, 6  # sides of a tile
_ROOT = np.sqrt(2)
_POINTS = np.array([0, _ROOT, -_ROOT, 1 / _ROOT, -1 / _ROOT])  # and infinity, the last
_RECIPROCAL = [5, 3, 4, 1, 2, 0]

# From this product of input and output channels on, the saved multiplications outweigh the
# transforms. Measured on two x86 cores, value and gradient: 1.4 times as fast at 64 to 128
# channels, 1.7 at 128 to 128, 1.9 at 256 to 256, 2.4 at 512 to 512; 0.9 at 48 to 64.
_MIN_CHANNELS = 64 * 128
# At full and half resolution the transformed activations would need too much memory.
_MIN_STRIDE = 4


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices A (4, 6), B (6, 6) and G (6, 3) of the one-dimensional algorithm."""
    others = [np.delete(_POINTS, i) for i in range(5)]
    a, b, g = np.zeros((_OUT, _IN)), np.zeros((_IN, _IN)), np.zeros((_IN, 3))
    a[:, :5] = _POINTS ** np.arange(_OUT)[:, None]
    a[-1, -1] = 1
    for i, (point, rest) in enumerate(zip(_POINTS, others, strict=True)):
        b[i, :5] = np.poly(rest)[::-1]
        g[i] = point ** np.arange(3) / np.prod(point - rest)
    b[-1] = np.poly(_POINTS)[::-1]
    g[-1, -1] = 1
    return a, b, g


def _backward_matrices() -> tuple[np.ndarray, np.ndarray]:
    """A and B for the flipped kernel, to be used with the values of the unflipped kernel."""
    # G flip(g) = scale * (G g)[reciprocal]
    flipped = _G[:, ::-1]
    scale = np.linalg.norm(flipped, axis=1) / np.linalg.norm(_G[_RECIPROCAL], axis=1)
    sign = np.sign((flipped * _G[_RECIPROCAL]).sum(1))
    return (_A * scale * sign)[:, _RECIPROCAL], _B[_RECIPROCAL]


_A, _B, _G = _matrices()
_A_BACK, _B_BACK = _backward_matrices()


def pays(kernel: Float[AnyArray, "3 3 i o"], stride: int) -> bool:
    """Whether this algorithm pays for a layer: on CPUs, for wide layers at low resolution.

    Other backends have fast convolutions of their own.

    Args:
        kernel: HWIO.
        stride: picture pixels from one position of the layer to the next.
    """
    _, _, inputs, outputs = kernel.shape
    wide = inputs * outputs >= _MIN_CHANNELS and stride >= _MIN_STRIDE
    return wide and jax.default_backend() == "cpu"


def transformed(kernel: Float[AnyArray, "3 3 i o"]) -> Float[np.ndarray, "36 i o"]:
    """Transform a kernel for `conv3x3_winograd`; the result is four times as large."""
    _, _, inputs, outputs = kernel.shape
    both = _both(_G)
    # Columns first, as in `_convolve`.
    taps = np.asarray(kernel, np.float32).swapaxes(0, 1).reshape(9, -1)
    return (both @ taps).reshape(_IN**2, inputs, outputs)


@jax.custom_vjp
def conv3x3_winograd(
    x: Float[Array, "h w i"], kernel: Float[Array, "36 i o"]
) -> Float[Array, "h w o"]:
    """3x3 convolution with stride 1 and zero padding, with a kernel from `transformed`.

    It computes in float32; rounding errors are about 2e-6 of the result's norm. It is
    differentiable in `x` only: kernels are frozen, their gradient is zero.
    """
    return _convolve(x, kernel, "ptuc,pco->ptuo", _A, _B)


def _forward(x, kernel):
    return conv3x3_winograd(x, kernel), kernel


def _backward(kernel, g):
    x = _convolve(g, kernel, "ptuo,pco->ptuc", _A_BACK, _B_BACK)
    return x, jnp.zeros_like(kernel)


conv3x3_winograd.defvjp(_forward, _backward)


def _convolve(x: Array, kernel: Array, product: str, a: np.ndarray, b: np.ndarray) -> Array:
    h, w, _ = x.shape
    tall, wide = -(-h // _OUT), -(-w // _OUT)
    x = jnp.pad(x, ((1, 1 + _OUT * tall - h), (1, 1 + _OUT * wide - w), (0, 0)))
    tiles = jnp.stack(_taps(jnp.stack(_taps(x, 0)), 2)).reshape(_IN**2, tall, wide, -1)
    # Dense products with 36x36 and 16x36 matrices cost little beside the main product, and compile
    # at once. Sums of slices were no faster, and XLA took ten seconds to compile them for VGG19.
    values = einsum("qp,ptuc->qtuc", _both(b), tiles)
    found = einsum("qp,ptuc->qtuc", _both(a), einsum(product, values, kernel))
    y = found.reshape(_OUT, _OUT, tall, wide, -1).transpose(2, 1, 3, 0, 4)
    return y.reshape(_OUT * tall, _OUT * wide, -1)[:h, :w]


def _taps(x: Array, axis: int) -> list[Array]:
    """The first, second, ..., sixth row (or column) of all tiles; tiles overlap by two."""
    return [
        lax.slice_in_dim(x, i, x.shape[axis] - _IN + i + 1, _OUT, axis=axis) for i in range(_IN)
    ]


def _both(matrix: np.ndarray) -> np.ndarray:
    """Extend a one-dimensional transform to two: columns and rows, flattened in this order."""
    return np.kron(matrix, matrix).astype(np.float32)

"""The layers of the networks: 3x3 convolution with frozen weights, ReLU and pooling.

Arrays are the activations of one picture, `(h, w, c)`; use `vmap` for batches.
"""

from functools import partial, reduce
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from nst_jax.convolution import convolution
from nst_jax.linalg import dot
from nst_jax.networks import winograd
from nst_jax.options import Pooling, Precision
from nst_jax.typing import AnyArray

RIM = ((1, 1), (1, 1), (0, 0))
# JAX's default is TF32 on GPUs and bfloat16 on TPUs: too coarse for L-BFGS's curvature pairs.
LAX_PRECISION = {
    "float32": lax.Precision.HIGHEST,
    "tf32": lax.Precision.HIGH,
    "bfloat16": lax.Precision.DEFAULT,
}


def activation_dtype(precision: Precision) -> jnp.dtype:
    """The dtype of activations under `precision`: bfloat16 or float32."""
    return jnp.dtype(jnp.bfloat16 if precision == "bfloat16" else jnp.float32)


def adjoint(kernel: Float[AnyArray, "kh kw i o"]) -> Float[np.ndarray, "kh kw o i"]:
    """The kernel whose "same" convolution is the transpose of the "same" convolution of `kernel`.

    It is flipped in both spatial axes, and its channel axes are swapped.
    """
    # In numpy, because JAX would compile a program for each shape.
    return np.ascontiguousarray(np.asarray(kernel)[::-1, ::-1].transpose(0, 1, 3, 2))


def _same(x: Array, kernel: Array, precision: Precision) -> Array:
    rim = [(n // 2, n // 2) for n in kernel.shape[:2]]
    return convolution(x[None], kernel.astype(x.dtype), 1, rim, LAX_PRECISION[precision])[0]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def conv3x3(
    x: Float[Array, "h w i"],
    kernel: Float[Array, "3 3 i o"],
    kernel_adjoint: Float[Array, "3 3 o i"],
    precision: Precision = "float32",
) -> Float[Array, "h w o"]:
    """3x3 convolution with stride 1 and zero padding, differentiable in `x` only.

    The backward pass is an ordinary convolution with `adjoint(kernel)`, which is computed ahead of
    time. Otherwise XLA's CPU backend keeps a transposed kernel layout in loop bodies and misses its
    fast path, which is five times slower (jax-ml/jax issue 12868). Kernels are frozen: their
    gradient is zero.
    """
    del kernel_adjoint
    return _same(x, kernel, precision)


def _conv3x3_forward(x, kernel, kernel_adjoint, precision):
    return _same(x, kernel, precision), (kernel, kernel_adjoint)


def _conv3x3_backward(precision, kernels, g):
    kernel, kernel_adjoint = kernels
    zeros = jnp.zeros_like(kernel), jnp.zeros_like(kernel_adjoint)
    return _same(g, kernel_adjoint, precision), *zeros


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


def conv3x3_of_few(
    padded: Float[Array, "h2 w2 i"],
    kernel: Float[Array, "3 3 i o"],
    precision: Precision = "float32",
) -> Float[Array, "h w o"]:
    """3x3 convolution of a padded picture as one product of pixel neighbourhoods and the kernel.

    It is for the three channels of a picture: there XLA's CPU backend would build a far larger
    matrix in the backward pass.
    """
    return jnp.dot(
        _neighbourhoods(padded),
        kernel.reshape(-1, kernel.shape[-1]).astype(padded.dtype),
        precision=LAX_PRECISION[precision],
    )


def _neighbourhoods(padded: Array) -> Array:
    h, w = padded.shape[0] - 2, padded.shape[1] - 2
    shifts = [padded[i : i + h, j : j + w] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifts, axis=-1)


def biased(x: Array, bias: Array) -> Array:
    """Add a bias for each channel to activations, in the dtype of the activations."""
    return x + bias.astype(x.dtype)[None, None]


class FrozenConv(nnx.Module):
    """A 3x3 convolution with frozen weights, by the algorithm that is fastest for its size here.

    Args:
        kernel: HWIO; stored together with its adjoint, or as its Winograd transform.
        bias: one value for each output channel.
        precision: of the convolution; Winograd's transforms are too coarse for bfloat16.
        stride: picture pixels from one position of the layer to the next.
    """

    def __init__(
        self,
        kernel: Float[AnyArray, "3 3 i o"],
        bias: Float[AnyArray, " o"],
        precision: Precision = "float32",
        *,
        stride: int,
    ):
        self.precision: Precision = precision
        self.bias = nnx.Param(jnp.asarray(bias, jnp.float32))
        self.winograd = precision != "bfloat16" and winograd.pays(kernel, stride)
        if self.winograd:
            self.kernel = nnx.Param(jnp.asarray(winograd.transformed(kernel), jnp.float32))
        else:
            self.kernel = nnx.Param(jnp.asarray(kernel, jnp.float32))
            self.kernel_adjoint = nnx.Variable(jnp.asarray(adjoint(kernel), jnp.float32))

    def __call__(self, x: Float[Array, "h w i"]) -> Float[Array, "h w o"]:
        """Convolve and add the bias; no nonlinearity is applied."""
        return biased(self.product(x), self.bias[...])

    @property
    def width(self) -> int:
        """Number of output channels."""
        return self.bias[...].shape[-1]

    def product(self, x: Float[Array, "h w i"]) -> Float[Array, "h w o"]:
        """Convolve without adding the bias."""
        kernel = self.kernel[...]
        if self.winograd:
            return cast(Array, winograd.conv3x3_winograd(x, kernel))
        if x.shape[-1] == 3:
            return conv3x3_of_few(jnp.pad(x, RIM), kernel, self.precision)
        return cast(Array, conv3x3(x, kernel, self.kernel_adjoint[...], self.precision))


def projected(
    x: Float[AnyArray, "*positions i"], head: Float[AnyArray, "i o"] | None
) -> Float[Array, "*positions o"]:
    """Activations times a linear head, in the activations' dtype; unchanged if `head` is None."""
    if head is None:
        return jnp.asarray(x)
    return dot(x, head.astype(x.dtype))


@jax.custom_vjp
def relu(x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """max(x, 0), keeping its output for the backward pass, which other operations keep anyway."""
    return jnp.maximum(x, 0)


def _relu_forward(x):
    y = jnp.maximum(x, 0)
    return y, y


def _relu_backward(y, g):
    return (jnp.where(y > 0, g, 0),)


relu.defvjp(_relu_forward, _relu_backward)


def pool2x2(x: Float[Array, "h w c"], pooling: Pooling) -> Float[Array, "h2 w2 c"]:
    """2x2 pooling with stride 2; an odd last row or column is dropped, as in PyTorch and Keras.

    `"average-rescaled"` doubles the average, so that mean activations stay near those of max
    pooling, with which the network was trained (crowsonkb/style-transfer-pytorch).
    """
    corners = corners_of(x)
    if pooling == "max":
        return reduce(jnp.maximum, corners)
    scale = 0.5 if pooling == "average-rescaled" else 0.25
    return sum(corners[1:], corners[0]) * scale


def corners_of(x: Array) -> tuple[Array, ...]:
    """The four corners of all whole 2x2 blocks, in row order, each as an array (h/2, w/2, c)."""
    h, w, _ = x.shape
    x = x[: h // 2 * 2, : w // 2 * 2]
    # Strided slices are faster here, forward and backward, than reduce_window or a reshape.
    return x[::2, ::2], x[::2, 1::2], x[1::2, ::2], x[1::2, 1::2]

"""The building blocks of the networks: a 3x3 convolution with frozen weights, pooling, padding.

Arrays are one picture's activations, `(h, w, c)`; batches come from `vmap`.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from nst_jax.choices import Padding, Pooling, Precision
from nst_jax.networks import winograd
from nst_jax.ordering import after
from nst_jax.typing import AnyArray

_PAD_MODE = {"reflect": "reflect", "replicate": "edge"}
# JAX's default is TF32 on GPU and bfloat16 on TPU: too coarse for L-BFGS's curvature pairs.
_LAX_PRECISION = {
    "float32": lax.Precision.HIGHEST,
    "tf32": lax.Precision.HIGH,
    "bfloat16": lax.Precision.DEFAULT,
}


def activation_dtype(precision: Precision) -> jnp.dtype:
    """The dtype of activations under `precision`: bfloat16 or float32."""
    return jnp.dtype(jnp.bfloat16 if precision == "bfloat16" else jnp.float32)


def adjoint(kernel: Float[AnyArray, "kh kw i o"]) -> Float[np.ndarray, "kh kw o i"]:
    """The kernel whose "same" convolution is the transpose of `kernel`'s: flipped, transposed."""
    # In numpy: JAX would compile a program for each shape.
    return np.ascontiguousarray(np.asarray(kernel)[::-1, ::-1].transpose(0, 1, 3, 2))


def _same(x: Array, kernel: Array, precision: Precision) -> Array:
    return lax.conv_general_dilated(
        x[None],
        kernel.astype(x.dtype),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=_LAX_PRECISION[precision],
    )[0]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def conv3x3(
    x: Float[Array, "h w i"],
    kernel: Float[Array, "3 3 i o"],
    kernel_adjoint: Float[Array, "3 3 o i"],
    precision: Precision = "float32",
) -> Float[Array, "h w o"]:
    """3x3 convolution, stride 1, zero padding, differentiable in `x` alone.

    The backward pass is an ordinary convolution with `adjoint(kernel)`, made ahead of time: in a
    loop body XLA's CPU backend would otherwise keep a transposed kernel layout and miss its fast
    path (jax-ml/jax issue 12868; five times slower). Kernels are frozen: their gradient is zero.
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
    x: Float[Array, "h w i"], kernel: Float[Array, "3 3 i o"], precision: Precision = "float32"
) -> Float[Array, "h w o"]:
    """The same convolution as one matrix product with each pixel's 3x3 neighbourhood.

    For a picture's three channels, where XLA's CPU backend makes a far larger matrix of the
    backward pass.
    """
    h, w, _ = x.shape
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    shifts = [padded[i : i + h, j : j + w] for i in range(3) for j in range(3)]
    return jnp.dot(
        jnp.concatenate(shifts, axis=-1),
        kernel.reshape(-1, kernel.shape[-1]).astype(x.dtype),
        precision=_LAX_PRECISION[precision],
    )


class FrozenConv(nnx.Module):
    """A 3x3 convolution with frozen weights, in the form that is best for its size here.

    Args:
        kernel: HWIO; kept as it is with its adjoint beside it, or as Winograd's transform.
        bias: one for each output.
        precision: of the activations; below float32 Winograd's transforms are too coarse.
        stride: the picture's pixels per position.
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
            self.kernel = nnx.Param(jnp.asarray(winograd.transformed(kernel)))
        else:
            self.kernel = nnx.Param(jnp.asarray(kernel, jnp.float32))
            self.kernel_adjoint = nnx.Variable(jnp.asarray(adjoint(kernel), jnp.float32))

    def __call__(self, x: Float[Array, "h w i"]) -> Float[Array, "h w o"]:
        """Convolution and bias, before any nonlinearity."""
        kernel = self.kernel[...]
        if self.winograd:
            y = cast(Array, winograd.conv3x3_winograd(x, kernel))
        elif x.shape[-1] == 3:
            y = conv3x3_of_few(x, kernel, self.precision)
        else:
            y = cast(Array, conv3x3(x, kernel, self.kernel_adjoint[...], self.precision))
        return y + self.bias[...].astype(y.dtype)[None, None]


def projected(
    x: Float[AnyArray, "*positions i"], head: Float[AnyArray, "i o"] | None
) -> Float[Array, "*positions o"]:
    """Activations times a linear head, in their own dtype; as they are without one."""
    if head is None:
        return jnp.asarray(x)
    return jnp.dot(x, head.astype(x.dtype), precision=lax.Precision.HIGHEST)


@jax.custom_vjp
def relu(x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """max(x, 0), keeping its output for the backward pass: others keep that one too."""
    return jnp.maximum(x, 0)


def _relu_forward(x):
    y = jnp.maximum(x, 0)
    return y, y


def _relu_backward(y, g):
    return (jnp.where(y > 0, g, 0),)


relu.defvjp(_relu_forward, _relu_backward)


def pool2x2(x: Float[Array, "h w c"], pooling: Pooling) -> Float[Array, "h2 w2 c"]:
    """2x2 pooling with stride 2; an odd last row or column is dropped, as in PyTorch and Keras.

    `"average-rescaled"` doubles the average: mean activations then stay near those of max pooling,
    for which the network was trained (crowsonkb/style-transfer-pytorch).
    """
    h, w, _ = x.shape
    x = x[: h // 2 * 2, : w // 2 * 2]
    # Four strided slices: faster here, forward and backward, than reduce_window or a reshape.
    corners = x[::2, ::2], x[1::2, ::2], x[::2, 1::2], x[1::2, 1::2]
    if pooling == "max":
        return reduce(jnp.maximum, corners)
    scale = 0.5 if pooling == "average-rescaled" else 0.25
    return sum(corners[1:], corners[0]) * scale


def with_padding(conv: FrozenConv, x: Array, padding: Padding) -> Array:
    """`conv` with another border than zeros: pad by one, convolve, drop the zero-padded rim."""
    if padding == "zero":
        return conv(x)
    x = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode=_PAD_MODE[padding])
    return conv(x)[1:-1, 1:-1]


def rematerialized(
    function: Callable[[Any, Array], Any],
) -> Callable[[Any, Array], Any]:
    """`function(weights, x)` that keeps only its input for the backward pass and runs again there.

    Like `jax.checkpoint`, whose barriers XLA's CPU backend drops, merging the second run with the
    first. Here the second run's input depends on the cotangent, so it cannot start before. Weights
    are frozen: their gradient is zero.
    """

    @jax.custom_vjp
    def run(weights, x):
        return function(weights, x)

    def forward(weights, x):
        return function(weights, x), (weights, x)

    def backward(kept, cotangents):
        weights, x = kept
        x = after(x, jax.tree.leaves(cotangents)[0])
        _, pull = jax.vjp(partial(function, weights), x)
        return jax.tree.map(jnp.zeros_like, weights), *pull(cotangents)

    run.defvjp(forward, backward)
    return run

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
from nst_jax.strips import added, is_large, over_strips, rows_of, with_rows, zeros_after
from nst_jax.typing import AnyArray

_PAD_MODE = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}
_RIM = ((1, 1), (1, 1), (0, 0))
_DEAD = 4  # no corner: the largest is not above zero
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
    padded: Float[Array, "h2 w2 i"],
    kernel: Float[Array, "3 3 i o"],
    precision: Precision = "float32",
) -> Float[Array, "h w o"]:
    """3x3 convolution of a padded picture as one matrix product with each pixel's neighbourhood.

    For a picture's three channels, where XLA's CPU backend makes a far larger matrix of the
    backward pass.
    """
    return jnp.dot(
        _neighbourhoods(padded),
        kernel.reshape(-1, kernel.shape[-1]).astype(padded.dtype),
        precision=_LAX_PRECISION[precision],
    )


def _neighbourhoods(padded: Array) -> Array:
    h, w = padded.shape[0] - 2, padded.shape[1] - 2
    shifts = [padded[i : i + h, j : j + w] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifts, axis=-1)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def conv3x3_of_few_relu(
    padded: Float[Array, "h2 w2 i"],
    kernel: Float[Array, "3 3 i o"],
    bias: Float[Array, " o"],
    precision: Precision = "float32",
) -> Float[Array, "h w o"]:
    """That convolution, its bias and ReLU, keeping the picture alone for the backward pass.

    Where the result is above zero is found again there, in strips: no network has larger
    activations, and a second array of them would be the peak of memory. Differentiable in `padded`
    alone: kernel and bias are frozen, their gradient is zero.
    """
    h, w, c = padded.shape[0] - 2, padded.shape[1] - 2, kernel.shape[-1]

    def step(found: Array, top: Array, fresh: Array) -> Array:
        piece = rows_of(padded, top, fresh.shape[0] + 2)
        y = jnp.maximum(_biased(conv3x3_of_few(piece, kernel, precision), bias), 0)
        return with_rows(found, y, top)

    return over_strips(step, zeros_after((h, w, c), padded.dtype, padded), h, w * c)


def _biased(x: Array, bias: Array) -> Array:
    return x + bias.astype(x.dtype)[None, None]


def _few_forward(padded, kernel, bias, precision):
    return conv3x3_of_few_relu(padded, kernel, bias, precision), (padded, kernel, bias)


def _few_backward(precision, kept, g):
    padded, kernel, bias = kept
    h, w, c = g.shape

    def step(found: Array, top: Array, fresh: Array) -> Array:
        piece = rows_of(padded, top, fresh.shape[0] + 2)
        y, pull = jax.vjp(lambda x: conv3x3_of_few(x, kernel, precision), piece)
        own = (_biased(y, bias) > 0) & fresh[:, None, None]
        (part,) = pull(jnp.where(own, rows_of(g, top, fresh.shape[0]), 0))
        return added(found, part, top)

    found = over_strips(step, zeros_after(padded.shape, padded.dtype, g), h, w * c)
    return found, jnp.zeros_like(kernel), jnp.zeros_like(bias)


conv3x3_of_few_relu.defvjp(_few_forward, _few_backward)


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
        return _biased(self.product(x), self.bias[...])

    @property
    def width(self) -> int:
        """Outputs."""
        return self.bias[...].shape[-1]

    def product(self, x: Float[Array, "h w i"]) -> Float[Array, "h w o"]:
        """Convolution without the bias."""
        kernel = self.kernel[...]
        if self.winograd:
            return cast(Array, winograd.conv3x3_winograd(x, kernel))
        if x.shape[-1] == 3:
            return conv3x3_of_few(jnp.pad(x, _RIM), kernel, self.precision)
        return cast(Array, conv3x3(x, kernel, self.kernel_adjoint[...], self.precision))


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


@jax.custom_vjp
def relu_once(x: Float[Array, "h w c"], bias: Float[Array, " c"]) -> Float[Array, "h w c"]:
    """`relu(x + bias)`, in place and in strips, so that XLA keeps the result and not `x` as well.

    For features that are measured and go further. `bias` is frozen: its gradient is zero.
    """

    def step(found: Array, top: Array, fresh: Array) -> Array:
        old = rows_of(found, top, fresh.shape[0])
        y = jnp.maximum(_biased(old, bias), 0)
        return with_rows(found, jnp.where(fresh[:, None, None], y, old), top)

    h, w, c = x.shape
    return over_strips(step, x, h, w * c)


def _relu_once_forward(x, bias):
    y = relu_once(x, bias)
    return y, (y, bias)


def _relu_once_backward(kept, g):
    y, bias = kept
    return *_relu_backward(y, g), jnp.zeros_like(bias)


relu_once.defvjp(_relu_once_forward, _relu_once_backward)


def pool2x2(x: Float[Array, "h w c"], pooling: Pooling) -> Float[Array, "h2 w2 c"]:
    """2x2 pooling with stride 2; an odd last row or column is dropped, as in PyTorch and Keras.

    `"average-rescaled"` doubles the average: mean activations then stay near those of max pooling,
    for which the network was trained (crowsonkb/style-transfer-pytorch).
    """
    corners = _corners(x)
    if pooling == "max":
        return reduce(jnp.maximum, corners)
    scale = 0.5 if pooling == "average-rescaled" else 0.25
    return sum(corners[1:], corners[0]) * scale


def _corners(x: Array) -> tuple[Array, ...]:
    """The four positions of every whole 2x2 block, row by row."""
    h, w, _ = x.shape
    x = x[: h // 2 * 2, : w // 2 * 2]
    # Strided slices: faster here, forward and backward, than reduce_window or a reshape.
    return x[::2, ::2], x[::2, 1::2], x[1::2, ::2], x[1::2, 1::2]


@jax.custom_vjp
def max_pool_relu(x: Float[Array, "h w c"], bias: Float[Array, " c"]) -> Float[Array, "h2 w2 c"]:
    """`relu(pool2x2(x + bias, "max"))`, keeping a byte for each value for the backward pass.

    Among equals the first of a block's corners has the gradient, row by row, as in PyTorch. `bias`
    is frozen: its gradient is zero.
    """
    return _max_pool_relu_forward(x, bias)[0]


def _max_pool_relu_forward(x, bias):
    h, w, c = x.shape[0] // 2, x.shape[1] // 2, x.shape[2]

    # In strips: otherwise XLA finds the corners again in the backward pass, and keeps all of `x`.
    def step(found: tuple[Array, Array], top: Array, fresh: Array) -> tuple[Array, ...]:
        corners = _corners(rows_of(x, 2 * top, 2 * fresh.shape[0]))
        largest = reduce(jnp.maximum, corners)
        y = _biased(largest, bias)
        corner = jnp.full(y.shape, 3, jnp.uint8)
        for number in (2, 1, 0):
            corner = jnp.where(corners[number] == largest, jnp.uint8(number), corner)
        parts = jnp.maximum(y, 0), jnp.where(y > 0, corner, jnp.uint8(_DEAD))
        return tuple(with_rows(*pair, top) for pair in zip(found, parts, strict=True))

    found = tuple(zeros_after((h, w, c), dtype, x) for dtype in (x.dtype, jnp.uint8))
    y, corner = over_strips(step, found, h, 4 * w * c)
    return y, (corner, bias, jnp.zeros((x.shape[0] % 2, x.shape[1] % 2)))


def _max_pool_relu_backward(kept, g):
    corner, bias, odd = kept
    h, w, c = g.shape
    each = jnp.arange(4, dtype=jnp.uint8).reshape(1, 2, 1, 2, 1)
    spread = jnp.where(corner[:, None, :, None] == each, g[:, None, :, None], 0)
    spread = spread.reshape(2 * h, 2 * w, c)
    return jnp.pad(spread, ((0, odd.shape[0]), (0, odd.shape[1]), (0, 0))), jnp.zeros_like(bias)


max_pool_relu.defvjp(_max_pool_relu_forward, _max_pool_relu_backward)


def with_padding(conv: FrozenConv, x: Array, padding: Padding) -> Array:
    """`conv` with another border than zeros: pad by one, convolve, drop the zero-padded rim."""
    if padding == "zero":
        return conv(x)
    return conv(jnp.pad(x, _RIM, mode=_PAD_MODE[padding]))[1:-1, 1:-1]


def with_relu(conv: FrozenConv, x: Array, padding: Padding, *, measured: bool) -> Array:
    """`relu(with_padding(conv, x, padding))`, of large arrays in less memory.

    `measured` says that statistics are made of the result, which then is kept in any case.
    """
    if is_large((*x.shape[:2], conv.width)):
        bias = conv.bias[...]
        if x.shape[-1] == 3:
            padded = jnp.pad(x, _RIM, mode=_PAD_MODE[padding])
            return cast(Array, conv3x3_of_few_relu(padded, conv.kernel[...], bias, conv.precision))
        # What follows Winograd's last transform is computed with it: no loop may part them.
        if measured and padding == "zero" and not conv.winograd:
            return cast(Array, relu_once(conv.product(x), bias))
    return relu(with_padding(conv, x, padding))


def with_pool(conv: FrozenConv, x: Array) -> Array:
    """`pool2x2(relu(conv(x)), "max")`: pooled first, the same numbers at a quarter of the work."""
    if is_large((*x.shape[:2], conv.width)) and not conv.winograd:
        return cast(Array, max_pool_relu(conv.product(x), conv.bias[...]))
    return relu(pool2x2(conv(x), "max"))


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

"""Large layers with less memory: convolution, ReLU and pooling in strips of rows.

XLA's CPU backend recomputes cheap operations wherever their result is needed. It therefore keeps
the input of ReLU and pooling in memory beside the output. Across a loop it does not recompute.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.networks.layers import biased, conv3x3_of_few, corners_of
from nst_jax.networks.strips import added, over_strips, rows_of, with_rows, zeros_after
from nst_jax.options import Precision

_DEAD = 4  # instead of a corner's number, where ReLU gives zero and no corner has a gradient


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def conv3x3_of_few_relu(
    padded: Float[Array, "h2 w2 i"],
    kernel: Float[Array, "3 3 i o"],
    bias: Float[Array, " o"],
    precision: Precision = "float32",
) -> Float[Array, "h w o"]:
    """`conv3x3_of_few` with bias and ReLU, keeping only the picture for the backward pass.

    The backward pass computes the convolution again to find where the result is above zero. No
    layer has larger activations, and a second array of them would set the peak of memory. The
    function is differentiable in `padded` only: kernel and bias are frozen, their gradient is zero.
    """
    h, w, c = padded.shape[0] - 2, padded.shape[1] - 2, kernel.shape[-1]

    def step(found: Array, top: Array, fresh: Array) -> Array:
        piece = rows_of(padded, top, fresh.shape[0] + 2)
        y = jnp.maximum(biased(conv3x3_of_few(piece, kernel, precision), bias), 0)
        return with_rows(found, y, top)

    return over_strips(step, zeros_after((h, w, c), padded.dtype, padded), h, w * c)


def _few_forward(padded, kernel, bias, precision):
    return conv3x3_of_few_relu(padded, kernel, bias, precision), (padded, kernel, bias)


def _few_backward(precision, kept, g):
    padded, kernel, bias = kept
    h, w, c = g.shape

    def step(found: Array, top: Array, fresh: Array) -> Array:
        piece = rows_of(padded, top, fresh.shape[0] + 2)
        y, pull = jax.vjp(lambda x: conv3x3_of_few(x, kernel, precision), piece)
        own = (biased(y, bias) > 0) & fresh[:, None, None]
        (part,) = pull(jnp.where(own, rows_of(g, top, fresh.shape[0]), 0))
        return added(found, part, top)

    found = over_strips(step, zeros_after(padded.shape, padded.dtype, g), h, w * c)
    return found, jnp.zeros_like(kernel), jnp.zeros_like(bias)


conv3x3_of_few_relu.defvjp(_few_forward, _few_backward)


@jax.custom_vjp
def relu_once(x: Float[Array, "h w c"], bias: Float[Array, " c"]) -> Float[Array, "h w c"]:
    """`relu(x + bias)` in place and in strips, so that XLA keeps only the result, not `x` as well.

    It is for features that a tap uses and that also go to the next layer. `bias` is frozen: its
    gradient is zero.
    """

    def step(found: Array, top: Array, fresh: Array) -> Array:
        old = rows_of(found, top, fresh.shape[0])
        y = jnp.maximum(biased(old, bias), 0)
        return with_rows(found, jnp.where(fresh[:, None, None], y, old), top)

    h, w, c = x.shape
    return over_strips(step, x, h, w * c)


def _relu_once_forward(x, bias):
    y = relu_once(x, bias)
    return y, (y, bias)


def _relu_once_backward(kept, g):
    y, bias = kept
    return jnp.where(y > 0, g, 0), jnp.zeros_like(bias)


relu_once.defvjp(_relu_once_forward, _relu_once_backward)


@jax.custom_vjp
def max_pool_relu(x: Float[Array, "h w c"], bias: Float[Array, " c"]) -> Float[Array, "h2 w2 c"]:
    """`relu(pool2x2(x + bias, "max"))`, keeping one byte per output value for the backward pass.

    If several values of a 2x2 block are the largest, the first in row order gets the gradient, as
    in PyTorch. `bias` is frozen: its gradient is zero.
    """
    return _max_pool_relu_forward(x, bias)[0]


def _max_pool_relu_forward(x, bias):
    h, w, c = x.shape[0] // 2, x.shape[1] // 2, x.shape[2]

    def step(found: tuple[Array, Array], top: Array, fresh: Array) -> tuple[Array, ...]:
        corners = corners_of(rows_of(x, 2 * top, 2 * fresh.shape[0]))
        largest = reduce(jnp.maximum, corners)
        y = biased(largest, bias)
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

"""The parts of a block: convolutions with a border, ReLU, pooling, and rematerialisation."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from nst_jax.networks.large import conv3x3_of_few_relu, max_pool_relu, relu_once
from nst_jax.networks.layers import RIM, FrozenConv, pool2x2, relu
from nst_jax.networks.strips import after, is_large
from nst_jax.options import Padding

_PAD_MODE = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


def with_padding(conv: FrozenConv, x: Array, padding: Padding) -> Array:
    """Apply `conv` with a given border: pad by one, convolve, and drop the rim it zero-padded."""
    if padding == "zero":
        return conv(x)
    return conv(jnp.pad(x, RIM, mode=_PAD_MODE[padding]))[1:-1, 1:-1]


def with_relu(conv: FrozenConv, x: Array, padding: Padding, *, measured: bool) -> Array:
    """`relu(with_padding(conv, x, padding))`, with less memory for large arrays.

    `measured` says that a tap uses the result, which is then kept in memory in any case.
    """
    if is_large((*x.shape[:2], conv.width)):
        bias = conv.bias[...]
        if x.shape[-1] == 3:
            padded = jnp.pad(x, RIM, mode=_PAD_MODE[padding])
            return cast(Array, conv3x3_of_few_relu(padded, conv.kernel[...], bias, conv.precision))
        # XLA fuses Winograd's last transform with what follows; a loop would separate them.
        if measured and padding == "zero" and not conv.winograd:
            return cast(Array, relu_once(conv.product(x), bias))
    return relu(with_padding(conv, x, padding))


def with_pool(conv: FrozenConv, x: Array) -> Array:
    """`pool2x2(relu(conv(x)), "max")`, but pooled before ReLU: same result, a quarter of the work.

    With large arrays it also takes less memory.
    """
    if is_large((*x.shape[:2], conv.width)) and not conv.winograd:
        return cast(Array, max_pool_relu(conv.product(x), conv.bias[...]))
    return relu(pool2x2(conv(x), "max"))


def rematerialized(
    function: Callable[[Any, Array], Any],
) -> Callable[[Any, Array], Any]:
    """Wrap `function(weights, x)` to keep only its inputs, and run it again in the backward pass.

    This replaces `jax.checkpoint`: XLA's CPU backend drops its barriers and merges the second run
    with the first. Here the input of the second run depends on the cotangent, so that it cannot
    start earlier. Weights are frozen: their gradient is zero.
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

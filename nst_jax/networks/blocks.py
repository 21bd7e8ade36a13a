"""What blocks are made of: convolutions with their border, ReLU and pooling; blocks run again."""

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
    """`conv` with another border than zeros: pad by one, convolve, drop the zero-padded rim."""
    if padding == "zero":
        return conv(x)
    return conv(jnp.pad(x, RIM, mode=_PAD_MODE[padding]))[1:-1, 1:-1]


def with_relu(conv: FrozenConv, x: Array, padding: Padding, *, measured: bool) -> Array:
    """`relu(with_padding(conv, x, padding))`, of large arrays in less memory.

    `measured` says that statistics are made of the result, which then is kept in any case.
    """
    if is_large((*x.shape[:2], conv.width)):
        bias = conv.bias[...]
        if x.shape[-1] == 3:
            padded = jnp.pad(x, RIM, mode=_PAD_MODE[padding])
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

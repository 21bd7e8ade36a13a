"""Order of computation, where memory depends on it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from nst_jax.networks.strips import added, after, is_large, over_strips, rows_of


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def beside(
    measure: Callable[[Array, Any], Any], axes: Any, features: Array, given: Any
) -> tuple[Array, Any]:
    """The features and `measure(features, given)`, for features that are also used further on.

    The measure's part of the gradient waits for the other part: XLA would compute it in the forward
    pass already, and keep it, for every layer. To large features' gradient it is added in place,
    strip by strip. `given` is not differentiated.

    Args:
        measure: a sum over rows: of all it is the sum of what it is of each strip, with the
            strip's rows of what is given.
        axes: for each part of `given` the axis of its rows, -1 where it has none.
        features: (h, w, c).
        given: what the measure needs besides.
    """
    del axes
    return features, measure(features, given)


def _beside_forward(measure, axes, features, given):
    return beside(measure, axes, features, given), (features, given)


def _beside_backward(measure, axes, kept, cotangents):
    (features, given), (further, own) = kept, cotangents
    height, width, channels = features.shape
    zeros = jax.tree.map(jnp.zeros_like, given)
    if not is_large(features.shape):
        # Made again of what is kept anyway, and computed together with what follows.
        _, pull = jax.vjp(lambda f: measure(f, given), after(features, further))
        return further + pull(own)[0], zeros
    own = jax.tree.map(lambda cotangent: after(cotangent, further), own)

    def step(further: Array, top: Array, fresh: Array) -> Array:
        count = fresh.shape[0]
        here = jax.tree.map(
            lambda axis, part: (
                part if axis < 0 else jax.tree.map(lambda a: rows_of(a, top, count, axis), part)
            ),
            axes,
            given,
        )
        _, pull = jax.vjp(lambda f: measure(f, here), rows_of(features, top, count))
        return added(further, jnp.where(fresh[:, None, None], pull(own)[0], 0), top)

    return over_strips(step, further, height, width * channels), zeros


beside.defvjp(_beside_forward, _beside_backward)


@jax.custom_vjp
def unit_branch(features: Array) -> tuple[Array, Array, Array]:
    """The features to go on with, the features to measure, and a scalar handle for `unit_pull`.

    The gradient with respect to what is measured has absolute sum 1, times the handle's.
    """
    return features, features, jnp.zeros((), jnp.float32)


def _unit_branch_forward(features):
    return unit_branch(features), None


def _unit_branch_backward(_, cotangents):
    further, own, pull = cotangents
    total = jnp.sum(jnp.abs(own), dtype=jnp.float32)
    return (further + (pull / (total + 1e-8) * own).astype(own.dtype),)


unit_branch.defvjp(_unit_branch_forward, _unit_branch_backward)


@jax.custom_vjp
def unit_pull(loss: Array, handle: Array) -> Array:
    """The loss of what `unit_branch` gave to measure: it pulls at the handle, not with its size."""
    del handle
    return loss


def _unit_pull_forward(loss, handle):
    return unit_pull(loss, handle), None


def _unit_pull_backward(_, g):
    return jnp.ones_like(g), g


unit_pull.defvjp(_unit_pull_forward, _unit_pull_backward)

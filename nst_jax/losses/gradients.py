"""Custom gradients: one saves memory by its order of computation, the other has a fixed size."""

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
    """Return the features and `measure(features, given)`; the network goes on with the features.

    The gradient of the measure is computed only after the gradient from the rest of the network.
    Otherwise XLA would compute it in the forward pass and keep it for every layer. Where the
    features are large, it is added in place, strip by strip. `given` is not differentiated.

    Args:
        measure: a function that is a sum over rows: its value for all rows is the sum of its values
            for strips of rows, each with the matching rows of `given`.
        axes: for each part of `given`, the axis of its rows; -1 if it has none.
        features: (h, w, c).
        given: the other arrays that `measure` needs.
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
        # Recompute from the features, which are kept anyway, instead of keeping more.
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
    """Branch off features to measure, such that their gradient has a fixed size.

    The gradient that comes back from the measured features is scaled: its absolute values sum to
    the gradient of the handle.

    Returns:
        The features for the rest of the network, the features to measure, and a scalar handle for
        `unit_pull`.
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
    """Return the loss of features from `unit_branch`, and send its gradient to the handle."""
    del handle
    return loss


def _unit_pull_forward(loss, handle):
    return unit_pull(loss, handle), None


def _unit_pull_backward(_, g):
    return jnp.ones_like(g), g


unit_pull.defvjp(_unit_pull_forward, _unit_pull_backward)

"""Optimisers, by name or from optax, and what the solver's loop must know of their states."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from nst_jax.options import Method
from nst_jax.solvers.bands import in_bands
from nst_jax.solvers.lbfgs import scale_by_lbfgs
from nst_jax.solvers.precondition import spectral

_MAX_LINESEARCH_STEPS = 20
_RMSPROP_DECAY = 0.99  # PyTorch's, and its place of epsilon
_GROWTH = 1e3  # of steps without a preconditioner


@dataclass(frozen=True)
class Optimizer:
    """The optimiser and its options: the static part of a solver; hashable.

    Args:
        method: `"lbfgs"` (unit steps, after a first step of norm 1), `"lbfgs-zoom"` (L-BFGS with a
            zoom line search), `"adam"`, `"rmsprop"`, `"sgd"` (gradient descent with
            momentum), or any optax transformation, which brings its own learning rate.
        history: number of curvature pairs that L-BFGS keeps.
        precondition: exponent of the filter `spectral` that preconditions L-BFGS, for unknowns of
            shape (h, w, c); 0 for no preconditioner.
        stretch: see `scale_by_lbfgs`; used only with a preconditioner.
        widening: likewise.
        growth: likewise.
        first: root mean square of the first step of `"lbfgs"`; 0 for a first step of norm 1.
        momentum: momentum of gradient descent.
        pyramid: levels of the Laplacian pyramid that a method of first order sees in place of
            pixels (`bands`); 0 for pixels.
        bounds: lowest and highest value; the unknown is clipped to them after each update. Must be
            None for L-BFGS, whose stored gradients belong to unclipped points.
        average: decay of a running average of the points, which is then the result; 0 for none.
    """

    method: Method | optax.GradientTransformation = "lbfgs"
    history: int = 100
    precondition: float = 0.0
    stretch: float = 1.0
    widening: float = 0.0
    growth: float = 1e3
    first: float = 0.0
    momentum: float = 0.9
    pyramid: int = 0
    bounds: tuple[float, float] | None = None
    average: float = 0.0

    @property
    def is_lbfgs(self) -> bool:
        """Whether `method` is `"lbfgs"` or `"lbfgs-zoom"`."""
        return self.method in ("lbfgs", "lbfgs-zoom")


def transformation(
    optimizer: Optimizer, learning_rate: Any
) -> optax.GradientTransformationExtraArgs:
    """The optax transformation of an optimiser."""
    match optimizer.method:
        case "lbfgs":
            step = optax.scale_by_learning_rate(learning_rate)
            return optax.chain(_lbfgs(optimizer), step)
        case "lbfgs-zoom":
            search = optax.scale_by_zoom_linesearch(
                _MAX_LINESEARCH_STEPS, initial_guess_strategy="one"
            )
            return optax.chain(_lbfgs(optimizer), optax.scale(-1.0), search)
        case "adam":
            found = optax.adam(learning_rate)
        case "rmsprop":
            found = optax.rmsprop(learning_rate, decay=_RMSPROP_DECAY, eps_in_sqrt=False)
        case "sgd":
            found = optax.sgd(learning_rate, momentum=optimizer.momentum)
        case found:
            pass
    if optimizer.pyramid:
        found = in_bands(found, optimizer.pyramid)
    return optax.with_extra_args_support(found)


def _lbfgs(optimizer: Optimizer) -> optax.GradientTransformation:
    if not optimizer.precondition:
        return scale_by_lbfgs(optimizer.history, growth=_GROWTH)
    filtered = partial(spectral, exponent=optimizer.precondition)
    return scale_by_lbfgs(
        optimizer.history,
        filtered,
        stretch=optimizer.stretch,
        widening=optimizer.widening,
        growth=optimizer.growth,
    )


def begun(optimizer: Optimizer, opt_state: Any, size: int) -> Any:
    """The state before the first update, whose length the optimiser may have set."""
    if optimizer.method != "lbfgs" or not optimizer.first:
        return opt_state
    memory, *rest = opt_state
    # The first step is as long as the limit on the growth of steps lets it be.
    growth = optimizer.growth if optimizer.precondition else _GROWTH
    length = jnp.full_like(memory.length, optimizer.first * size**0.5 / growth)
    return (memory._replace(scale=jnp.ones_like(memory.scale), length=length), *rest)


def without_pair_where(moved: Bool[Array, ""] | bool, optimizer: Optimizer, opt_state):
    """Where `moved`, make L-BFGS skip its next curvature pair, which would mix two functions."""
    if moved is False or not optimizer.is_lbfgs:
        return opt_state
    memory, *rest = opt_state
    return (memory._replace(steps=jnp.where(moved, 0, memory.steps)), *rest)


def restart_where(blown: Bool[Array, ""], optimizer: Optimizer, opt_state, x: Array):
    """Where `blown`, reset the optimiser's state.

    For L-BFGS only the counters and scales are set to zero; the pairs are then never read.
    """
    if not optimizer.is_lbfgs:
        anew = transformation(optimizer, 1.0).init(x)
        return jax.tree.map(lambda a, b: jnp.where(blown, a, b), anew, opt_state)
    zeroed = partial(jax.tree.map, lambda a: jnp.where(blown, jnp.zeros_like(a), a))
    memory, *rest = opt_state
    counted = {
        name: zeroed(getattr(memory, name)) for name in ("pairs", "steps", "scale", "length")
    }
    return (memory._replace(**counted), *rest)


def keeps_curvature(optimizer: Optimizer) -> bool:
    """Whether the optimiser stores differences of gradients, so that points must not be clipped."""
    if isinstance(optimizer.method, str):
        return optimizer.is_lbfgs
    state = jax.eval_shape(optimizer.method.init, jax.ShapeDtypeStruct((1,), jnp.float32))
    return optax.tree.get(state, "diff_params_memory") is not None


def searches(optimizer: Optimizer) -> bool:
    """Whether the optimiser has a line search and counts its evaluations."""
    if isinstance(optimizer.method, str):
        return optimizer.method == "lbfgs-zoom"
    state = jax.eval_shape(optimizer.method.init, jax.ShapeDtypeStruct((1,), jnp.float32))
    return optax.tree.get(state, "num_linesearch_steps") is not None


def linesearch_evaluations(optimizer: Optimizer, opt_state: Any) -> Int[Array, ""] | int:
    """Evaluations of the last step's line search, without the one of the step itself."""
    if not searches(optimizer):
        return 0
    return optax.tree.get(opt_state, "num_linesearch_steps")

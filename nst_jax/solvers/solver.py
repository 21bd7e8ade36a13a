"""Solvers: minimise any `fn(x, args) -> (value, terms)` with optax, in a loop on the device.

The unknown is one array. Everything here is pure: `advance` runs a number of evaluations that is
itself an argument, so one compilation serves every chunk, and all of it works under `jit` and
`vmap`. Guards live in the loop: a curvature pair that would spoil L-BFGS is not taken up, and a
blow-up goes back to the best point with an empty memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from nst_jax.options import Method
from nst_jax.solvers import schedules
from nst_jax.solvers.lbfgs import scale_by_lbfgs
from nst_jax.solvers.precondition import spectral
from nst_jax.solvers.schedules import Ramp

Function = Callable[[Array, Any], tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]

_MAX_LINESEARCH_STEPS = 20


@dataclass(frozen=True)
class Optimizer:
    """The static part of a solver; hashable.

    Args:
        method: `"lbfgs"` (unit step after a first step of norm 1), `"lbfgs-zoom"` (with a zoom
            line search), `"adam"`, or `"sgd"` (gradient descent with momentum).
        history: curvature pairs that L-BFGS keeps.
        precondition: L-BFGS's exponent for `spectral`, the unknown being a picture; 0 for none.
        stretch, widening, growth: with a preconditioner, see `scale_by_lbfgs`.
        momentum: of gradient descent.
        bounds: the unknown is clipped to these after each update; None for L-BFGS, whose stored
            gradients belong to the unclipped points.
        average: decay of an average of the points, which is then what `point` gives; 0 for none.
    """

    method: Method = "lbfgs"
    history: int = 100
    precondition: float = 0.0
    stretch: float = 1.0
    widening: float = 0.0
    growth: float = 1e3
    momentum: float = 0.9
    bounds: tuple[float, float] | None = None
    average: float = 0.0


class Mean(NamedTuple):
    """An average with exponentially falling weights: the weighted sum, and the sum of weights."""

    sum: Array
    weight: Float[Array, "..."]


class State(NamedTuple):
    """Everything that a minimisation carries from one evaluation to the next.

    `x` is the next point to evaluate, `best_x` the best one evaluated, with total `best`; `first`
    and `first_value` are total and value at the start (`advance` tells them apart); `restarts`
    counts blow-ups; `mean` averages the points if that is wanted.
    """

    x: Array
    optimizer: optax.OptState
    best_x: Array
    best: Float[Array, ""]
    first: Float[Array, ""]
    first_value: Float[Array, ""]
    evaluations: Int[Array, ""]
    restarts: Int[Array, ""]
    mean: Mean | None = None


class Trace(NamedTuple):
    """What happened in one call of `advance`: rows `0 .. steps-1` of each array are filled.

    `terms` are the function's own, one row a step; `evaluations` counts function evaluations up to
    and including the row (a line search takes several a step); `restarted` marks blow-ups.
    """

    terms: dict[str, Float[Array, " n"]]
    evaluations: Int[Array, " n"]
    restarted: Bool[Array, " n"]
    steps: Int[Array, ""]


def _transformation(optimizer: Optimizer, learning_rate) -> optax.GradientTransformationExtraArgs:
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
            transformation = optax.adam(learning_rate)
        case "sgd":
            transformation = optax.sgd(learning_rate, momentum=optimizer.momentum)
    return optax.with_extra_args_support(transformation)


def _lbfgs(optimizer: Optimizer) -> optax.GradientTransformation:
    if not optimizer.precondition:
        return scale_by_lbfgs(optimizer.history)
    filtered = partial(spectral, exponent=optimizer.precondition)
    return scale_by_lbfgs(
        optimizer.history,
        filtered,
        stretch=optimizer.stretch,
        widening=optimizer.widening,
        growth=optimizer.growth,
    )


def start(optimizer: Optimizer, x: Float[Array, "..."]) -> State:
    """The state before the first evaluation, at `x`."""
    zero = jnp.zeros((), jnp.int32)
    infinity = jnp.full((), jnp.inf, x.dtype)
    opt_state = _transformation(optimizer, 1.0).init(x)
    # optax leaves Python numbers here and there, whose weak types would compile `advance` twice.
    opt_state = jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), opt_state)
    mean = Mean(jnp.zeros_like(x), jnp.zeros((), x.dtype)) if optimizer.average else None
    return State(x, opt_state, x, infinity, infinity, infinity, zero, zero, mean)


def point(state: State) -> Array:
    """What a minimisation has come to after an evaluation: the average, or the best point.

    States may have a leading axis of lanes.
    """
    if state.mean is None:
        return state.best_x
    total, weight = state.mean
    return total / weight.reshape(weight.shape + (1,) * (total.ndim - weight.ndim))


def advance(
    fn: Function,
    optimizer: Optimizer,
    state: State,
    args: Any,
    learning_rate: Float[Array, ""] | float | Ramp,
    until: Int[Array, ""] | int,
    *,
    capacity: int,
) -> tuple[State, Trace]:
    """Go on until there have been so many function evaluations (a started line search is finished).

    Args:
        fn: `fn(x, args) -> (value, terms)`, static: pass the same function object again.
        optimizer: static part of the solver.
        state: from `start` or an earlier call.
        args: the function's data, a pytree. Where it holds a `Ramp`, `fn` gets its value at the
            count of evaluations; what is minimised changes then, so `terms["total"]`, which must
            not, judges which point is best. L-BFGS takes up no pair of gradients of two functions.
        learning_rate: 1.0 for L-BFGS; ignored by the line search. May be a `Ramp` too.
        until: the state's count of evaluations at the end; traced, at most `capacity` more.
        capacity: rows of the returned trace; static.

    Returns:
        The new state and the trace of these evaluations.
    """
    # Traced here for the terms' shapes, and with jit not a second time in the loop.
    value_and_grad = jax.jit(jax.value_and_grad(fn, has_aux=True))
    (_, terms), _ = jax.eval_shape(value_and_grad, state.x, schedules.at(args, state.evaluations))
    rows = Trace(
        terms=jax.tree.map(lambda t: jnp.zeros((capacity, *t.shape), t.dtype), terms),
        evaluations=jnp.zeros(capacity, jnp.int32),
        restarted=jnp.zeros(capacity, bool),
        steps=jnp.zeros((), jnp.int32),
    )

    def step(carry: tuple[State, Trace]) -> tuple[State, Trace]:
        state, trace = carry
        now = schedules.at(args, state.evaluations)
        transformation = _transformation(optimizer, schedules.at(learning_rate, state.evaluations))
        (value, terms), grad = value_and_grad(state.x, now)
        total = terms.get("total", value)
        blown = _blown_up(value, total, grad, state)
        grad = jnp.where(blown, 0, grad)
        better = ~blown & (total < state.best)
        best_x = jnp.where(better, state.x, state.best_x)
        updates, opt_state = transformation.update(
            grad,
            state.optimizer,
            state.x,
            value=value,
            grad=grad,
            value_fn=lambda x: fn(x, now)[0],
        )
        x = cast(Array, optax.apply_updates(state.x, updates))
        if optimizer.bounds is not None:
            x = jnp.clip(x, *optimizer.bounds)
        used = state.evaluations + 1 + _linesearch_evaluations(optimizer, opt_state)
        moved = schedules.changed(args, state.evaluations, used)
        opt_state = _without_pair_where(moved, optimizer, opt_state)
        row = Trace(
            terms=jax.tree.map(lambda r, t: r.at[trace.steps].set(t), trace.terms, terms),
            evaluations=trace.evaluations.at[trace.steps].set(used),
            restarted=trace.restarted.at[trace.steps].set(blown),
            steps=trace.steps + 1,
        )
        x = jnp.where(blown, best_x, x)
        return State(
            x=x,
            optimizer=_restart_where(blown, optimizer, opt_state),
            best_x=best_x,
            best=jnp.where(better, total, state.best),
            first=jnp.where(jnp.isinf(state.first), total, state.first),
            first_value=jnp.where(jnp.isinf(state.first), value, state.first_value),
            evaluations=used,
            restarts=state.restarts + blown,
            mean=_averaged(optimizer, state.mean, x),
        ), row

    def unfinished(carry: tuple[State, Trace]) -> Bool[Array, ""]:
        return carry[0].evaluations < until

    return jax.lax.while_loop(unfinished, step, (state, rows))


def minimize(
    fn: Function,
    x: Float[Array, "..."],
    args: Any = (),
    *,
    optimizer: Optimizer = Optimizer(),
    learning_rate: Float[Array, ""] | float | Ramp = 1.0,
    evaluations: int = 500,
) -> tuple[State, Trace]:
    """Minimise `fn(x, args) -> (value, terms)` from `x`, all on the device.

    Args:
        fn: a scalar function and a dict of scalars to record; must not close over large arrays.
        x: the starting point, any shape, float32.
        args: the function's data; may hold ramps, as in `advance`.
        optimizer: which method.
        learning_rate: 1.0 for L-BFGS; ignored by the line search. May be a `Ramp`.
        evaluations: function evaluations, line searches included.

    Returns:
        The last state (`best_x`, `best`) and the trace. Pure: works under `jit` and `vmap`.
    """
    state = start(optimizer, x)
    return advance(fn, optimizer, state, args, learning_rate, evaluations, capacity=evaluations)


def _blown_up(value: Array, total: Array, grad: Array, state: State) -> Bool[Array, ""]:
    """Not finite, or, having improved, far above the start: L-BFGS would not come back alone.

    Far by value and by total: a ramp may raise one of them without harm.
    """
    finite = jnp.isfinite(value) & jnp.isfinite(jnp.sum(jnp.abs(grad)))
    improved = state.best < state.first
    far = _far_above(value, state.first_value) & _far_above(total, state.first)
    return ~finite | (improved & far)


def _far_above(value: Array, first: Array) -> Bool[Array, ""]:
    return value > first + jnp.abs(first) / 2


def _without_pair_where(moved: Bool[Array, ""] | bool, optimizer: Optimizer, opt_state):
    """Let L-BFGS not take up its next pair where `moved`: its gradients are of two functions."""
    if moved is False or not optimizer.method.startswith("lbfgs"):
        return opt_state
    memory, *rest = opt_state
    return (memory._replace(steps=jnp.where(moved, 0, memory.steps)), *rest)


def _restart_where(blown: Bool[Array, ""], optimizer: Optimizer, opt_state):
    """Forget the past where `blown`; L-BFGS's arrays may stay, once they are not counted."""
    zeroed = partial(jax.tree.map, lambda a: jnp.where(blown, jnp.zeros_like(a), a))
    if not optimizer.method.startswith("lbfgs"):
        return zeroed(opt_state)
    memory, *rest = opt_state
    counted = {
        name: zeroed(getattr(memory, name)) for name in ("pairs", "steps", "scale", "length")
    }
    return (memory._replace(**counted), *rest)


def _averaged(optimizer: Optimizer, mean: Mean | None, x: Array) -> Mean | None:
    if mean is None:
        return None
    new = 1 - optimizer.average
    return Mean(optimizer.average * mean.sum + new * x, optimizer.average * mean.weight + new)


def _linesearch_evaluations(optimizer: Optimizer, opt_state) -> Int[Array, ""] | int:
    if optimizer.method != "lbfgs-zoom":
        return 0
    return opt_state[-1].info.num_linesearch_steps


@partial(
    jax.jit,
    static_argnames=("fn", "optimizer", "capacity"),
    donate_argnames="state",
)
def advance_jit(fn, optimizer, state, args, learning_rate, until, *, capacity):
    """`advance`, compiled once for each function, optimizer, shapes; gives up `state`."""
    return advance(fn, optimizer, state, args, learning_rate, until, capacity=capacity)


start_jit = jax.jit(start, static_argnames="optimizer")

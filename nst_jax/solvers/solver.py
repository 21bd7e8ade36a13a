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
from nst_jax.solvers.optimizer import (
    Optimizer,
    linesearch_evaluations,
    restart_where,
    transformation,
    without_pair_where,
)
from nst_jax.solvers.schedules import Ramp

Function = Callable[[Array, Any], tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]


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


def start(optimizer: Optimizer, x: Float[Array, "..."]) -> State:
    """The state before the first evaluation, at `x`."""
    zero = jnp.zeros((), jnp.int32)
    infinity = jnp.full((), jnp.inf, x.dtype)
    opt_state = transformation(optimizer, 1.0).init(x)
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
        step_of = transformation(optimizer, schedules.at(learning_rate, state.evaluations))
        (value, terms), grad = value_and_grad(state.x, now)
        total = terms.get("total", value)
        blown = _blown_up(value, total, grad, state)
        grad = jnp.where(blown, 0, grad)
        better = ~blown & (total < state.best)
        best_x = jnp.where(better, state.x, state.best_x)
        updates, opt_state = step_of.update(
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
        used = state.evaluations + 1 + linesearch_evaluations(optimizer, opt_state)
        moved = schedules.changed(args, state.evaluations, used)
        opt_state = without_pair_where(moved, optimizer, opt_state)
        row = Trace(
            terms=jax.tree.map(lambda r, t: r.at[trace.steps].set(t), trace.terms, terms),
            evaluations=trace.evaluations.at[trace.steps].set(used),
            restarted=trace.restarted.at[trace.steps].set(blown),
            steps=trace.steps + 1,
        )
        x = jnp.where(blown, best_x, x)
        return State(
            x=x,
            optimizer=restart_where(blown, optimizer, opt_state, x),
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
    fn: Callable[..., Any],
    x: Float[Array, "..."],
    args: Any = (),
    *,
    optimizer: Optimizer | Method | optax.GradientTransformation = "lbfgs",
    learning_rate: Float[Array, ""] | float | Ramp = 1.0,
    evaluations: int = 500,
) -> tuple[State, Trace]:
    """Minimise `fn(x, args)` from `x`, all on the device.

    Args:
        fn: a scalar function, or one of a scalar and a dict of scalars to record; must not close
            over large arrays.
        x: the starting point, any shape, float32.
        args: the function's data; may hold ramps, as in `advance`.
        optimizer: which method, by name, as an `Optimizer`, or any optax transformation.
        learning_rate: 1.0 for L-BFGS; ignored by the line search and by a transformation of your
            own. May be a `Ramp`.
        evaluations: function evaluations, line searches included.

    Returns:
        The last state (`best_x`, `best`) and the trace. Pure: works under `jit` and `vmap`.
    """
    if not isinstance(optimizer, Optimizer):
        optimizer = Optimizer(optimizer)
    found = jax.eval_shape(fn, x, schedules.at(args, 0))
    recorded = fn if isinstance(found, tuple) else Recorded(fn)
    state = start(optimizer, x)
    return advance(
        recorded, optimizer, state, args, learning_rate, evaluations, capacity=evaluations
    )


@dataclass(frozen=True)
class Recorded:
    """A scalar function as `advance` takes it: the value is the one term, `total`."""

    fn: Callable[..., Float[Array, ""]]

    def __call__(self, x: Array, args: Any) -> tuple[Array, dict[str, Array]]:
        """The value, and the value by name."""
        value = self.fn(x, args)
        return value, {"total": value}


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


@partial(jax.jit, static_argnames="optimizer", donate_argnames="state")
def renewed(optimizer: Optimizer, state: State) -> State:
    """The state where the function is another from here on; gives up `state`.

    Totals do not compare with those before, and L-BFGS takes up no pair of the two functions.
    """
    infinity = jnp.full_like(state.best, jnp.inf)
    state = state._replace(best=infinity, first=infinity, first_value=infinity)
    moved = jnp.ones((), bool)
    return state._replace(optimizer=without_pair_where(moved, optimizer, state.optimizer))


def _averaged(optimizer: Optimizer, mean: Mean | None, x: Array) -> Mean | None:
    if mean is None:
        return None
    new = 1 - optimizer.average
    return Mean(optimizer.average * mean.sum + new * x, optimizer.average * mean.weight + new)


@partial(
    jax.jit,
    static_argnames=("fn", "optimizer", "capacity"),
    donate_argnames="state",
)
def advance_jit(fn, optimizer, state, args, learning_rate, until, *, capacity):
    """`advance`, compiled once for each function, optimizer, shapes; gives up `state`."""
    return advance(fn, optimizer, state, args, learning_rate, until, capacity=capacity)


start_jit = jax.jit(start, static_argnames="optimizer")

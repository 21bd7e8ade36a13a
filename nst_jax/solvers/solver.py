"""Minimise any `fn(x, args) -> (value, terms)` with optax, in a loop on the device.

The unknown x is one array. All functions are pure and work under `jit` and `vmap`. The number of
evaluations is an argument of `advance`, so one compilation serves chunks of any length. After a
blow-up the loop returns to the best point and restarts the optimiser.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from nst_jax.options import Method
from nst_jax.programs import jit
from nst_jax.solvers import schedules
from nst_jax.solvers.optimizer import (
    Optimizer,
    begun,
    linesearch_evaluations,
    restart_where,
    transformation,
    without_pair_where,
)
from nst_jax.solvers.schedules import Ramp

Function = Callable[[Array, Any], tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]


class Mean(NamedTuple):
    """An average with exponentially decaying weights: the weighted sum and the sum of weights."""

    sum: Array
    weight: Float[Array, "..."]


class State(NamedTuple):
    """Everything that a minimisation carries from one evaluation to the next.

    Attributes:
        x: the next point to evaluate.
        optimizer: state of the optax transformation.
        best_x: the best point evaluated so far.
        best: the total at `best_x`; see `advance` for total and value.
        first: the total at the first evaluation.
        first_value: the value at the first evaluation.
        evaluations: function evaluations so far.
        restarts: blow-ups so far.
        mean: average of the points, if the optimiser keeps one.
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
    """A record of one call of `advance`, with one row for each step.

    Attributes:
        terms: the terms of the function, by name.
        evaluations: function evaluations up to the end of each step. A step with a line search
            takes several.
        restarted: whether the step blew up.
        steps: how many rows are filled; the rest is padding.
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
    # optax leaves Python numbers in some states. Their weak types would compile `advance` twice.
    opt_state = jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), opt_state)
    opt_state = begun(optimizer, opt_state, x.size)
    mean = Mean(jnp.zeros_like(x), jnp.zeros((), x.dtype)) if optimizer.average else None
    return State(x, opt_state, x, infinity, infinity, infinity, zero, zero, mean)


def point(state: State) -> Array:
    """The result so far: the average of the points if the optimiser keeps one, or the best point.

    The state may have a leading axis of lanes.
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
    """Continue the minimisation up to a number of function evaluations.

    A line search that has begun is finished, so the count may end above `until`.

    Args:
        fn: `fn(x, args) -> (value, terms)`. The value is minimised. The terms are recorded; if they
            include `"total"`, it decides which point is best. Static: pass the same function object
            again, or it is compiled again.
        optimizer: static part of the solver.
        state: from `start` or an earlier call.
        args: the function's data, a pytree. In place of a `Ramp` in it, `fn` gets the ramp's value
            at the current count of evaluations. A ramp changes the value, but must not change
            `terms["total"]`. L-BFGS stores no curvature pair across such a change.
        learning_rate: 1.0 for L-BFGS; ignored by the line search. May be a `Ramp` too.
        until: the count of evaluations at which to end, at most `capacity` above the state's;
            traced.
        capacity: rows of the returned trace; static.

    Returns:
        The new state and the trace of these evaluations.
    """
    # Traced here for the shapes of the terms; jit saves tracing it a second time in the loop.
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
        # Under x64, a function may compute in float64.
        value = value.astype(state.best.dtype)
        total = terms.get("total", value).astype(state.best.dtype)
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
            value_fn=lambda x: fn(x, now)[0].astype(value.dtype),
        )
        x = cast(Array, optax.apply_updates(state.x, updates))
        if optimizer.bounds is not None:
            x = jnp.clip(x, *optimizer.bounds)
        searched = jnp.asarray(linesearch_evaluations(optimizer, opt_state), jnp.int32)
        used = state.evaluations + 1 + searched
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
            restarts=state.restarts + blown.astype(jnp.int32),
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
    """Minimise `fn(x, args)` from `x`, entirely on the device.

    Args:
        fn: returns a scalar, or a scalar and a dict of scalars to record. It must not close over
            large arrays.
        x: the starting point, any shape, float32.
        args: the function's data; may hold ramps, as in `advance`.
        optimizer: name of a method, an `Optimizer`, or any optax transformation.
        learning_rate: 1.0 for L-BFGS; ignored by the line search and by an optax transformation.
            May be a `Ramp`.
        evaluations: number of function evaluations, line searches included.

    Returns:
        The last state (with `best_x` and `best`) and the trace.
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
    """A scalar function in the form that `advance` takes; its value is the only term, `total`."""

    fn: Callable[..., Float[Array, ""]]

    def __call__(self, x: Array, args: Any) -> tuple[Array, dict[str, Array]]:
        """The value, and a dict with the value as `total`."""
        value = self.fn(x, args)
        return value, {"total": value}


def _blown_up(value: Array, total: Array, grad: Array, state: State) -> Bool[Array, ""]:
    """Whether value or gradient is not finite, or the run got far worse than its start.

    The second counts only once the run has improved on its start: L-BFGS does not recover from it
    by itself. Value and total must both be far above the start, since a ramp may raise one of them
    without harm.
    """
    finite = jnp.isfinite(value) & jnp.isfinite(jnp.sum(jnp.abs(grad)))
    improved = state.best < state.first
    far = _far_above(value, state.first_value) & _far_above(total, state.first)
    return ~finite | (improved & far)


def _far_above(value: Array, first: Array) -> Bool[Array, ""]:
    return value > first + jnp.abs(first) / 2


@jit(static=["optimizer"], donated="state")
def renewed(optimizer: Optimizer, state: State) -> State:
    """Prepare a state for a change of the function's data; `state` is donated.

    The best and the first total are forgotten, since later totals do not compare with them. L-BFGS
    stores no curvature pair across the change.
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


@jit(static=["fn", "optimizer", "capacity"], donated="state")
def advance_jit(fn, optimizer, state, args, learning_rate, until, *, capacity):
    """`advance`, compiled once for each function, optimizer and shapes; `state` is donated."""
    return advance(fn, optimizer, state, args, learning_rate, until, capacity=capacity)


start_jit = jit(static=["optimizer"])(start)

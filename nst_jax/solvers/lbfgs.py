"""The direction of L-BFGS as an optax transformation. Step sizes and line searches are optax's.

It replaces optax's own L-BFGS for two reasons. That one loops over every slot of its history,
filled or not, which costs a tenth of an evaluation at 512 px. And it takes up curvature pairs of
negative curvature, with which runs at 512 px diverge.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

# Least curvature y.s of a pair that is taken up; the same as in torch.optim.LBFGS.
_MIN_CURVATURE = 1e-10
# Until there is a pair, the scale of the step grows by this factor at each update. Otherwise, with
# negative curvature at the start, all steps would have norm 1 (seen: 500 of them at 512 px).
_LONGER = 2


class LBFGSState(NamedTuple):
    """The memory of L-BFGS. Setting `pairs`, `steps`, `scale` and `length` to zero erases it.

    Attributes:
        x: the last point.
        gradient: the gradient at `x`.
        s: differences of successive points, one for each pair.
        y: differences of successive gradients, one for each pair.
        rho: 1 / (y.s) of each pair.
        scale: factor on the preconditioner P in the first guess of the inverse Hessian: `stretch`
            times y.s / y.Py of the newest pair. Before there is a pair, the update is this factor
            times P times the gradient. 0 before the first update.
        length: norm of the last update.
        pairs: number of pairs taken up so far.
        steps: number of updates so far.
    """

    x: Array
    gradient: Array
    s: Float[Array, "history ..."]
    y: Float[Array, "history ..."]
    rho: Float[Array, " history"]
    scale: Float[Array, ""]
    length: Float[Array, ""]
    pairs: Int[Array, ""]
    steps: Int[Array, ""]


def scale_by_lbfgs(
    history: int,
    precondition: Callable[[Array], Array] = lambda direction: direction,
    stretch: float = 1.0,
    widening: float = 0.0,
    growth: float = 1e3,
) -> optax.GradientTransformation:
    """Multiply gradients by L-BFGS's inverse Hessian (Nocedal & Wright 2006, algorithm 7.4).

    The unknown is a single array. The first update has at most norm 1. Until there is a curvature
    pair, the scale of each update is twice that of the one before. A pair without positive
    curvature is not taken up, as in `torch.optim.LBFGS`.

    Args:
        history: number of curvature pairs to keep.
        precondition: P, a linear, symmetric and positive map: the first guess of the inverse
            Hessian, up to its scale. At the first update, sqrt(g.Pg) of the scaled gradient g is
            then at most 1, instead of the norm.
        stretch: factor on the scale of the first guess. The usual scale y.s / y.Py is set by the
            largest curvatures, and is too small along all other directions.
        widening: share by which the first guess grows with each pair that is kept. The more pairs
            there are, the more of the large curvatures they cover.
        growth: no update is more than this many times as long as the last one, however small the
            curvature along it is.
    """

    def init(params: optax.Params) -> LBFGSState:
        x = jnp.asarray(params)
        zero, memory = jnp.zeros((), jnp.int32), jnp.zeros((history, *x.shape), x.dtype)
        return LBFGSState(
            x=jnp.zeros_like(x),
            gradient=jnp.zeros_like(x),
            s=memory,
            y=memory,
            rho=jnp.zeros(history, x.dtype),
            scale=jnp.zeros((), x.dtype),
            length=jnp.zeros((), x.dtype),
            pairs=zero,
            steps=zero,
        )

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, LBFGSState]:
        gradient = jnp.asarray(updates)
        before = cast(LBFGSState, state)
        state = _remember(before, jnp.asarray(params), gradient, precondition, stretch)
        # With a branch, P is applied for the first scale only when there is none yet.
        scale = jax.lax.cond(
            state.scale > 0, lambda: state.scale, lambda: _first_scale(gradient, precondition)
        )
        q, alphas = _to_oldest(state, gradient)
        wider = 1 + widening * jnp.minimum(state.pairs, history).astype(state.scale.dtype)
        update = _to_newest(state, wider * scale * precondition(q), alphas)
        wanted = jnp.sqrt(jnp.vdot(update, update))
        length = jnp.where(state.length > 0, jnp.minimum(wanted, growth * state.length), wanted)
        update *= jnp.where(wanted > length, length / wanted, 1)
        return update, state._replace(scale=scale, length=length)

    return optax.GradientTransformation(init, update)


def _first_scale(gradient: Array, precondition: Callable[[Array], Array]) -> Array:
    """The factor on a gradient g that makes sqrt(g.Pg) 1; 1 if that is smaller already."""
    norm = jnp.sqrt(jnp.vdot(gradient, precondition(gradient)))
    return jnp.minimum(1.0, 1.0 / norm)


def _remember(
    state: LBFGSState,
    x: Array,
    gradient: Array,
    precondition: Callable[[Array], Array],
    stretch: float,
) -> LBFGSState:
    """Store the newest pair, if there is one and its curvature is positive."""
    s, y = x - state.x, gradient - state.gradient
    curvature = jnp.vdot(s, y)
    there = state.steps > 0
    good = there & (curvature > _MIN_CURVATURE)
    # After an update of length zero (a gradient of zero) the scale need not grow.
    alone = there & (state.pairs == 0) & (state.length > 0)
    longer = jnp.where(alone, _LONGER * state.scale, state.scale)
    slot = state.pairs % state.rho.size

    def put(memory: Array, value: Array) -> Array:
        return memory.at[slot].set(jnp.where(good, value, memory[slot]))

    return LBFGSState(
        x=x,
        gradient=gradient,
        length=state.length,
        s=put(state.s, s),
        y=put(state.y, y),
        rho=put(state.rho, 1 / curvature),
        scale=jnp.where(good, stretch * curvature / jnp.vdot(y, precondition(y)), longer),
        pairs=state.pairs + good.astype(jnp.int32),
        steps=state.steps + 1,
    )


def _to_oldest(state: LBFGSState, gradient: Array) -> tuple[Array, Array]:
    """The first loop of the algorithm, from the newest pair to the oldest."""
    history = state.rho.size

    def body(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, alphas = carry
        slot = (state.pairs - 1 - i) % history
        alpha = state.rho[slot] * jnp.vdot(state.s[slot], q)
        return q - alpha * state.y[slot], alphas.at[slot].set(alpha)

    filled = jnp.minimum(state.pairs, history)
    return jax.lax.fori_loop(0, filled, body, (gradient, jnp.zeros_like(state.rho)))


def _to_newest(state: LBFGSState, r: Array, alphas: Array) -> Array:
    """The second loop, from the oldest pair to the newest."""
    history = state.rho.size
    filled = jnp.minimum(state.pairs, history)

    def body(i: Array, r: Array) -> Array:
        slot = (state.pairs - filled + i) % history
        beta = state.rho[slot] * jnp.vdot(state.y[slot], r)
        return r + (alphas[slot] - beta) * state.s[slot]

    return jax.lax.fori_loop(0, filled, body, r)

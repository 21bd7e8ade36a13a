"""L-BFGS as an optax transformation: the direction alone; steps and line searches are optax's.

optax's own keeps every slot of its history in both of its loops, filled or not, and takes up pairs
of negative curvature; at 512 px the first costs a tenth of an evaluation, the second diverges.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

# torch.optim.LBFGS takes up a pair only above this curvature; so does every peer built on it.
_MIN_CURVATURE = 1e-10
# Where the curvature is negative at first, steps of norm 1 would go on for ever (seen: 500 of them
# at 512 px): until there is a pair, gradients are multiplied by so many times as much each time.
_LONGER = 2


class LBFGSState(NamedTuple):
    """What L-BFGS remembers; setting `pairs`, `steps`, `scale` and `length` to zero forgets it.

    `s` and `y` hold the last differences of points and of gradients, `rho` 1 / (y.s); `pairs`
    counts those taken up, `steps` the updates; `scale` is the stretch times y.s / y.Py of the last
    pair; before there is one, P times the gradient times it is the step; 0 before the first.
    `length` is the last update's norm.
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

    The unknown is a single array. The first update has norm 1 at most; until there is a pair, the
    next ones double. A pair without positive curvature is not taken up, as in `torch.optim.LBFGS`.

    Args:
        history: pairs to keep; both loops run over those that are there.
        precondition: P, linear, symmetric and positive: a first guess, but for its scale, of the
            inverse Hessian. Norms are then those of P, the root of g.Pg.
        stretch: how many times the usual scale that guess gets: y.s / y.Py is set by the largest
            curvatures, and so is short for all others.
        widening: by which share of itself the guess grows with each pair that is kept: the more of
            them there are, the more of the large curvatures they know.
        growth: no update is more than so many times as long as the last, however little curvature
            there is along it.
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
        # A branch: what P costs is not paid at each step.
        scale = jax.lax.cond(
            state.scale > 0, lambda: state.scale, lambda: _first_scale(gradient, precondition)
        )
        q, alphas = _to_oldest(state, gradient)
        wider = 1 + widening * jnp.minimum(state.pairs, history)
        update = _to_newest(state, wider * scale * precondition(q), alphas)
        wanted = jnp.sqrt(jnp.vdot(update, update))
        length = jnp.where(state.length > 0, jnp.minimum(wanted, growth * state.length), wanted)
        update *= jnp.where(wanted > length, length / wanted, 1)
        return update, state._replace(scale=scale, length=length)

    return optax.GradientTransformation(init, update)


def _first_scale(gradient: Array, precondition: Callable[[Array], Array]) -> Array:
    """With which P times the gradient has norm 1, or is the step if it is no longer than that."""
    norm = jnp.sqrt(jnp.vdot(gradient, precondition(gradient)))
    return jnp.minimum(1.0, 1.0 / norm)


def _remember(
    state: LBFGSState,
    x: Array,
    gradient: Array,
    precondition: Callable[[Array], Array],
    stretch: float,
) -> LBFGSState:
    """Take up the newest pair, if there is one and its curvature is positive."""
    s, y = x - state.x, gradient - state.gradient
    curvature = jnp.vdot(s, y)
    there = state.steps > 0
    good = there & (curvature > _MIN_CURVATURE)
    # At a gradient of zero nothing asks for longer steps.
    alone = there & (state.pairs == 0) & (state.length > 0)
    longer = jnp.where(alone, _LONGER, 1) * state.scale
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
        pairs=state.pairs + good,
        steps=state.steps + 1,
    )


def _to_oldest(state: LBFGSState, gradient: Array) -> tuple[Array, Array]:
    """The first of the two loops, from the newest pair to the oldest."""
    history = state.rho.size

    def body(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, alphas = carry
        slot = (state.pairs - 1 - i) % history
        alpha = state.rho[slot] * jnp.vdot(state.s[slot], q)
        return q - alpha * state.y[slot], alphas.at[slot].set(alpha)

    filled = jnp.minimum(state.pairs, history)
    return jax.lax.fori_loop(0, filled, body, (gradient, jnp.zeros_like(state.rho)))


def _to_newest(state: LBFGSState, r: Array, alphas: Array) -> Array:
    """The second, back."""
    history = state.rho.size
    filled = jnp.minimum(state.pairs, history)

    def body(i: Array, r: Array) -> Array:
        slot = (state.pairs - filled + i) % history
        beta = state.rho[slot] * jnp.vdot(state.y[slot], r)
        return r + (alphas[slot] - beta) * state.s[slot]

    return jax.lax.fori_loop(0, filled, body, r)

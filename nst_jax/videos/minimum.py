"""Draw a frame: minimise its problem, from a start that is nearly a minimum."""

from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.devices import memory_watched
from nst_jax.solvers import loop, solver
from nst_jax.solvers.optimizer import Optimizer
from nst_jax.solvers.outcome import Carried
from nst_jax.solvers.stopping import Limits
from nst_jax.stylizing.problem import Problem

# Root mean square of the first step of a frame, in 0..units of 255. Steps from norm 1 would need
# ten evaluations to grow.
_STEP = 0.5


def begun(optimizer: Optimizer, x: Float[Array, "h w c"]) -> solver.State:
    """The state before the first evaluation, where the first step is neither tiny nor a leap."""
    state = solver.start_jit(optimizer, x)
    if optimizer.method != "lbfgs":
        return state
    memory, *rest = cast(tuple, state.optimizer)
    # The first step is as long as the limit on the growth of steps lets it be.
    length = jnp.full_like(memory.length, _STEP * x.size**0.5 / optimizer.growth)
    memory = memory._replace(scale=jnp.ones_like(memory.scale), length=length)
    return state._replace(optimizer=(memory, *rest))


def minimum(
    problem: Problem, evaluations: int, seconds: float | None = None, *, begin: bool = False
) -> Float[np.ndarray, "h w 3"]:
    """The picture that minimises a problem, in [0, 1].

    Args:
        problem: the problem.
        evaluations: how many evaluations it may take.
        seconds: how long; None for any time.
        begin: whether its start is nearly a minimum; see `begun`.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    state = begun if begin else solver.start_jit
    with memory_watched():
        outcome = loop.run(
            problem.fn,
            problem.optimizer,
            Carried(state(problem.optimizer, problem.x)),
            problem.args,
            learning_rate=problem.learning_rate,
            limits=Limits(evaluations, seconds),
            renewal=problem.renewal,
        )
    if outcome.status == "interrupted":
        raise KeyboardInterrupt
    return np.asarray(problem.picture(outcome.x))


def lowered(problem: Problem) -> Any:
    """The program of a problem, to be compiled ahead."""
    fn, optimizer, x, args, learning_rate, *_ = problem
    return loop.lowered(fn, optimizer, x, args, learning_rate)

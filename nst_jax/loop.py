"""The loop on the host: chunks of evaluations, progress, Ctrl-C; the device never waits for it."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax import solvers

Status = Literal["finished", "interrupted", "stopped", "diverged"]

_CAPACITY = 64
_CHUNK_SECONDS = 0.5
_MAX_FAILURES = 3


@dataclass(frozen=True)
class Progress:
    """What a callback sees after each chunk.

    `x` is the best point so far (a device array), `losses` the terms at the last evaluation.
    """

    evaluations: int
    losses: dict[str, float]
    x: Array


@dataclass(frozen=True)
class Outcome:
    """The best point found, and how it went; `losses[name][i]` belongs to `evaluations[i]`."""

    x: Array
    losses: dict[str, Float[np.ndarray, " n"]]
    evaluations: Int[np.ndarray, " n"]
    status: Status
    restarts: int
    compile_seconds: float
    run_seconds: float


def run(
    fn: solvers.Function,
    optimizer: solvers.Optimizer,
    x: Float[Array, "..."],
    args: Any,
    *,
    learning_rate: float,
    iterations: int,
    report: Callable[[Progress], bool | None] | None = None,
) -> Outcome:
    """Minimise `fn` from `x`, reporting as it goes.

    Chunk k+1 is dispatched before chunk k's losses are fetched, so the device is never idle; the
    first chunk is a single evaluation, later ones take about half a second.

    Args:
        fn: see `solvers.advance`.
        optimizer: static part of the solver.
        x: the starting point.
        args: the function's data.
        learning_rate: in the units of `x`.
        iterations: function evaluations.
        report: called after each chunk; a true result stops the run.

    Returns:
        The outcome; after Ctrl-C and after a blow-up that restarts do not cure, the best so far.
    """
    began = time.perf_counter()
    dispatched = 0
    state = solvers.start_jit(optimizer, x)

    def dispatch(evaluations: int) -> tuple[solvers.Trace, Array]:
        nonlocal state, dispatched
        dispatched += evaluations
        state, trace = solvers.advance_jit(
            fn, optimizer, state, args, learning_rate, evaluations, capacity=_CAPACITY
        )
        # A copy: the state itself is given up to the next chunk.
        return trace, jnp.copy(state.best_x)

    history: list[solvers.Trace] = []
    status: Status = "finished"
    length = 1
    chunk: tuple[solvers.Trace, Array] | None = dispatch(1)
    compiled = time.perf_counter()  # dispatching returns when compilation is done
    last = compiled
    try:
        while chunk is not None:
            left = iterations - dispatched
            following = dispatch(min(length, left)) if left > 0 else None
            trace, best = chunk
            trace = jax.device_get(trace)
            history.append(trace)
            now = time.perf_counter()
            per_evaluation = (now - last) / max(int(trace.steps), 1)
            length = int(np.clip(_CHUNK_SECONDS / max(per_evaluation, 1e-9), 1, _CAPACITY))
            last = now
            if _warn_of_blow_up(trace) >= _MAX_FAILURES:
                status = "diverged"
                break
            if report and report(_progress(trace, best)) and following is not None:
                status = "stopped"
                break
            chunk = following
    except KeyboardInterrupt:
        status = "interrupted"
    best_x = jax.block_until_ready(state.best_x)
    losses, evaluations = _join(history, iterations)
    return Outcome(
        x=best_x if np.isfinite(state.best) else x,
        losses=losses,
        evaluations=evaluations,
        status=status,
        restarts=int(state.restarts),
        compile_seconds=compiled - began,
        run_seconds=time.perf_counter() - compiled,
    )


def _progress(trace: solvers.Trace, best: Array) -> Progress:
    i = int(trace.steps) - 1
    losses = {name: float(values[i]) for name, values in trace.terms.items()}
    return Progress(int(trace.evaluations[i]), losses, best)


def _join(
    history: list[solvers.Trace], iterations: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The filled rows of all chunks, in order."""
    if not history:
        return {}, np.zeros(0, np.int32)
    names = history[0].terms
    losses = {k: np.concatenate([t.terms[k][: t.steps] for t in history]) for k in names}
    return losses, np.concatenate([t.evaluations[: t.steps] for t in history])


def _warn_of_blow_up(trace: solvers.Trace) -> int:
    """Say which term blew up, when, and what helps; returns how many blow-ups in a row end it."""
    steps = int(trace.steps)
    blown = np.flatnonzero(trace.restarted[:steps])
    if blown.size == 0:
        return 0
    first = blown[0]
    terms = [k for k, v in trace.terms.items() if not np.isfinite(v[first]) and k != "total"]
    what = f"{', '.join(terms)} became non-finite" if terms else "the loss blew up"
    warnings.warn(
        f"At evaluation {trace.evaluations[first]} {what}; went back to the best picture and "
        "restarted the optimiser. If this repeats: lower the loss weights or the learning rate, "
        "use precision 'float32', or optimizer 'adam'.",
        RuntimeWarning,
        stacklevel=4,
    )
    in_a_row = steps - 1 - np.flatnonzero(~trace.restarted[:steps])[-1:].sum()
    return int(in_a_row)

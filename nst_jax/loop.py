"""The loop on the host: chunks of evaluations, progress, Ctrl-C; the device never waits for it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax import solvers
from nst_jax.endings import Limits, Rows, Status, Watch
from nst_jax.ramps import Ramp

_CAPACITY = 64
_CHUNK_SECONDS = 0.5


@dataclass(frozen=True)
class Progress:
    """What a callback sees after each chunk.

    `x` is the best point so far (a device array), `losses` the terms at the last evaluation.
    """

    evaluations: int
    losses: dict[str, float]
    x: Array


class Carried(NamedTuple):
    """All that a run needs to go on as if it had never stopped."""

    state: solvers.State
    rows: Rows | None = None
    compile_seconds: float = 0.0
    run_seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """The best point found, and how it went; `losses[name][i]` belongs to `evaluations[i]`.

    `state` is the solver's: the last where the run ended at its limit or on a plateau.
    """

    x: Array
    losses: dict[str, Float[np.ndarray, " n"]]
    evaluations: Int[np.ndarray, " n"]
    status: Status
    restarts: int
    compile_seconds: float
    run_seconds: float
    state: solvers.State


class _Chunk(NamedTuple):
    """What is left of one dispatch when its state has been given up to the next."""

    trace: solvers.Trace
    best_x: Array


def run(
    fn: solvers.Function,
    optimizer: solvers.Optimizer,
    start: Float[Array, "..."] | Carried,
    args: Any,
    *,
    learning_rate: float | Ramp,
    limits: Limits,
    report: Callable[[Progress], bool | None] | None = None,
    marks: Sequence[int] = (),
    keep: Callable[[Carried], None] | None = None,
    keep_every: int = 100,
) -> Outcome:
    """Minimise `fn` from a point, reporting as it goes.

    Chunk k+1 is dispatched before chunk k's losses are fetched, so the device is never idle; the
    first chunk is a single evaluation, later ones take about half a second. How long they are
    changes no result: a chunk ends wherever something depends on it.

    Args:
        fn: see `solvers.advance`; its terms include `"total"`.
        optimizer: static part of the solver.
        start: the starting point, or what an earlier run carried, which is given up.
        args: the function's data.
        learning_rate: in the units of `start`.
        limits: when to end; the count of evaluations goes on where the earlier run's ended.
        report: called after each chunk; a true result stops the run.
        marks: a chunk ends at every multiple of each of these numbers of evaluations.
        keep: called at every multiple of `keep_every` evaluations with what is needed to go on
            from there; the device waits.
        keep_every: evaluations between two of these calls.

    Returns:
        The outcome; after Ctrl-C, and after three blow-ups with no better point between them, the
        best so far.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first evaluation was done.
    """
    began = time.perf_counter()
    if not isinstance(start, Carried):
        start = Carried(solvers.start_jit(optimizer, start))
    state, asked = start.state, int(start.state.evaluations)
    # A chunk ends at their multiples, and the next begins when it is known what has come of it.
    waits = [keep_every] * (keep is not None) + [limits.patience] * (limits.tolerance > 0)

    def dispatch(evaluations: int) -> _Chunk | None:
        nonlocal state, asked
        room = [period - asked % period for period in (*marks, *waits)]
        evaluations = min(evaluations, limits.iterations - asked, *room)
        if evaluations <= 0:
            return None
        asked += evaluations
        # What a line search took beyond its chunk is missing from the next.
        remaining = asked - state.evaluations
        state, trace = solvers.advance_jit(
            fn, optimizer, state, args, learning_rate, remaining, capacity=_CAPACITY
        )
        return _Chunk(trace, jnp.copy(state.best_x))

    watch = Watch(limits, start.rows)
    best_x = jnp.copy(state.best_x)
    length, done, seconds = 1, asked, start.run_seconds
    chunk = dispatch(1)
    compiled = last = time.perf_counter()  # dispatching returns when compilation is done
    compile_seconds = start.compile_seconds + compiled - began
    status: Status | None = None
    try:
        while chunk is not None:
            waiting = any(asked % period == 0 for period in waits)
            end = asked
            following = None if waiting else dispatch(length)
            rows = _fetch(chunk.trace)
            if rows.evaluations.size:
                best_x = chunk.best_x
                now, before, done = time.perf_counter(), done, int(rows.evaluations[-1])
                each = max((now - last) / (done - before), 1e-9)
                length, last = int(np.clip(_CHUNK_SECONDS / each, 1, _CAPACITY)), now
                seconds = start.run_seconds + now - compiled
                more = end < limits.iterations
                if watch.diverged(rows):
                    status = "diverged"
                elif report and report(_progress(rows, best_x)) and more:
                    status = "stopped"
                elif more:
                    status = watch.ended(end, compile_seconds + seconds)
                if status:
                    break
                if keep and end % keep_every == 0:
                    keep(Carried(state, watch.rows, compile_seconds, seconds))
            chunk = dispatch(length) if waiting else following
    except KeyboardInterrupt:
        if watch.rows is None:
            raise
        status = "interrupted"
    jax.block_until_ready(best_x)
    rows = cast(Rows, watch.rows)
    return Outcome(
        x=best_x,
        losses=rows.terms,
        evaluations=rows.evaluations,
        status=status or "finished",
        restarts=int(rows.restarted.sum()),
        compile_seconds=compile_seconds,
        run_seconds=start.run_seconds + time.perf_counter() - compiled,
        state=state,
    )


def _fetch(trace: solvers.Trace) -> Rows:
    terms, evaluations, restarted, steps = jax.device_get(trace)
    return Rows({k: v[:steps] for k, v in terms.items()}, evaluations[:steps], restarted[:steps])


def _progress(rows: Rows, best_x: Array) -> Progress:
    losses = {name: float(values[-1]) for name, values in rows.terms.items()}
    return Progress(int(rows.evaluations[-1]), losses, best_x)

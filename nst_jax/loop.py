"""The loop on the host: chunks of evaluations, progress, Ctrl-C; the device never waits for it."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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


class _Chunk(NamedTuple):
    """What is left of one dispatch when its state has been given up to the next."""

    trace: solvers.Trace
    best_x: Array


class _Rows(NamedTuple):
    """The filled rows of a trace, on the host."""

    terms: dict[str, np.ndarray]
    evaluations: np.ndarray
    restarted: np.ndarray


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
    first chunk is a single evaluation, later ones take about half a second. How long they are
    changes no result.

    Args:
        fn: see `solvers.advance`; its terms include `"total"`.
        optimizer: static part of the solver.
        x: the starting point.
        args: the function's data.
        learning_rate: in the units of `x`.
        iterations: function evaluations (a started line search is finished).
        report: called after each chunk; a true result stops the run.

    Returns:
        The outcome; after Ctrl-C, and after three blow-ups with no better point between them, the
        best so far.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first evaluation was done.
    """
    began = time.perf_counter()
    asked = 0
    state = solvers.start_jit(optimizer, x)

    def dispatch(evaluations: int) -> _Chunk:
        nonlocal state, asked
        asked += evaluations
        # What a line search took beyond its chunk is missing from the next.
        remaining = asked - state.evaluations
        state, trace = solvers.advance_jit(
            fn, optimizer, state, args, learning_rate, remaining, capacity=_CAPACITY
        )
        return _Chunk(trace, jnp.copy(state.best_x))

    history: list[_Rows] = []
    blow_ups = _BlowUps()
    status: Status = "finished"
    length, done = 1, 0
    chunk: _Chunk | None = dispatch(1)
    compiled = last = time.perf_counter()  # dispatching returns when compilation is done
    best_x = x
    try:
        while chunk is not None:
            left = iterations - asked
            following = dispatch(min(length, left)) if left > 0 else None
            rows = _fetch(chunk.trace)
            if rows.evaluations.size:
                best_x = chunk.best_x
                history.append(rows)
                now, before, done = time.perf_counter(), done, int(rows.evaluations[-1])
                seconds = max((now - last) / (done - before), 1e-9)
                length, last = int(np.clip(_CHUNK_SECONDS / seconds, 1, _CAPACITY)), now
                if blow_ups.too_many(rows):
                    status = "diverged"
                    break
                if report and report(_progress(rows, best_x)) and following is not None:
                    status = "stopped"
                    break
            chunk = following
    except KeyboardInterrupt:
        if not history:
            raise
        status = "interrupted"
    jax.block_until_ready(best_x)
    return Outcome(
        x=best_x,
        losses={k: np.concatenate([rows.terms[k] for rows in history]) for k in history[0].terms},
        evaluations=np.concatenate([rows.evaluations for rows in history]),
        status=status,
        restarts=int(sum(rows.restarted.sum() for rows in history)),
        compile_seconds=compiled - began,
        run_seconds=time.perf_counter() - compiled,
    )


def _fetch(trace: solvers.Trace) -> _Rows:
    terms, evaluations, restarted, steps = jax.device_get(trace)
    return _Rows({k: v[:steps] for k, v in terms.items()}, evaluations[:steps], restarted[:steps])


def _progress(rows: _Rows, best_x: Array) -> Progress:
    losses = {name: float(values[-1]) for name, values in rows.terms.items()}
    return Progress(int(rows.evaluations[-1]), losses, best_x)


class _BlowUps:
    """Counts blow-ups since the last better point; says what the first was, and which is the last.

    Each ends in a restart from the best point, which is then evaluated once more: a fault that the
    optimiser walks into again and again shows only in that nothing gets better.
    """

    def __init__(self):
        self.failures, self.best, self.warned = 0, np.inf, False

    def too_many(self, rows: _Rows) -> bool:
        """Whether the run is to end with these rows."""
        for i, (total, blown) in enumerate(zip(rows.terms["total"], rows.restarted, strict=True)):
            if blown:
                self.failures += 1
                self._warn(rows, i)
                if self.failures == _MAX_FAILURES:
                    return True
            elif total < self.best:
                self.failures, self.best = 0, total
        return False

    def _warn(self, rows: _Rows, i: int) -> None:
        bad = [k for k, v in rows.terms.items() if not np.isfinite(v[i]) and k != "total"]
        what = f"{', '.join(bad)} became non-finite" if bad else "the loss or its gradient blew up"
        if self.failures == _MAX_FAILURES:
            then = f"stopped with the best picture, after {_MAX_FAILURES} blow-ups without progress"
        elif self.warned:
            return
        else:
            then = "went back to the best picture and restarted the optimiser"
        self.warned = True
        warnings.warn(
            f"At evaluation {rows.evaluations[i]} {what}: {then}. What may help: lower weights or "
            "a lower learning rate, precision 'float32', optimizer 'adam'.",
            RuntimeWarning,
            stacklevel=5,
        )

"""The loop on the host: it dispatches chunks of evaluations, reports progress and handles Ctrl-C.

An accelerator waits for the host only where the next chunk depends on the result of the last one.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nst_jax import allocator, interrupt
from nst_jax.programs import jit
from nst_jax.solvers import solver
from nst_jax.solvers.outcome import Carried, Lane, Outcome, Progress
from nst_jax.solvers.stopping import Limits, Rows, Status

# Most evaluations in a chunk: the rows of its trace.
CAPACITY = 64
# Long enough for a CPU, where the first evaluation of each chunk waits for fresh memory: 0.04 to
# 0.1 s at 512 px.
_CHUNK_SECONDS = 3.0

# From (state, args, until) to the new state and its trace; see `solver.advance`.
Advance = Callable[[solver.State, Any, Any], tuple[solver.State, solver.Trace]]


class Renewal(NamedTuple):
    """How the function's data changes during a run.

    Attributes:
        every: evaluations between two changes.
        anew: `anew(x, args, evaluations)` returns the data for the evaluations that follow. `x` is
            the next point to evaluate, `evaluations` the count so far.
    """

    every: int
    anew: Callable[[Array, Any, int], Any]


class _Chunk(NamedTuple):
    """What remains of a dispatched chunk after its state is donated to the next chunk."""

    trace: solver.Trace
    best_x: Array


class Chunks:
    """The host's loop for one run, of a single minimisation or of several lanes."""

    def __init__(
        self,
        start: Carried,
        advance: Advance,
        args: Any,
        running: list[Lane],
        *,
        began: float,
        limits: Limits,
        report: Callable[[list[Progress]], bool | None] | None,
        marks: Sequence[int] = (),
        keep: Callable[[Carried], None] | None = None,
        keep_every: int = 100,
        renewal: Renewal | None = None,
        renewed: Callable[[solver.State], solver.State] | None = None,
    ):
        self._start, self._state, self._args = start, start.state, args
        self._advance, self._lanes, self._began = advance, running, began
        self._limits, self._report = limits, report
        self._keep, self._keep_every = keep, keep_every
        self._renewal, self._renewed, self._anew = renewal, renewed, start.args is not None
        # A chunk ends at every multiple of these periods. At multiples of `_waits`, the next chunk
        # is dispatched only after the result of this one is known.
        self._marks = list(marks)
        self._waits = [keep_every] * (keep is not None) + [limits.patience] * (limits.tolerance > 0)
        if renewal is not None:
            self._waits.append(renewal.every)
        # A CPU has no latency to hide, and would need memory for the temporaries of two chunks.
        self._one_at_a_time = jax.default_backend() == "cpu"
        self._ending: Status = "finished"

    def run(self) -> list[Outcome]:
        """Run to the end and return the outcome of each lane; see `loop.run`, `loop.run_lanes`."""
        self._compile()
        try:
            with interrupt.deferred() as pressed:
                self._go(pressed)
                if pressed():
                    self._ending = "interrupted"
        except KeyboardInterrupt:
            if any(lane.watch.rows is None for lane in self._lanes):
                raise
            self._ending = "interrupted"
        return self._outcomes()

    def _compile(self) -> None:
        """Compile, with a call that makes no evaluations and leaves the state as it was."""
        for lane in self._lanes:
            lane.best_x = _point(self._state)
        # The device may still be computing the targets: this is the first wait for it.
        self._state, _ = self._advance(self._state, self._args, np.int32(0))
        jax.block_until_ready(self._state)
        self._asked = self._done = int(np.max(jax.device_get(self._state.evaluations)))
        self._length = 1
        allocator.release()
        self._compiled = self._last = time.perf_counter()
        self._compile_seconds = self._start.compile_seconds + self._compiled - self._began
        self._seconds = self._start.run_seconds

    def _go(self, pressed: Callable[[], bool]) -> None:
        """Run chunk after chunk, until no evaluations are left or the run ends early."""
        chunk = self._dispatch(1)
        while chunk is not None:
            end = self._asked
            waiting = self._one_at_a_time or any(end % period == 0 for period in self._waits)
            ahead = None if waiting else self._dispatch(self._length)
            if self._take(chunk):
                if self._is_over(end, pressed):
                    return
                self._renew(end)
                self._save(end)
            chunk = self._dispatch(self._length) if waiting else ahead

    def _dispatch(self, evaluations: int) -> _Chunk | None:
        """Dispatch a chunk of at most `evaluations`, which ends at the next mark or at the limit.

        Returns None if no evaluations are left.
        """
        periods = (*self._marks, *self._waits)
        room = [period - self._asked % period for period in periods]
        evaluations = min(evaluations, self._limits.iterations - self._asked, *room)
        if evaluations <= 0:
            return None
        self._asked += evaluations
        self._state, trace = self._advance(self._state, self._args, np.int32(self._asked))
        return _Chunk(trace, _point(self._state))

    def _take(self, chunk: _Chunk) -> bool:
        """Wait for a chunk, pass its rows to the lanes and time it.

        Returns False if it has no rows, because an earlier line search went beyond its end.
        """
        rows = _fetch(chunk.trace)
        counts = [int(r.evaluations[-1]) for r in rows if r.evaluations.size]
        if not counts:
            return False
        for lane in self._lanes:
            lane.take(rows[lane.index or 0], chunk.best_x)
        now, before, self._done = time.perf_counter(), self._done, max(counts)
        each = (now - self._last) / max(self._done - before, 1)
        self._last, self._seconds = now, self._start.run_seconds + now - self._compiled
        self._length = chunk_after(each, self._limits.left(self._spent))
        return True

    @property
    def _spent(self) -> float:
        return self._compile_seconds + self._seconds

    def _is_over(self, end: int, pressed: Callable[[], bool]) -> bool:
        """Report progress after the chunk that ends at `end`; return whether it was the last."""
        more = end < self._limits.iterations
        if not self._goes_on():
            return True
        if self._report and self._report([lane.progress() for lane in self._lanes]) and more:
            self._ending = "stopped"
            return True
        if pressed():
            return True
        for lane in self._lanes if more else ():
            lane.judge(end, self._spent)
        return not self._goes_on()

    def _goes_on(self) -> bool:
        return any(lane.goes_on for lane in self._lanes)

    def _renew(self, end: int) -> None:
        """Renew the function's data, if that is due and there are evaluations left."""
        due = self._renewal and end % self._renewal.every == 0
        if not (due and self._renewal and self._renewed and end < self._limits.iterations):
            return
        self._args, self._anew = self._renewal.anew(self._state.x, self._args, end), True
        self._state = self._renewed(self._state)
        for lane in self._lanes:
            lane.watch.renewed()

    def _save(self, end: int) -> None:
        """Pass everything that is needed to resume from here to `keep`, if that is due."""
        if self._keep and end % self._keep_every == 0:
            args = self._args if self._anew else None
            rows, times = self._lanes[0].watch.rows, (self._compile_seconds, self._seconds)
            self._keep(Carried(self._state, rows, *times, args))

    def _outcomes(self) -> list[Outcome]:
        jax.block_until_ready([lane.best_x for lane in self._lanes])
        seconds = self._start.run_seconds + time.perf_counter() - self._compiled
        count = len(self._lanes)
        shares = self._compile_seconds / count, seconds / count
        return [lane.outcome(self._ending, *shares, self._state) for lane in self._lanes]


def chunk_after(seconds: float, left: float = np.inf) -> int:
    """The number of evaluations in the next chunk, from 1 to `CAPACITY`.

    Args:
        seconds: time for each evaluation.
        left: time until the run's limit.
    """
    return int(np.clip(min(_CHUNK_SECONDS, left) / max(seconds, 1e-9), 1, CAPACITY))


@jit()
def _point(state: solver.State) -> Array:
    return jnp.copy(solver.point(state))


def _fetch(trace: solver.Trace) -> list[Rows]:
    """The rows of each lane, on the host. A trace without an axis of lanes counts as one lane."""
    terms, evaluations, restarted, steps = jax.device_get(trace)
    restarted = np.atleast_2d(restarted)
    # Lanes may share their counts.
    evaluations = np.broadcast_to(evaluations, restarted.shape)
    return [
        Rows(
            {k: np.atleast_2d(v)[i, :n] for k, v in terms.items()},
            evaluations[i, :n],
            restarted[i, :n],
        )
        for i, n in enumerate(np.broadcast_to(steps, len(restarted)))
    ]

"""The loop on the host: chunks of evaluations, progress, Ctrl-C; the device never waits for it."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nst_jax import devices, interrupt
from nst_jax.solvers import solver
from nst_jax.solvers.outcome import Carried, Lane, Outcome, Progress
from nst_jax.solvers.stopping import Limits, Rows, Status

CAPACITY = 64
# On a CPU each chunk's first evaluation waits for fresh memory: 0.04 to 0.1 s at 512 px.
_CHUNK_SECONDS = 3.0

# From a state, data, and a count of evaluations to reach: what there is then, and what happened.
Advance = Callable[[solver.State, Any, Any], tuple[solver.State, solver.Trace]]


class Renewal(NamedTuple):
    """How the function's data changes on the way.

    Every `every` evaluations `anew(x, args, evaluations)` gives the data for those that follow,
    where `x` is the point that is evaluated next.
    """

    every: int
    anew: Callable[[Array, Any, int], Any]


class _Chunk(NamedTuple):
    """What is left of one dispatch when its state has been given up to the next."""

    trace: solver.Trace
    best_x: Array


class Chunks:
    """One run, of one minimisation or of lanes: `run` reads in the order in which it happens."""

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
        # A chunk ends at multiples of all these; at those of the second kind the next begins only
        # when it is known what has come of it.
        self._marks = list(marks)
        self._waits = [keep_every] * (keep is not None) + [limits.patience] * (limits.tolerance > 0)
        if renewal is not None:
            self._waits.append(renewal.every)
        # A CPU has no latency to hide, and would hold the temporaries of both chunks.
        self._one_at_a_time = jax.default_backend() == "cpu"
        self._ending: Status = "finished"

    def run(self) -> list[Outcome]:
        """The outcome of each lane; see `run` and `run_lanes`."""
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
        """No evaluations: this compiles, and leaves the state as it was."""
        for lane in self._lanes:
            lane.best_x = _point(self._state)
        # Nothing before has waited for the device, which computes the targets meanwhile.
        self._state, _ = self._advance(self._state, self._args, np.int32(0))
        jax.block_until_ready(self._state)
        self._asked = self._done = int(np.max(jax.device_get(self._state.evaluations)))
        self._length = 1
        devices.release()
        self._compiled = self._last = time.perf_counter()
        self._compile_seconds = self._start.compile_seconds + self._compiled - self._began
        self._seconds = self._start.run_seconds

    def _go(self, pressed: Callable[[], bool]) -> None:
        """Chunk after chunk, until there are no more evaluations to ask for, or one is the last."""
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
        """Ask for so many evaluations, or fewer where something depends on them."""
        periods = (*self._marks, *self._waits)
        room = [period - self._asked % period for period in periods]
        evaluations = min(evaluations, self._limits.iterations - self._asked, *room)
        if evaluations <= 0:
            return None
        self._asked += evaluations
        self._state, trace = self._advance(self._state, self._args, np.int32(self._asked))
        return _Chunk(trace, _point(self._state))

    def _take(self, chunk: _Chunk) -> bool:
        """Wait for a chunk, take what it brought, and time it; whether that was anything."""
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
        """Whether the chunk up to `end` evaluations was the last; tells what it brought."""
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
        """Give the function new data, where that is due and there are evaluations left."""
        due = self._renewal and end % self._renewal.every == 0
        if not (due and self._renewal and self._renewed and end < self._limits.iterations):
            return
        self._args, self._anew = self._renewal.anew(self._state.x, self._args, end), True
        self._state = self._renewed(self._state)

    def _save(self, end: int) -> None:
        """Give out what is needed to go on from here, where that is due."""
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
    """How many evaluations the next chunk has if each takes so many of the seconds `left`."""
    return int(np.clip(min(_CHUNK_SECONDS, left) / max(seconds, 1e-9), 1, CAPACITY))


_point = jax.jit(lambda state: jnp.copy(solver.point(state)))


def _fetch(trace: solver.Trace) -> list[Rows]:
    """The rows of each lane; a trace without lanes is one. Lanes may share their counts."""
    terms, evaluations, restarted, steps = jax.device_get(trace)
    restarted = np.atleast_2d(restarted)
    evaluations = np.broadcast_to(evaluations, restarted.shape)
    return [
        Rows(
            {k: np.atleast_2d(v)[i, :n] for k, v in terms.items()},
            evaluations[i, :n],
            restarted[i, :n],
        )
        for i, n in enumerate(np.broadcast_to(steps, len(restarted)))
    ]

"""The loop on the host: chunks of evaluations, progress, Ctrl-C; the device never waits for it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from nst_jax import devices, interrupt
from nst_jax.solvers import lanes, solver
from nst_jax.solvers.schedules import Ramp
from nst_jax.solvers.stopping import Limits, Rows, Status, Watch

_CAPACITY = 64
# On a CPU each chunk's first evaluation waits for fresh memory: 0.04 to 0.1 s at 512 px.
_CHUNK_SECONDS = 3.0


@dataclass(frozen=True)
class Progress:
    """What a callback sees after each chunk.

    `x` is the best point so far (a device array), `losses` the terms at the last evaluation, `rows`
    all that happened in the chunk.
    """

    evaluations: int
    losses: dict[str, float]
    x: Array
    rows: Rows


class Carried(NamedTuple):
    """All that a run needs to go on as if it had never stopped."""

    state: solver.State
    rows: Rows | None = None
    compile_seconds: float = 0.0
    run_seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """The best point found, and how it went.

    `state` is the solver's, with all lanes: the last where the run ended at its limit or on a
    plateau; None where nobody goes on from it.
    """

    x: Array
    rows: Rows
    status: Status
    compile_seconds: float
    run_seconds: float
    state: solver.State | None

    @property
    def losses(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Every term; `losses[name][i]` belongs to `evaluations[i]`."""
        return self.rows.terms

    @property
    def evaluations(self) -> Int[np.ndarray, " n"]:
        """The function evaluations used up to each row."""
        return self.rows.evaluations

    @property
    def restarts(self) -> int:
        """How often a blow-up made the optimiser start again."""
        return int(self.rows.restarted.sum())


class _Chunk(NamedTuple):
    """What is left of one dispatch when its state has been given up to the next."""

    trace: solver.Trace
    best_x: Array


def run(
    fn: solver.Function,
    optimizer: solver.Optimizer,
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

    Chunk k+1 is dispatched before chunk k's losses are fetched, so no accelerator is idle; the
    first chunk is a single evaluation, later ones take about three seconds. How long they are
    changes no result: a chunk ends wherever something depends on it.

    Args:
        fn: see `solver.advance`; its terms include `"total"`.
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
        start = Carried(solver.start_jit(optimizer, start))

    def advance(state: solver.State, until: Any) -> tuple[solver.State, solver.Trace]:
        return solver.advance_jit(
            fn, optimizer, state, args, learning_rate, until, capacity=_CAPACITY
        )

    return _run(
        start,
        advance,
        [_Lane(Watch(limits, start.rows))],
        began=began,
        limits=limits,
        report=report and (lambda progress: report(progress[0])),
        marks=marks,
        keep=keep,
        keep_every=keep_every,
    )[0]


def lowered(
    fn: solver.Function,
    optimizer: solver.Optimizer,
    x: Float[Array, "..."],
    args: Any,
    learning_rate: float | Ramp,
) -> jax.stages.Lowered:
    """The program that `run` will ask for; once compiled, `run` finds it in JAX's cache."""
    state = jax.eval_shape(partial(solver.start, optimizer), x)
    return solver.advance_jit.lower(
        fn, optimizer, state, args, learning_rate, np.int32(0), capacity=_CAPACITY
    )


def run_lanes(
    fn: solver.Function,
    optimizer: solver.Optimizer,
    x: Float[Array, "lanes ..."],
    args: Any,
    *,
    axes: Any,
    learning_rate: Any,
    limits: Limits,
    names: Sequence[str],
    mesh: Mesh | None = None,
    report: Callable[[list[Progress]], bool | None] | None = None,
) -> list[Outcome]:
    """`run` for several starting points at once; no lane's outcome depends on the others.

    A lane that has ended (on a plateau, or by diverging) is frozen, and the others go on.

    Args:
        fn: see `run`.
        optimizer: see `run`.
        x: one starting point for each lane.
        args: the function's data, shared or one for each lane; on a mesh, from `devices.place`.
        axes: which parts of `args` have a leading axis of lanes: see `lanes.advance`.
        learning_rate: of each lane, or a `Ramp` of such; on a mesh, from `devices.place`.
        limits: when to end.
        names: what warnings call the first lanes; what `x` has beyond them is padding.
        mesh: devices to spread the lanes over; their number divides that of `x`.
        report: called after each chunk with the progress of every lane; a true result stops all.

    Returns:
        The outcomes of the named lanes; their times are shares of the whole.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first evaluation was done.
    """
    began = time.perf_counter()

    def advance(state: solver.State, until: Any) -> tuple[solver.State, solver.Trace]:
        return lanes.advance(
            fn,
            optimizer,
            axes,
            mesh,
            state,
            args,
            learning_rate,
            until,
            capacity=_CAPACITY,
        )

    return _run(
        Carried(lanes.start(optimizer, mesh, x)),
        advance,
        [_Lane(Watch(limits, name=name), i) for i, name in enumerate(names)],
        began=began,
        limits=limits,
        report=report,
    )


def _run(
    start: Carried,
    advance: Callable[[solver.State, Any], tuple[solver.State, solver.Trace]],
    running: "list[_Lane]",
    *,
    began: float,
    limits: Limits,
    report: Callable[[list[Progress]], bool | None] | None,
    marks: Sequence[int] = (),
    keep: Callable[[Carried], None] | None = None,
    keep_every: int = 100,
) -> list[Outcome]:
    state = start.state
    # A chunk ends at their multiples, and the next begins when it is known what has come of it.
    waits = [keep_every] * (keep is not None) + [limits.patience] * (limits.tolerance > 0)
    # A CPU has no latency to hide, and would hold the temporaries of both chunks.
    one_at_a_time = jax.default_backend() == "cpu"

    def dispatch(evaluations: int) -> _Chunk | None:
        nonlocal state, asked
        room = [period - asked % period for period in (*marks, *waits)]
        evaluations = min(evaluations, limits.iterations - asked, *room)
        if evaluations <= 0:
            return None
        asked += evaluations
        state, trace = advance(state, np.int32(asked))
        return _Chunk(trace, _point(state))

    for lane in running:
        lane.best_x = _point(state)
    # No evaluations: this compiles, and leaves the state as it was. Nothing before has waited for
    # the device, which computes the targets meanwhile.
    state, _ = advance(state, np.int32(0))
    jax.block_until_ready(state)
    asked = int(np.max(jax.device_get(state.evaluations)))
    length, done, seconds = 1, asked, start.run_seconds
    devices.release()
    compiled = last = time.perf_counter()
    chunk = dispatch(1)
    compile_seconds = start.compile_seconds + compiled - began
    ending: Status = "finished"
    try:
        with interrupt.deferred() as pressed:
            while chunk is not None:
                waiting = one_at_a_time or any(asked % period == 0 for period in waits)
                end = asked
                following = None if waiting else dispatch(length)
                rows = _fetch(chunk.trace)
                counts = [int(r.evaluations[-1]) for r in rows if r.evaluations.size]
                if counts:
                    for lane in running:
                        lane.take(rows[lane.index or 0], chunk.best_x)
                    now, before, done = time.perf_counter(), done, max(counts)
                    each = (now - last) / max(done - before, 1)
                    last, seconds = now, start.run_seconds + now - compiled
                    length = chunk_after(each, limits.left(compile_seconds + seconds))
                    more = end < limits.iterations
                    if not any(lane.goes_on for lane in running):
                        break
                    if report and report([lane.progress() for lane in running]) and more:
                        ending = "stopped"
                        break
                    if pressed():
                        break
                    for lane in running if more else ():
                        lane.judge(end, compile_seconds + seconds)
                    if not any(lane.goes_on for lane in running):
                        break
                    if keep and end % keep_every == 0:
                        keep(Carried(state, running[0].watch.rows, compile_seconds, seconds))
                chunk = dispatch(length) if waiting else following
            if pressed():
                ending = "interrupted"
    except KeyboardInterrupt:
        if any(lane.watch.rows is None for lane in running):
            raise
        ending = "interrupted"
    jax.block_until_ready([lane.best_x for lane in running])
    seconds = start.run_seconds + time.perf_counter() - compiled
    shares = compile_seconds / len(running), seconds / len(running)
    return [lane.outcome(ending, *shares, state) for lane in running]


def chunk_after(seconds: float, left: float = np.inf) -> int:
    """How many evaluations the next chunk has if each takes so many of the seconds `left`."""
    return int(np.clip(min(_CHUNK_SECONDS, left) / max(seconds, 1e-9), 1, _CAPACITY))


_point = jax.jit(lambda state: jnp.copy(solver.point(state)))


class _Lane:
    """One of the minimisations that run side by side; `index` is None for one that runs alone."""

    def __init__(self, watch: Watch, index: int | None = None):
        self.watch, self.index = watch, index
        self.status: Status | None = None
        self.best_x: Any = None
        self.last: Any = None

    @property
    def goes_on(self) -> bool:
        return self.status is None

    @property
    def x(self) -> Array:
        return self.best_x if self.index is None else self.best_x[self.index]

    def take(self, rows: Rows, best_x: Array) -> None:
        """Take up what a chunk brought, unless the lane has ended."""
        if self.goes_on and rows.evaluations.size:
            self.best_x, self.last = best_x, rows
            if self.watch.diverged(rows):
                self.status = "diverged"

    def judge(self, end: int, seconds: float) -> None:
        if self.goes_on:
            self.status = self.watch.ended(end, seconds)

    def progress(self) -> Progress:
        losses = {name: float(values[-1]) for name, values in self.last.terms.items()}
        return Progress(int(self.last.evaluations[-1]), losses, self.x, self.last)

    def outcome(
        self, ending: Status, compile_seconds: float, run_seconds: float, state: solver.State
    ) -> Outcome:
        return Outcome(
            x=self.x,
            rows=cast(Rows, self.watch.rows),
            status=self.status or ending,
            compile_seconds=compile_seconds,
            run_seconds=run_seconds,
            state=state,
        )


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

"""Minimise with progress reports: from one starting point, or from several side by side."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from nst_jax.solvers import lanes, solver
from nst_jax.solvers.chunks import CAPACITY, Chunks, Renewal
from nst_jax.solvers.outcome import Carried, Lane, Outcome, Progress
from nst_jax.solvers.schedules import Ramp
from nst_jax.solvers.stopping import Limits, Watch


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
    renewal: Renewal | None = None,
) -> Outcome:
    """Minimise `fn` from a starting point, and report progress.

    Evaluations are dispatched to the device in chunks. The first chunk is one evaluation; later
    ones take about three seconds. On an accelerator the next chunk is dispatched before the losses
    of the last one are fetched, so that the device is never idle. The lengths of the chunks do not
    change the result.

    Args:
        fn: see `solver.advance`; its terms include `"total"`.
        optimizer: static part of the solver.
        start: the starting point, or the `Carried` of an earlier run, whose arrays are donated.
        args: the function's data.
        learning_rate: in the units of `start`.
        limits: when to end. Evaluations of the earlier run count too.
        report: called after each chunk; a true result stops the run.
        marks: numbers of evaluations; a chunk ends at every multiple of each.
        keep: called at every multiple of `keep_every` evaluations with a `Carried` from which the
            run can be resumed. The device waits for the call.
        keep_every: evaluations between two calls of `keep`.
        renewal: how the function's data changes during the run. The device waits for each change.

    Returns:
        The outcome, with the best point so far. The run also ends after Ctrl-C, and after three
        blow-ups with no better point between them.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first evaluation was done.
    """
    began = time.perf_counter()
    if not isinstance(start, Carried):
        start = Carried(solver.start_jit(optimizer, start))

    def advance(state: solver.State, args: Any, until: Any) -> tuple[solver.State, solver.Trace]:
        return solver.advance_jit(
            fn, optimizer, state, args, learning_rate, until, capacity=CAPACITY
        )

    chunks = Chunks(
        start,
        advance,
        args if start.args is None else start.args,
        [Lane(Watch(limits, start.rows))],
        began=began,
        limits=limits,
        report=report and (lambda progress: report(progress[0])),
        marks=marks,
        keep=keep,
        keep_every=keep_every,
        renewal=renewal,
        renewed=partial(solver.renewed, optimizer),
    )
    return chunks.run()[0]


def lowered(
    fn: solver.Function,
    optimizer: solver.Optimizer,
    x: Float[Array, "..."],
    args: Any,
    learning_rate: float | Ramp,
) -> jax.stages.Lowered:
    """Lower the program of `run`. Once this is compiled, `run` finds it in JAX's cache."""
    state = jax.eval_shape(partial(solver.start, optimizer), x)
    return solver.advance_jit.lower(
        fn, optimizer, state, args, learning_rate, np.int32(0), capacity=CAPACITY
    )


def lowered_lanes(
    fn: solver.Function,
    optimizer: solver.Optimizer,
    x: Float[Array, "lanes ..."],
    args: Any,
    *,
    axes: Any,
    learning_rate: Any,
    mesh: Mesh | None = None,
) -> jax.stages.Lowered:
    """Lower the program of `run_lanes`, as `lowered` does that of `run`."""
    state = lanes.shapes(optimizer, mesh, x)
    return lanes.advance.lower(
        fn,
        optimizer,
        lanes.Axes.of(axes),
        mesh,
        state,
        args,
        learning_rate,
        np.int32(0),
        capacity=CAPACITY,
    )


def run_lanes(
    fn: solver.Function,
    optimizer: solver.Optimizer,
    start: Float[Array, "lanes ..."] | Carried,
    args: Any,
    *,
    axes: Any,
    learning_rate: Any,
    limits: Limits,
    names: Mapping[int, str],
    mesh: Mesh | None = None,
    report: Callable[[list[Progress]], bool | None] | None = None,
) -> list[Outcome]:
    """Minimise from several starting points (lanes) side by side.

    No lane's outcome depends on the others. When a lane ends by itself (on a plateau, or by
    diverging), its result is fixed and the others go on.

    Args:
        fn: see `run`.
        optimizer: see `run`.
        start: one starting point for each lane, or a `Carried` with the states of all lanes, whose
            arrays are donated.
        args: the function's data, shared or with a leading axis of lanes; on a mesh, placed by
            `devices.place`.
        axes: which parts of `args` have a leading axis of lanes; see `lanes.advance`.
        learning_rate: one for each lane, or a `Ramp` with a leading axis of lanes; on a mesh,
            placed by `devices.place`.
        limits: when to end. The limit in seconds is for a lane's equal share of the time.
        names: the lanes that count, by their place, with names for warnings. The others of `start`
            are padding: they are computed and dropped.
        mesh: devices to spread the lanes over; the number of lanes is a multiple of theirs.
        report: called after each chunk with the progress of every lane; a true result stops all.

    Returns:
        The outcomes of the named lanes, in the order of the names. Each lane's times are its equal
        share of the whole run's.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first evaluation was done.
    """
    began, hashable = time.perf_counter(), lanes.Axes.of(axes)

    def advance(state: solver.State, args: Any, until: Any) -> tuple[solver.State, solver.Trace]:
        return lanes.advance(
            fn,
            optimizer,
            hashable,
            mesh,
            state,
            args,
            learning_rate,
            until,
            capacity=CAPACITY,
        )

    if not isinstance(start, Carried):
        start = Carried(lanes.start(optimizer, mesh, start))
    if limits.seconds is not None:
        limits = replace(limits, seconds=limits.seconds * len(names))
    chunks = Chunks(
        start,
        advance,
        args,
        [Lane(Watch(limits, name=name), i) for i, name in names.items()],
        began=began,
        limits=limits,
        report=report,
    )
    return chunks.run()

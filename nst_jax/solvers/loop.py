"""Minimise in a loop that can be watched, one function or several side by side."""

import time
from collections.abc import Callable, Sequence
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
        renewal: how the function's data changes on the way; the device waits.

    Returns:
        The outcome; after Ctrl-C, and after three blow-ups with no better point between them, the
        best so far.

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
    """The program that `run` will ask for; once compiled, `run` finds it in JAX's cache."""
    state = jax.eval_shape(partial(solver.start, optimizer), x)
    return solver.advance_jit.lower(
        fn, optimizer, state, args, learning_rate, np.int32(0), capacity=CAPACITY
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

    chunks = Chunks(
        Carried(lanes.start(optimizer, mesh, x)),
        advance,
        args,
        [Lane(Watch(limits, name=name), i) for i, name in enumerate(names)],
        began=began,
        limits=limits,
        report=report,
    )
    return chunks.run()

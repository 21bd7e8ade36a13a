"""Draw lanes side by side, from coarse to fine, as `stylizing.pyramid` draws a single picture."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from nst_jax.devices import mesh_of, place
from nst_jax.losses.objective import Targets
from nst_jax.losses.style import padded
from nst_jax.solvers import lanes, loop, solver
from nst_jax.solvers.ahead import compiling, when_compiled
from nst_jax.solvers.outcome import Carried, Outcome, Progress
from nst_jax.solvers.stopping import Limits, Rows, Status, joined
from nst_jax.stylizing import pyramid
from nst_jax.stylizing.problem import Arguments, Problem
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.result import Scale
from nst_jax.stylizing.scales import Drawn, handed_on, is_redrawn, scales, total, used
from nst_jax.stylizing.terms import terms_of
from nst_jax.sweeps.lanes import Lane

# Called after each chunk with the progress of each running lane, by its number; a true result stops
# the lanes.
Report = Callable[[Mapping[int, pyramid.Progress]], bool | None]


class Ready(NamedTuple):
    """A lane whose pictures are read."""

    lane: Lane
    request: Request


class _Stage(NamedTuple):
    """One scale of all lanes: their problems, and the arguments of the program that they share."""

    problems: Sequence[Problem]
    x: jax.Array
    args: Arguments
    rates: Any


def run(
    ready: Sequence[Ready],
    width: int,
    axes: Arguments,
    devices: Sequence[Any],
    report: Report,
) -> list[Drawn]:
    """Draw lanes that share their programs side by side, at one scale after the other.

    A lane that diverges keeps its result, and the others go on. Any other early end is that of all
    lanes. All else is as in `pyramid.run`.

    Args:
        ready: the lanes; all have the same scales, and none can end a scale by itself.
        width: the number of lanes of the program, a multiple of the devices.
        axes: which parts of the arguments differ between lanes; see `axes_of`.
        devices: the devices to spread the lanes over.
        report: see `Report`.

    Returns:
        What was drawn of each lane.

    Raises:
        InputError: `prepare` raises it.
        KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
    """
    mesh, plan = mesh_of(devices), scales(ready[0].request)
    prepared = partial(_stage, ready, width, axes, mesh)
    names = {i: str(some.lane) for i, some in enumerate(ready)}
    rows: dict[int, tuple[Rows, ...]] = dict.fromkeys(names, ())
    drawn: dict[int, Drawn] = {}
    stage, start = prepared(plan[0], first=True), None
    for at in range(len(plan)):
        try:
            later = plan[at + 1 : at + 2]
            ahead = prepared(later[0], first=False) if later else None
            running = [(ready[i].lane, stage.problems[i]) for i in names]
            reports = _Reports(report, running, plan[at])
            compiled = ahead and compiling(_lowered(ahead, axes, mesh))
            outcomes = loop.run_lanes(
                stage.problems[0].fn,
                stage.problems[0].optimizer,
                stage.x if start is None else start,
                stage.args,
                axes=axes,
                learning_rate=stage.rates,
                limits=_limits(ready[0].lane, plan[: at + 1]),
                names=names,
                mesh=mesh,
                report=reports,
            )
            for i, outcome in zip(names, outcomes, strict=True):
                rows[i] = (*rows[i], outcome.rows)
                whole = replace(outcome, rows=joined(rows[i]), state=None)
                drawn[i] = Drawn(stage.problems[i], whole, used(plan, rows[i]))
            names = {i: name for i, name in names.items() if _goes_on(drawn[i].outcome)}
            if ahead is None or compiled is None or not names:
                break
            if reports.stop:
                _end(drawn, names, "stopped")
                break
            redraw = None
            if is_redrawn(ready[0].request.settings, plan, at + 1):
                redraw = partial(_redrawn, ready, ahead.problems)
            start = _handed_on(
                outcomes, stage.problems[0].optimizer, scale=later[0], mesh=mesh, redraw=redraw
            )
            del outcomes  # the next scale needs the memory of their curvature pairs
            start = when_compiled(compiled, start)
            stage = ahead
        except KeyboardInterrupt:
            if not drawn:
                raise
            _end(drawn, names, "interrupted")
            break
    return [drawn[i] for i in range(len(ready))]


def axes_of(every: Sequence[Lane]) -> Arguments:
    """The tree of axes of the arguments: 0 where lanes differ, None for what they share."""
    content, style = (len({lane.pair[i] for lane in every}) > 1 for i in (0, 1))
    # The style depends on the content too: its colours may be matched to it, its size may follow.
    differs = {"content": content, "style": content or style}
    terms = {
        term.name: 0 if any(differs[picture] for picture in term.follows) else None
        for term in terms_of(every[0].settings, every[0].also)
    }
    targets = Targets(cast(Any, terms), cast(Any, 0 if content else None))
    axes: Any = {"network": None, "targets": targets}
    return Arguments(**dict.fromkeys(Arguments._fields, 0) | axes)


def _stage(
    ready: Sequence[Ready],
    width: int,
    axes: Arguments,
    mesh: Mesh | None,
    scale: Scale,
    *,
    first: bool,
) -> _Stage:
    problems = [some.request.problem_at(scale, total(some.request), first=first) for some in ready]
    # Copies of the last lane fill the batch up: its width is a multiple of the devices.
    filled = (*problems, *[problems[-1]] * (width - len(problems)))
    args = jax.tree.map(_joined, axes, *[p.args for p in filled], is_leaf=lambda a: a is None)
    rates = jax.tree.map(_stacked, *[p.learning_rate for p in filled])
    x = jnp.stack([p.x for p in filled])
    return _Stage(problems, x, place(mesh, axes, args), place(mesh, 0, rates))


def _lowered(stage: _Stage, axes: Arguments, mesh: Mesh | None) -> jax.stages.Lowered:
    problem = stage.problems[0]
    return loop.lowered_lanes(
        problem.fn,
        problem.optimizer,
        stage.x,
        stage.args,
        axes=axes,
        learning_rate=stage.rates,
        mesh=mesh,
    )


def _handed_on(
    outcomes: Sequence[Outcome],
    optimizer: solver.Optimizer,
    *,
    scale: Scale,
    mesh: Mesh | None,
    redraw: Callable | None,
) -> Carried:
    began = time.perf_counter()
    last = cast(solver.State, outcomes[0].state)
    start = partial(lanes.start, optimizer, mesh)
    state = handed_on(solver.point(last), last, optimizer, scale, start, redraw)
    compiled, ran = (
        sum(getattr(o, f"{of}_seconds") for o in outcomes) for of in ("compile", "run")
    )
    # The passes of a model take time, too, which a limit has to know.
    ran += time.perf_counter() - began
    return Carried(lanes.placed(optimizer, mesh, state), None, compiled, ran)


def _redrawn(ready: Sequence[Ready], problems: Sequence[Problem], x: jax.Array) -> jax.Array:
    """The points of all lanes, drawn again; copies fill the batch up."""
    pairs = zip(ready, problems, x, strict=False)
    drawn = [some.request.redrawn(problem, point) for some, problem, point in pairs]
    return jnp.stack([*drawn, *[drawn[-1]] * (len(x) - len(drawn))])


def _goes_on(outcome: Outcome) -> bool:
    return outcome.status in ("finished", "plateau")


def _limits(lane: Lane, plan: Sequence[Scale]) -> Limits:
    """The limits of the last scale of the plan: evaluations are counted across all scales."""
    s = lane.settings
    return Limits(sum(scale.evaluations for scale in plan), s.seconds, s.tolerance, s.patience)


def _end(drawn: dict[int, Drawn], which: Collection[int], status: Status) -> None:
    for i in which:
        drawn[i] = drawn[i]._replace(outcome=replace(drawn[i].outcome, status=status))


class _Reports:
    """Passes reports on with pictures, and remembers in `stop` whether the last one asked to stop.

    The run must then stop even if the scale was over anyway.
    """

    def __init__(self, report: Report, running: Sequence[tuple[Lane, Problem]], scale: Scale):
        self._report, self._running, self._scale, self.stop = report, running, scale, False

    def __call__(self, every: Sequence[Progress]) -> bool:
        now = {
            lane.number: pyramid.seen(one, problem, self._scale)
            for (lane, problem), one in zip(self._running, every, strict=True)
        }
        self.stop = bool(self._report(now))
        return self.stop


def _joined(axis: int | None, *values: Any) -> Any:
    return values[0] if axis is None else jax.tree.map(_stacked, *values)


def _stacked(*values: Any) -> Any:
    # Through numpy, because the weak types of Python numbers would compile a second time.
    # Targets of statistics that do not mix may differ in size.
    return jnp.asarray(np.stack(padded([np.asarray(value) for value in values])))

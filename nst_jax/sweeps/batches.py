"""Run lanes in batches: lanes that share a program run side by side, as many as save time."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.devices import OutOfMemoryError, memory_watched, mesh_of, place
from nst_jax.losses.objective import Targets
from nst_jax.solvers import loop
from nst_jax.solvers.outcome import Outcome, Progress
from nst_jax.solvers.stopping import Limits
from nst_jax.stylizing import memory
from nst_jax.stylizing.problem import Arguments, Problem
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.run import draw
from nst_jax.stylizing.terms import terms_of
from nst_jax.sweeps.lanes import Lane

# Called after each chunk with the evaluations so far of each running lane, by its number.
Report = Callable[[Mapping[int, int]], None]


@dataclass(frozen=True)
class Group:
    """Lanes that share a program, and how many of them run side by side on each device."""

    lanes: tuple[Lane, ...]
    in_flight: int

    def only(self, numbers: Collection[int]) -> "Group":
        """The group with only the lanes of these numbers."""
        return replace(self, lanes=tuple(lane for lane in self.lanes if lane.number in numbers))


class _Ready(NamedTuple):
    """A lane whose pictures are read and whose targets are computed."""

    lane: Lane
    request: Request
    problem: Problem


def groups(every: Sequence[Lane], in_flight: int | None) -> list[Group]:
    """Divide lanes into groups that share a program.

    Every program is prepared with every pair of pictures that it is used for, so that errors are
    found before the first lane runs.

    Args:
        every: the lanes.
        in_flight: lanes side by side on each device; None runs as many as fit and save time.

    Raises:
        InputError: raised by `read_pictures` or `prepare`.
    """
    programs: dict[Any, Any] = {}
    found: dict[Any, list[Lane]] = {}
    fitting: dict[Any, int] = {}
    for lane in every:
        known = repr(lane.program), id(lane.network), lane.pair
        if known not in programs:
            request = lane.request()
            problem = request.problem()
            shapes = jax.tree.map(jnp.shape, (problem.x, problem.args[1:], problem.learning_rate))
            programs[known] = (*known[:2], repr(shapes))
            chosen = 1 if problem.renewal else in_flight or _fitting(request, problem)
            fitting.setdefault(programs[known], chosen)
        found.setdefault(programs[known], []).append(lane)
    return [Group(tuple(some), fitting[program]) for program, some in found.items()]


def _fitting(request: Request, problem: Problem) -> int:
    spec, history = problem.fn.spec, problem.optimizer.history
    settings = replace(request.settings, tile=spec.tile, history=history)
    return memory.lanes_in_flight(settings, request.network, spec.layers, request.size)


def run(group: Group, devices: Sequence[Any], report: Report) -> Iterator[tuple[int, Stylization]]:
    """Stylize the lanes of a group batch by batch; yield number and result of each lane.

    The results of a batch are yielded when it ends. If the device runs out of memory, the batch is
    run again with half as many lanes at once.

    Raises:
        InputError: there is too little memory for one lane on each device.
        KeyboardInterrupt: Ctrl-C was pressed; the results of the running lanes are yielded first.
    """
    devices, in_flight = list(devices)[: len(group.lanes)], group.in_flight
    axes = _axes(group)
    waiting = list(group.lanes)
    known: dict[tuple[str, str], Targets] = {}
    width = _width(len(waiting), in_flight, len(devices))
    while waiting:
        batch = waiting[:width]
        known = {lane.pair: known[lane.pair] for lane in batch if lane.pair in known}
        ready = [_prepared(lane, known) for lane in batch]
        try:
            if width == 1:
                results = [_alone(ready[0], report)]
            else:
                with memory_watched():
                    results = _together(ready, width, axes, devices, report)
        except OutOfMemoryError:
            if in_flight == 1:
                raise
            in_flight //= 2
            width = _width(len(waiting), in_flight, len(devices))
            warnings.warn(
                f"The device ran out of memory: going on with {in_flight} lanes at once.",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        for some, result in zip(ready, results, strict=True):
            yield some.lane.number, result
        if any(result.status == "interrupted" for result in results):
            raise KeyboardInterrupt
        waiting = waiting[width:]


def _width(count: int, in_flight: int, devices: int) -> int:
    """The number of lanes in each batch, a multiple of `devices`.

    It divides `count` lanes into batches of equal size, which share one program, with little
    padding.
    """
    batches = -(-count // (in_flight * devices))
    return -(-count // (batches * devices)) * devices


def _prepared(lane: Lane, known: dict[tuple[str, str], Targets]) -> _Ready:
    request = replace(lane.request(), targets=known.get(lane.pair))
    problem = request.problem()
    known[lane.pair] = problem.args.targets
    return _Ready(lane, replace(request, targets=problem.args.targets), problem)


def _alone(ready: _Ready, report: Report) -> Stylization:
    """Stylize one lane in the same way as `stylize` does."""
    number = ready.lane.number
    return draw(ready.request, report=lambda now: report({number: now.evaluations}))


def _together(
    ready: Sequence[_Ready], width: int, axes: Arguments, devices: Sequence[Any], report: Report
) -> list[Stylization]:
    # Copies of the last lane fill the batch up: its width is a multiple of the devices.
    problems = [some.problem for some in (*ready, *[ready[-1]] * (width - len(ready)))]
    mesh = mesh_of(devices)
    args = jax.tree.map(_joined, axes, *[p.args for p in problems], is_leaf=lambda a: a is None)
    rates = jax.tree.map(_stacked, *[p.learning_rate for p in problems])
    numbers = [some.lane.number for some in ready]

    def report_all(progress: Sequence[Progress]) -> None:
        report({n: now.evaluations for n, now in zip(numbers, progress, strict=True)})

    outcomes = loop.run_lanes(
        problems[0].fn,
        problems[0].optimizer,
        jnp.stack([p.x for p in problems]),
        place(mesh, axes, args),
        axes=axes,
        learning_rate=place(mesh, 0, rates),
        limits=_limits(ready[0].lane),
        names=[str(some.lane) for some in ready],
        mesh=mesh,
        report=report_all,
    )
    return [
        some.request.stylization(some.problem, outcome, [_scale(some, outcome)])
        for some, outcome in zip(ready, outcomes, strict=True)
    ]


def _scale(ready: _Ready, outcome: Outcome) -> Scale:
    height, width, *_ = ready.request.size
    return Scale(height, width, int(outcome.evaluations[-1]))


def _limits(lane: Lane) -> Limits:
    s = lane.settings
    return Limits(s.iterations, s.seconds, s.tolerance, s.patience)


def _axes(group: Group) -> Any:
    """The tree of axes of the arguments: 0 where lanes differ, None for what the group shares."""
    content, style = (len({lane.pair[i] for lane in group.lanes}) > 1 for i in (0, 1))
    # The style depends on the content too: its colours may be matched to it, its size may follow.
    differs = {"content": content, "style": content or style}
    terms = {
        term.name: 0 if any(differs[picture] for picture in term.follows) else None
        for term in terms_of(group.lanes[0].settings, group.lanes[0].also)
    }
    targets = Targets(cast(Any, terms), cast(Any, 0 if content else None))
    axes: Any = {"network": None, "targets": targets}
    return Arguments(**dict.fromkeys(Arguments._fields, 0) | axes)


def _joined(axis: int | None, *values: Any) -> Any:
    return values[0] if axis is None else jax.tree.map(_stacked, *values)


def _stacked(*values: Any) -> Any:
    # Through numpy, because the weak types of Python numbers would compile a second time.
    return jnp.asarray(np.stack([np.asarray(value) for value in values]))

"""Run lanes in batches: lanes that share a program run side by side, as many as save time."""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from nst_jax.devices import OutOfMemoryError, memory_watched
from nst_jax.errors import InputError
from nst_jax.losses.objective import Targets
from nst_jax.solvers.optimizer import searches
from nst_jax.stylizing import memory
from nst_jax.stylizing.problem import Problem
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.run import draw
from nst_jax.stylizing.scales import scales, total
from nst_jax.sweeps import together
from nst_jax.sweeps.lanes import Lane
from nst_jax.sweeps.together import Ready, Report


@dataclass(frozen=True)
class Group:
    """Lanes that share their programs.

    Attributes:
        lanes: the lanes.
        plan: their scales.
        in_flight: how many of them run side by side on each device.
        fitted: the values of `tile` and `history` that fit into memory.
    """

    lanes: tuple[Lane, ...]
    plan: tuple[Scale, ...]
    in_flight: int
    fitted: Mapping[str, int | None]

    def only(self, numbers: Collection[int]) -> "Group":
        """The group with only the lanes of these numbers."""
        return replace(self, lanes=tuple(lane for lane in self.lanes if lane.number in numbers))

    @property
    def total(self) -> int:
        """The number of evaluations of all lanes at all scales."""
        return len(self.lanes) * sum(scale.evaluations for scale in self.plan)

    def ready(self, lane: Lane, known: dict[Scale, Targets]) -> Ready:
        """Read the pictures of a lane; `known` has the targets of its pictures, as in `Request`."""
        request = lane.request()
        settings = replace(request.settings, **self.fitted)
        return Ready(lane, replace(request, settings=settings, targets=known))


def groups(every: Sequence[Lane], in_flight: int | None) -> list[Group]:
    """Divide lanes into groups that share their programs.

    The first and the last scale of each program are prepared with every pair of pictures that it is
    used for, so that errors are found before the first lane runs.

    Args:
        every: the lanes.
        in_flight: lanes side by side on each device; None runs as many as fit and save time.

    Raises:
        InputError: raised by `read_pictures` or `prepare`.
    """
    programs: dict[Any, Any] = {}
    found: dict[Any, Group] = {}
    for lane in every:
        known = repr(lane.program), id(lane.network), lane.pair
        if known not in programs:
            request, plan, problem = _checked(lane)
            data = jax.tree.flatten((problem.x, problem.args[1:], problem.learning_rate))
            programs[known] = (*known[:2], plan, *map(jnp.shape, data[0]), data[1])
            chosen = 1 if _alone(problem, plan, lane) else in_flight or _fitting(request, problem)
            fitted = {"tile": request.settings.tile, "history": request.settings.history}
            found.setdefault(programs[known], Group((), plan, chosen, fitted))
        group = found[programs[known]]
        found[programs[known]] = replace(group, lanes=(*group.lanes, lane))
    return list(found.values())


def _alone(problem: Problem, plan: Sequence[Scale], lane: Lane) -> bool:
    """Whether lanes must run one after the other, since each would go its own way.

    That is so if targets are renewed, and if lanes end a scale after unlike evaluations.
    """
    own_ends = bool(lane.settings.tolerance) or searches(problem.optimizer)
    return problem.renewal is not None or (own_ends and len(plan) > 1)


def _checked(lane: Lane) -> tuple[Request, tuple[Scale, ...], Problem]:
    """The request of a lane, its scales, and its problem at the last one; errors name the lane."""
    try:
        request = lane.request()
        request = request.fitted(total(request))
        plan = scales(request)
        first, last = plan[0], plan[-1]
        if first != last:
            request.problem_at(first, total(request))
        return request, plan, request.problem_at(last, total(request))
    except InputError as error:
        if "content" not in lane.values or lane.pair[0] in str(error):
            raise
        raise InputError(f"{lane}: {error}") from error


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
    if not group.lanes:
        return
    devices, in_flight = list(devices)[: len(group.lanes)], group.in_flight
    waiting = list(group.lanes)
    axes = together.axes_of(waiting)
    known: dict[Any, dict[Scale, Targets]] = {}
    width = _width(len(waiting), in_flight, len(devices))
    while waiting:
        batch = waiting[:width]
        # Some targets are drawn at random, with the seed. Lanes side by side share the first one's.
        keys = [(lane.pair, lane.settings.seed if width == 1 else None) for lane in batch]
        known = {key: known.get(key, {}) for key in keys}
        ready = [group.ready(lane, known[key]) for lane, key in zip(batch, keys, strict=True)]
        try:
            if width == 1:
                results = [_by_itself(ready[0], report)]
            else:
                with memory_watched():
                    drawn = together.run(ready, width, axes, devices, report)
                results = [r.request.stylization(*d) for r, d in zip(ready, drawn, strict=True)]
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
            redraw = some.lane.redrawing(result.settings)
            yield some.lane.number, replace(result, redraw=redraw)
        if any(result.status == "interrupted" for result in results):
            raise KeyboardInterrupt
        if any(result.status == "stopped" for result in results):
            return
        waiting = waiting[width:]


def _width(count: int, in_flight: int, devices: int) -> int:
    """The number of lanes in each batch, a multiple of `devices`.

    It divides `count` lanes into batches of equal size, which share one program, with little
    padding.
    """
    batches = -(-count // (in_flight * devices))
    return -(-count // (batches * devices)) * devices


def _by_itself(ready: Ready, report: Report) -> Stylization:
    """Stylize one lane in the same way as `stylize` does."""
    number = ready.lane.number
    return draw(ready.request, report=lambda now: report({number: now}))

"""Plan a stylization to a deadline: the best picture that can be had in so many seconds.

A plan is settings: the start, the sizes, the network, and the evaluations at each size. How the
time is used is chosen first (`WAYS`). The evaluations are counted when everything is ready to draw,
since only then it is known how much time is left. What an evaluation takes follows from the speed
of the machine at a matrix product, which is measured each time.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from nst_jax.errors import InputError
from nst_jax.files import weights
from nst_jax.networks.load import load_network
from nst_jax.stylizing import pyramid
from nst_jax.stylizing.outputs import Outputs
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.resolving import AUTO, network_options
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.run import draft_of
from nst_jax.stylizing.scales import scales, total
from nst_jax.stylizing.settings import MODELS, Settings
from nst_jax.stylizing.speed import (
    AFTER,
    BETTER,
    NETWORK,
    PASS,
    evaluation_seconds,
    ready_seconds,
    speed,
)
from nst_jax.stylizing.starts import SMALLEST
from nst_jax.stylizing.terms import layers

# Beside the usual first step, this saves the ten evaluations that steps take to grow.
FIRST_STEP = 0.012
# The options that a plan sets, or to which it could not keep: with one of them, `seconds` is only a
# limit.
COURSE = (
    "network",
    "init",
    "min_size",
    "coarse_iterations",
    "iterations",
    "draft",
    "history",
    "first_step",
    "optimizer",
    "tolerance",
)
# The share of the time that is planned; the last scale goes on until the time is up.
_PLANNED, _AT_MOST = 0.95, 4
_LATE = 1.1
_HISTORY = 20  # curvature pairs


class Way(NamedTuple):
    """How to use the time.

    Attributes:
        least: the smallest number of evaluations of the network at the end size that must fit into
            the time.
        network: the network.
        steps: the number of smaller scales, each smaller than the next by a factor of sqrt(2). If
            the network is not the small one, the small one draws these and the end size first.
        coarse: the share of the time for all but the last scale.
    """

    least: float
    network: str
    steps: int
    coarse: float


# The best first.
WAYS = (
    Way(15, BETTER, 3, 0.35),
    Way(25, NETWORK, 3, 0.4),
    Way(3, NETWORK, 0, 0.0),
)


@dataclass(frozen=True)
class Plan:
    """A request with all that was planned for it.

    Attributes:
        request: what to draw, and how.
        line: the plan in one line.
        seconds: the seconds that were asked for.
        began: when they began, by `time.perf_counter`.
        late: how many seconds later the result comes, because programs were compiled.
        compiled: tells for how many seconds programs were compiled.
    """

    request: Request
    line: str
    seconds: float
    began: float
    late: float
    compiled: Callable[[], float]

    @property
    def delay(self) -> str | None:
        """A line that says that programs were compiled; None if they were not."""
        if not self.late:
            return None
        return (
            f"Programs for this size were compiled, once: the picture comes {self.late:.0f} s "
            f"later than after {self.seconds:g} s."
        )

    def kept(self, result: Stylization) -> Stylization:
        """The result with the plan, and with settings that repeat it without a deadline."""
        late = self.late or self.compiled()
        spent = time.perf_counter() - self.began - late
        if not result.scales and spent > _LATE * self.seconds:
            once = f" after {late:.0f} s in which programs were compiled, once" if late else ""
            warnings.warn(
                f"seconds is {self.seconds:g}, but one pass at this size took {spent:.1f} s{once}.",
                stacklevel=3,
            )
        settings = replace(result.settings, seconds=None)
        if len(result.scales) == len(scales(self.request)) > 0:
            settings = replace(settings, iterations=result.scales[-1].evaluations)
        return replace(result, settings=settings, plan=self.line)


def is_wanted(preset: str, network: Any, options: Mapping[str, Any], outputs: Outputs) -> bool:
    """Whether `seconds` plans the run; otherwise it only limits it.

    It plans if it is given alone: under the preset `default`, without an option of `COURSE` or a
    schedule, and without a checkpoint, which another plan could not resume.
    """
    given = {name for name, value in options.items() if value is not None or name in COURSE}
    scheduled = any(name.endswith("_schedule") for name in given)
    return (
        "seconds" in given
        and preset == "default"
        and isinstance(network, str)
        and network == AUTO
        and not given & set(COURSE)
        and not scheduled
        and outputs.checkpoint is None
    )


def planned(request: Request, began: float, compiled: Callable[[], float]) -> Plan:
    """Plan a request with the small network, whose settings have `seconds`, and get it ready.

    Args:
        request: what to draw.
        began: when the seconds began, by `time.perf_counter`.
        compiled: tells for how many seconds programs were compiled since, as `compiled_anew` does.

    Raises:
        InputError: a picture is too small, there is too little memory, or too little time for a
            picture that no model draws.
    """
    seconds = float(request.settings.seconds or 0)
    height, width, _ = request.pictures.content.rgb.shape
    rate = speed()

    def left() -> float:
        spent = time.perf_counter() - began
        return seconds - spent - AFTER * height * width

    way = _way(request, left(), rate)
    if way is None:
        one = replace(request, settings=_one_pass(request, seconds, rate))
        return Plan(one, _said(seconds, one), seconds, began, 0.0, compiled)
    request = _along(request, way)
    ready_from = time.perf_counter()
    problems = pyramid.ready(request)
    if compiled() and way.steps and request.settings.init in MODELS:
        request.redrawn(problems[-1], problems[-1].x)  # so that this is compiled too
    late = min(compiled(), time.perf_counter() - ready_from)
    costs = [_cost(request, scale, rate) for scale in scales(request)]
    passes = PASS * evaluation_seconds(NETWORK, height * width, rate) * (way.steps > 0)
    many = counts(way.coarse, costs, _PLANNED * (left() + late) - passes)
    settings = replace(
        request.settings,
        coarse_iterations=many[0],
        iterations=math.ceil(_AT_MOST * many[1]),
        seconds=max(left() + late, 0.0),
    )
    request = replace(request, settings=settings)
    request = replace(request, problems=dict(zip(scales(request), problems, strict=True)))
    return Plan(request, _said(seconds, request), seconds, began, late, compiled)


def counts(coarse: float, costs: Sequence[float], seconds: float) -> tuple[int, int]:
    """The evaluations at each scale but the last, and at the last, one each at least.

    Args:
        coarse: the share of the time for all but the last scale.
        costs: the seconds of an evaluation at each scale.
        seconds: the time.
    """
    *before, last = costs
    each = max(1, int(coarse * seconds / sum(before))) if before else 0
    rest = max(1, int((seconds - each * sum(before)) / last))
    return max(each, 1), rest


def _way(request: Request, left: float, rate: float) -> Way | None:
    """The best way for which the time is enough; None for one pass."""
    height, width, _ = request.pictures.content.rgb.shape
    here = weights.locate(BETTER) is not None
    for way in WAYS:
        each = evaluation_seconds(way.network, height * width, rate)
        drafted = way.network != NETWORK
        ready = (1 + way.steps + drafted) * ready_seconds(rate)
        if (left - ready) / each >= way.least and (here or not drafted):
            return way
    return None


def _along(request: Request, way: Way) -> Request:
    """The request along this way, with as many evaluations as the history has room for."""
    long = max(request.pictures.content.rgb.shape[:2])
    drafted = way.network != NETWORK
    settings = replace(
        request.settings,
        network=way.network,
        min_size=int(long / 2 ** (way.steps / 2)) or None if way.steps else None,
        first_step=FIRST_STEP,
        coarse_iterations=_HISTORY,
        iterations=_HISTORY,
        history=_HISTORY,
        draft=drafted,
        seconds=None,
    )
    request = replace(request, settings=settings)
    if drafted:
        network = load_network(way.network, network_options(settings), layers=layers(settings))
        request = replace(request, network=network, draft=draft_of(settings, network))
    first = scales(request)[0]
    share = max(first.height, first.width) / long
    start = MODELS[0] if _can_pass(request, share) else "content"
    request = replace(request, settings=replace(settings, init=start))
    return request.fitted(total(request))


def _one_pass(request: Request, seconds: float, rate: float) -> Settings:
    if not _can_pass(request, 1.0):
        height, width, _ = request.pictures.content.rgb.shape
        needed = ready_seconds(rate) + WAYS[-1].least * evaluation_seconds(
            NETWORK, height * width, rate
        )
        raise InputError(
            f"seconds is {seconds:g}, but needs about {needed:.1f}: no model draws a picture with "
            f"regions, masks, transparent styles or sides below {SMALLEST} pixels in one pass."
        )
    return replace(
        request.settings,
        network=NETWORK,
        init=MODELS[0],
        min_size=None,
        iterations=0,
        draft=False,
        seconds=None,
    )


def _can_pass(request: Request, share: float) -> bool:
    """Whether a model can draw the start, with all pictures at this share of their size."""
    pictures = request.pictures
    if pictures.regions is not None:
        return False
    sides = [min(one.shape[:2]) for one in (pictures.content.rgb, *pictures.styles)]
    return share * min(sides) >= SMALLEST


def _cost(request: Request, scale: Scale, rate: float) -> float:
    network = NETWORK if scale.draft else request.settings.network
    return evaluation_seconds(network, scale.height * scale.width, rate)


def _said(seconds: float, request: Request) -> str:
    """The plan in one line."""
    settings, plan = request.settings, scales(request)
    start = "the content" if settings.init == "content" else f"one pass of {settings.init}"
    long = max(request.pictures.content.rgb.shape[:2])
    if not plan:
        return f"Planned for {seconds:g} s: {start} at {long} px."
    steps = [f"at {long} px {settings.network} until the time is up"]
    if sizes := [f"{max(scale[:2])}" for scale in plan[:-1]]:
        each = f"{settings.coarse_iterations} evaluation" + "s" * (settings.coarse_iterations > 1)
        by = NETWORK if settings.draft else settings.network
        steps.insert(0, f"{each} of {by} at {', '.join(sizes)} px")
    return f"Planned for {seconds:g} s: {', then '.join([f'from {start}', *steps])}."

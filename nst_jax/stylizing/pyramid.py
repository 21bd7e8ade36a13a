"""Draw from coarse to fine: at several sizes (scales), each from the result of the one before.

Large shapes form at the small sizes, where an evaluation is cheap and the network sees much of the
picture at once. So a large picture looks like its small preview. A run at a single size is a
pyramid of one scale.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import jax
import optax

from nst_jax.files import savepoint
from nst_jax.pictures.resizing import fit
from nst_jax.solvers import loop, solver
from nst_jax.solvers import outcome as outcomes
from nst_jax.solvers.outcome import Carried, Outcome
from nst_jax.solvers.stopping import Limits, Rows, joined
from nst_jax.stylizing.problem import Problem
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.result import Scale
from nst_jax.stylizing.terms import layers

# The share of its last step that L-BFGS takes first at the next scale. With all of it losses climb.
_CAUTION = 0.25


class Position(NamedTuple):
    """Where a run stands.

    Attributes:
        earlier: the rows of each earlier scale.
        carried: what is needed to resume at the current scale.
    """

    earlier: tuple[Rows, ...]
    carried: Carried


@dataclass(frozen=True)
class Progress(outcomes.Progress):
    """What a callback of `stylize` gets: `x` is a picture in [0, 1], at the size of `scale`."""

    scale: Scale


class Drawn(NamedTuple):
    """The outcome of a run over several scales.

    Attributes:
        problem: the problem of the last scale.
        outcome: the outcome of the last scale, with the rows of all scales.
        scales: the scales that were drawn, with the evaluations that each took.
    """

    problem: Problem
    outcome: Outcome
    scales: tuple[Scale, ...]


def total(request: Request) -> int:
    """The number of evaluations at all scales together."""
    return sum(scale.evaluations for scale in scales(request))


def scales(request: Request) -> tuple[Scale, ...]:
    """The scales from coarse to fine; each is smaller than the next by a factor of sqrt(2).

    No scale is below `min_size`, or so small that a picture has no position at the deepest layer.
    With a draft, its network draws all sizes; then the request's own network draws the last size.
    """
    settings, (height, width, _) = request.settings, request.pictures.content.rgb.shape
    long, sizes = max(height, width), list[int]()
    pictures = (request.pictures.content.rgb, *request.pictures.styles)
    short = min(min(picture.shape[:2]) for picture in pictures)
    stride = max((request.network.strides.get(layer, 1) for layer in layers(settings)), default=1)
    least = max(settings.min_size or long, stride * long / short)
    while (size := round(long / 2 ** ((len(sizes) + 1) / 2))) >= least:
        sizes.insert(0, size)
    draft = request.draft is not None
    shapes = [fit(height, width, size) for size in sizes] + [(height, width)] * draft
    coarse = [Scale(*shape, settings.coarse_iterations, draft) for shape in shapes]
    return (*coarse, Scale(height, width, settings.iterations))


def run(
    request: Request,
    *,
    position: Position | None = None,
    report: Callable[[Progress], bool | None] | None = None,
    marks: Sequence[int] = (),
    keep: Callable[[Position], None] | None = None,
    keep_every: int = 100,
) -> Drawn:
    """Draw a picture at one scale after the other, each from the best picture of the last.

    Adam's moments are resized and kept, also when the network changes after a draft. L-BFGS drops
    its curvature pairs, since they belong to the old grid or objective (pairs from a draft blew up
    at once). It keeps the length of its steps: from norm 1 they would take ten evaluations to grow.

    A plateau ends only the scale; any other early end, such as Ctrl-C, ends the run. Evaluations
    are counted across all scales. If Ctrl-C comes before the first evaluation of a scale, the
    result is that of the scale before. The next scale is prepared before the current one is drawn,
    and its program is compiled meanwhile.

    Args:
        request: what to draw, at its final size.
        position: where an earlier run stood; None starts from the beginning.
        report: as in `loop.run`; gets a `Progress` with a picture as `x`.
        marks: as in `loop.run`.
        keep: as in `loop.run`, but gets a `Position`.
        keep_every: as in `loop.run`.

    Raises:
        InputError: `prepare` raises it.
        KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
    """
    plan, drawn = scales(request), None
    earlier, carried = position or ((), None)
    problem = _problem(request, plan[len(earlier)])
    while True:
        later = plan[len(earlier) + 1 :]
        try:
            ahead = _ahead(_problem(request, later[0])) if later else None
            outcome = _draw(
                request,
                plan,
                problem,
                earlier,
                carried,
                report=report,
                marks=marks,
                keep=keep and _with_position(keep, earlier),
                keep_every=keep_every,
            )
            earlier = (*earlier, outcome.rows)
            whole = replace(outcome, rows=joined(earlier), state=None)
            drawn = Drawn(problem, whole, _used(plan, earlier))
            if ahead is None or outcome.status not in ("finished", "plateau"):
                return drawn
            carried = _handed_on(outcome, problem.optimizer, later[0])
            del outcome  # the next scale needs the memory of its curvature pairs
            carried = _when_compiled(ahead, carried)
            problem = ahead.problem
        except KeyboardInterrupt:
            if drawn is None:
                raise
            return drawn._replace(outcome=replace(drawn.outcome, status="interrupted"))


def _problem(request: Request, scale: Scale) -> Problem:
    return request.at(scale, total(request)).problem()


class _Ahead(NamedTuple):
    """The next scale's problem, and the future of its program, which JAX's cache then holds."""

    problem: Problem
    compiled: Future


def _ahead(problem: Problem) -> _Ahead:
    """Start to compile the problem's program in a thread; a process that exits waits for it."""
    fn, optimizer, x, args, learning_rate, *_ = problem
    # Trace in this thread: settings like jax.default_device hold per thread and affect the program.
    lowered = loop.lowered(fn, optimizer, x, args, learning_rate)
    pool = ThreadPoolExecutor(1)
    compiled = pool.submit(lowered.compile)
    pool.shutdown(wait=False)
    return _Ahead(problem, compiled)


def _when_compiled(ahead: _Ahead, carried: Carried) -> Carried:
    """Wait for the next scale's program, and count the wait as compilation."""
    began = time.perf_counter()
    ahead.compiled.result()
    waited = time.perf_counter() - began
    return carried._replace(compile_seconds=carried.compile_seconds + waited)


def _draw(
    request: Request,
    plan: Sequence[Scale],
    problem: Problem,
    earlier: Sequence[Rows],
    carried: Carried | None,
    *,
    report: Callable | None,
    **options: Any,
) -> Outcome:
    """Draw one scale, after the `earlier` ones."""
    settings, scale = request.settings, plan[len(earlier)]
    done = int(earlier[-1].evaluations[-1]) if earlier else 0
    reports = _Reports(report, problem, scale)
    if carried is not None and carried.args is not None:
        carried = _with_targets(carried, problem)
    outcome = loop.run(
        problem.fn,
        problem.optimizer,
        problem.x if carried is None else carried,
        problem.args,
        learning_rate=problem.learning_rate,
        limits=Limits(
            done + scale.evaluations, settings.seconds, settings.tolerance, settings.patience
        ),
        report=report and reports,
        renewal=problem.renewal,
        **options,
    )
    if reports.stop and len(earlier) < len(plan) - 1:
        outcome = replace(outcome, status="stopped")
    return outcome


def _with_targets(carried: Carried, problem: Problem) -> Carried:
    """Put the renewed targets of a checkpoint into the problem's data."""
    targets = savepoint.restored(problem.args.targets, carried.args)
    return carried._replace(args=problem.args._replace(targets=targets))


def _used(plan: Sequence[Scale], rows: Sequence[Rows]) -> tuple[Scale, ...]:
    """The scales that were drawn, with the evaluations that each took."""
    ends = [0, *(int(part.evaluations[-1]) for part in rows)]
    return tuple(
        scale._replace(evaluations=end - begin)
        for scale, begin, end in zip(plan, ends, ends[1:], strict=False)
    )


class _Reports:
    """Passes reports on with pictures, and remembers in `stop` whether the last one asked to stop.

    The run must then stop even if the scale was over anyway.
    """

    def __init__(self, report: Callable | None, problem: Problem, scale: Scale):
        self._report, self._problem, self._scale, self.stop = report, problem, scale, False

    def __call__(self, now: outcomes.Progress) -> bool:
        seen = vars(now) | {"x": self._problem.picture(now.x), "scale": self._scale}
        found = self._report and self._report(Progress(**seen))
        self.stop = bool(found)
        return self.stop


def _with_position(keep: Callable, earlier: tuple[Rows, ...]) -> Callable:
    return lambda carried: keep(Position(earlier, carried))


def _handed_on(outcome: Outcome, optimizer: solver.Optimizer, scale: Scale) -> Carried:
    """Carry the best point, the count of evaluations and the optimiser's state to the next grid."""
    shape = (scale.height, scale.width, *outcome.x.shape[2:])
    x = jax.image.resize(outcome.x, shape, "cubic")
    last = cast(solver.State, outcome.state)
    state = solver.start_jit(optimizer, x)._replace(evaluations=last.evaluations)
    if optimizer.method == "adam":
        state = state._replace(optimizer=_resized_moments(last.optimizer, x.shape))
    elif optimizer.is_lbfgs:
        state = state._replace(optimizer=_with_step(state.optimizer, last.optimizer))
    return Carried(state, None, outcome.compile_seconds, outcome.run_seconds)


def _with_step(state: optax.OptState, last: optax.OptState) -> optax.OptState:
    """L-BFGS without curvature pairs, but with a first step in proportion to the last one."""
    (anew, *rest), (before, *_) = cast(tuple, state), cast(tuple, last)
    scale = _CAUTION * before.scale * (anew.x.size / before.x.size)
    return (anew._replace(scale=scale), *rest)


def _resized_moments(state: optax.OptState, shape: tuple[int, ...]) -> optax.OptState:
    """Resize Adam's moments; with more pixels, the gradient of each one is smaller."""
    moments, *rest = cast(tuple, state)
    share = moments.mu.size / math.prod(shape)
    return (
        moments._replace(
            mu=share * jax.image.resize(moments.mu, shape, "linear"),
            nu=share**2 * jax.image.resize(moments.nu, shape, "linear"),
        ),
        *rest,
    )

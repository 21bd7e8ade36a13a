"""Draw from coarse to fine: at several sizes (scales), each from the result of the one before.

Large shapes form at the small sizes, where an evaluation is cheap and the network sees much of the
picture at once. So a large picture looks like its small preview. A run at a single size is a
pyramid of one scale.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from nst_jax.files import savepoint
from nst_jax.solvers import loop, solver
from nst_jax.solvers import outcome as outcomes
from nst_jax.solvers.ahead import compiling, when_compiled
from nst_jax.solvers.outcome import Carried, Outcome
from nst_jax.solvers.stopping import Limits, Rows, joined
from nst_jax.stylizing.problem import Problem
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.result import Scale
from nst_jax.stylizing.scales import Drawn, handed_on, is_redrawn, scales, total, used


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


def run(
    request: Request,
    *,
    position: Position | None = None,
    report: Callable[[Progress], bool | None] | None = None,
    marks: Sequence[int] = (),
    keep: Callable[[Position], None] | None = None,
    keep_every: int = 100,
    shown: bool = True,
) -> Drawn:
    """Draw a picture at one scale after the other, each from the best picture of the last.

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
        shown: whether reports need the picture; otherwise their `x` is the unknown.

    Raises:
        InputError: `prepare` raises it.
        KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
    """
    plan, drawn = scales(request), None
    earlier, carried = position or ((), None)
    problem = _problem(request, plan, len(earlier))
    while True:
        later = plan[len(earlier) + 1 :]
        try:
            ahead = _ahead(_problem(request, plan, len(earlier) + 1)) if later else None
            outcome = _draw(
                request,
                plan,
                problem,
                earlier,
                carried,
                report=report,
                shown=shown,
                marks=marks,
                keep=keep and _with_position(keep, earlier),
                keep_every=keep_every,
            )
            earlier = (*earlier, outcome.rows)
            whole = replace(outcome, rows=joined(earlier), state=None)
            drawn = Drawn(problem, whole, used(plan, earlier))
            if ahead is None or outcome.status not in ("finished", "plateau"):
                return drawn
            redraw = None
            if is_redrawn(request.settings, plan, len(earlier)):
                redraw = partial(request.redrawn, ahead.problem)
            carried = _handed_on(outcome, problem.optimizer, later[0], redraw)
            del outcome  # the next scale needs the memory of its curvature pairs
            carried = when_compiled(ahead.compiled, carried)
            problem = ahead.problem
        except KeyboardInterrupt:
            if drawn is None:
                raise
            return drawn._replace(outcome=replace(drawn.outcome, status="interrupted"))


def ready(request: Request) -> list[Problem]:
    """Prepare and compile all scales; a `Request` takes the problems as its `problems`."""
    plan = scales(request)
    problems = [_problem(request, plan, n) for n in range(len(plan))]
    for one in [_ahead(problem) for problem in problems]:
        one.compiled.result()
    jax.block_until_ready([problem.args.targets for problem in problems])
    return problems


def _problem(request: Request, plan: Sequence[Scale], at: int) -> Problem:
    return request.problem_at(plan[at], total(request), first=at == 0)


class _Ahead(NamedTuple):
    """The next scale's problem, and the future of its program, which JAX's cache then holds."""

    problem: Problem
    compiled: Future


def _ahead(problem: Problem) -> _Ahead:
    fn, optimizer, x, args, learning_rate, *_ = problem
    return _Ahead(problem, compiling(loop.lowered(fn, optimizer, x, args, learning_rate)))


def _draw(
    request: Request,
    plan: Sequence[Scale],
    problem: Problem,
    earlier: Sequence[Rows],
    carried: Carried | None,
    *,
    report: Callable | None,
    shown: bool,
    **options: Any,
) -> Outcome:
    """Draw one scale, after the `earlier` ones."""
    settings, scale = request.settings, plan[len(earlier)]
    done = int(earlier[-1].evaluations[-1]) if earlier else 0
    reports = _Reports(report, problem, scale, shown=shown)
    if carried is not None and carried.args is not None:
        carried = _with_targets(carried, problem)
    elif carried is not None and earlier and problem.renewal is not None:
        # Targets that follow the picture begin with the one that the scale begins with.
        args = problem.renewed(cast(solver.State, carried.state).x, problem.args, 0)
        carried = carried._replace(args=args)
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


class _Reports:
    """Passes reports on with pictures, and remembers in `stop` whether the last one asked to stop.

    The run must then stop even if the scale was over anyway.
    """

    def __init__(self, report: Callable | None, problem: Problem, scale: Scale, *, shown: bool):
        self._report, self._problem, self._scale, self.stop = report, problem, scale, False
        self._shown = shown

    def __call__(self, now: outcomes.Progress) -> bool:
        if self._report:
            # Only what is looked at is drawn: at each size that is a program of its own.
            progress = Progress(**vars(now), scale=self._scale)
            if self._shown:
                progress = seen(now, self._problem, self._scale)
            self.stop = bool(self._report(progress))
        return self.stop


def is_stop(answer: Any) -> bool:
    """Whether a callback asks to stop: it returned True, and not just something that is true."""
    return isinstance(answer, bool | np.bool_) and bool(answer)


def seen(now: outcomes.Progress, problem: Problem, scale: Scale) -> Progress:
    """The progress with a picture as `x`, for callbacks."""
    return Progress(**vars(now) | {"x": problem.picture(now.x), "scale": scale})


def _with_position(keep: Callable, earlier: tuple[Rows, ...]) -> Callable:
    return lambda carried: keep(Position(earlier, carried))


def _handed_on(
    outcome: Outcome, optimizer: solver.Optimizer, scale: Scale, redraw: Callable | None
) -> Carried:
    began = time.perf_counter()
    start, last = partial(solver.start_jit, optimizer), cast(solver.State, outcome.state)
    state = handed_on(outcome.x, last, optimizer, scale, start, redraw)
    # A pass of a model takes time, too, which a limit has to know.
    spent = time.perf_counter() - began
    return Carried(state, None, outcome.compile_seconds, outcome.run_seconds + spent)

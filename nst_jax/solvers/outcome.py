"""What a minimisation reports, what it needs to be resumed, and its outcome."""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from jaxtyping import Array, Float, Int
from numpy import ndarray

from nst_jax.solvers import solver
from nst_jax.solvers.stopping import Rows, Status, Watch


@dataclass(frozen=True)
class Progress:
    """What a callback gets after each chunk.

    Attributes:
        evaluations: function evaluations so far.
        losses: every term at the last evaluation.
        x: the best point so far, or the average if the optimiser keeps one; on the device.
        rows: the rows of the chunk.
    """

    evaluations: int
    losses: dict[str, float]
    x: Array
    rows: Rows


class Carried(NamedTuple):
    """All that is needed to resume a run with the same results as without the interruption.

    Attributes:
        state: the state of the solver.
        rows: all rows so far.
        compile_seconds: time spent on compilation so far.
        run_seconds: time of the run so far, without compilation.
        args: the function's data, if the run has renewed it; otherwise None.
    """

    state: solver.State
    rows: Rows | None = None
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    args: Any = None


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        x: the best point, or the average if the optimiser keeps one; on the device.
        rows: all rows of the run.
        status: how the run ended.
        compile_seconds: time spent on compilation.
        run_seconds: time of the run, without compilation.
        state: the solver's last state, of all lanes together; None if it is not needed. For a
            single run that ended at its limit or on a plateau it belongs to the last row. Otherwise
            it may be a chunk ahead.
    """

    x: Array
    rows: Rows
    status: Status
    compile_seconds: float
    run_seconds: float
    state: solver.State | None

    @property
    def losses(self) -> dict[str, Float[ndarray, " n"]]:
        """Every term at each row; `losses[name][i]` belongs to `evaluations[i]`."""
        return self.rows.terms

    @property
    def evaluations(self) -> Int[ndarray, " n"]:
        """The number of function evaluations up to each row."""
        return self.rows.evaluations

    @property
    def restarts(self) -> int:
        """How often the optimiser restarted after a blow-up."""
        return int(self.rows.restarted.sum())


class Lane:
    """One of several minimisations side by side; `index` is None for one that runs alone."""

    def __init__(self, watch: Watch, index: int | None = None):
        self.watch, self.index = watch, index
        self.status: Status | None = None
        self.best_x: Any = None
        self.last: Any = None

    @property
    def goes_on(self) -> bool:
        """Whether the lane has not ended by itself yet."""
        return self.status is None

    @property
    def x(self) -> Array:
        """The best point so far, or the average if the optimiser keeps one."""
        return self.best_x if self.index is None else self.best_x[self.index]

    def take(self, rows: Rows, best_x: Array) -> None:
        """Add the rows and the best point of a chunk, unless the lane has ended."""
        if self.goes_on and rows.evaluations.size:
            self.best_x, self.last = best_x, rows
            if self.watch.diverged(rows):
                self.status = "diverged"

    def judge(self, end: int, seconds: float) -> None:
        """End the lane if its limits are reached after `end` evaluations and `seconds`."""
        if self.goes_on:
            self.status = self.watch.ended(end, seconds)

    def progress(self) -> Progress:
        """The progress of the lane after the last chunk."""
        losses = {name: float(values[-1]) for name, values in self.last.terms.items()}
        return Progress(int(self.last.evaluations[-1]), losses, self.x, self.last)

    def outcome(
        self, ending: Status, compile_seconds: float, run_seconds: float, state: solver.State
    ) -> Outcome:
        """The outcome of the lane; `ending` is how the whole run ended."""
        return Outcome(
            x=self.x,
            rows=cast(Rows, self.watch.rows),
            status=self.status or ending,
            compile_seconds=compile_seconds,
            run_seconds=run_seconds,
            state=state,
        )

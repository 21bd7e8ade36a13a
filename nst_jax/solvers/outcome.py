"""What a minimisation tells on the way, what it carries, and what comes of it."""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from jaxtyping import Array, Float, Int
from numpy import ndarray

from nst_jax.solvers import solver
from nst_jax.solvers.stopping import Rows, Status, Watch


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
    """All that a run needs to go on as if it had never stopped.

    `args` is the function's data where the run has renewed it, else None.
    """

    state: solver.State
    rows: Rows | None = None
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    args: Any = None


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
    def losses(self) -> dict[str, Float[ndarray, " n"]]:
        """Every term; `losses[name][i]` belongs to `evaluations[i]`."""
        return self.rows.terms

    @property
    def evaluations(self) -> Int[ndarray, " n"]:
        """The function evaluations used up to each row."""
        return self.rows.evaluations

    @property
    def restarts(self) -> int:
        """How often a blow-up made the optimiser start again."""
        return int(self.rows.restarted.sum())


class Lane:
    """One of the minimisations that run side by side; `index` is None for one that runs alone."""

    def __init__(self, watch: Watch, index: int | None = None):
        self.watch, self.index = watch, index
        self.status: Status | None = None
        self.best_x: Any = None
        self.last: Any = None

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended by itself."""
        return self.status is None

    @property
    def x(self) -> Array:
        """The best point so far."""
        return self.best_x if self.index is None else self.best_x[self.index]

    def take(self, rows: Rows, best_x: Array) -> None:
        """Take up what a chunk brought, unless the lane has ended."""
        if self.goes_on and rows.evaluations.size:
            self.best_x, self.last = best_x, rows
            if self.watch.diverged(rows):
                self.status = "diverged"

    def judge(self, end: int, seconds: float) -> None:
        """End it where its limits say so, after `end` evaluations and so many seconds."""
        if self.goes_on:
            self.status = self.watch.ended(end, seconds)

    def progress(self) -> Progress:
        """What there is to tell."""
        losses = {name: float(values[-1]) for name, values in self.last.terms.items()}
        return Progress(int(self.last.evaluations[-1]), losses, self.x, self.last)

    def outcome(
        self, ending: Status, compile_seconds: float, run_seconds: float, state: solver.State
    ) -> Outcome:
        """What came of it; `ending` is how the whole run ended."""
        return Outcome(
            x=self.x,
            rows=cast(Rows, self.watch.rows),
            status=self.status or ending,
            compile_seconds=compile_seconds,
            run_seconds=run_seconds,
            state=state,
        )

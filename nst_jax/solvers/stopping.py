"""When a run ends: after a number of evaluations, after a time, on a plateau, or after blow-ups.

The host decides this after each chunk of evaluations.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Status = Literal["finished", "interrupted", "stopped", "diverged", "plateau", "time"]

_MAX_FAILURES = 3


@dataclass(frozen=True)
class Limits:
    """When a run ends by itself.

    Attributes:
        iterations: number of function evaluations; a line search that has begun is finished.
        seconds: time limit, compilation included; None for none. The run ends after the chunk in
            which the limit is reached.
        tolerance: the lowest total is checked at every multiple of `patience` evaluations. The run
            ends if it fell by less than this share since the last check. 0 switches this off.
        patience: evaluations between two checks.
    """

    iterations: int
    seconds: float | None = None
    tolerance: float = 0.0
    patience: int = 50

    def left(self, spent: float) -> float:
        """The seconds left when `spent` have passed; infinity without a limit."""
        return np.inf if self.seconds is None else self.seconds - spent


class Rows(NamedTuple):
    """The record of a run, on the host, as numpy arrays with one row for each step.

    `terms[name][i]` and `restarted[i]` belong to `evaluations[i]`; see `solver.Trace`.
    """

    terms: dict[str, Float[np.ndarray, " n"]]
    evaluations: Int[np.ndarray, " n"]
    restarted: Bool[np.ndarray, " n"]


def joined(parts: Sequence[Rows]) -> Rows:
    """Concatenate the rows of several parts of a run."""
    return Rows(
        {name: np.concatenate([rows.terms[name] for rows in parts]) for name in parts[0].terms},
        np.concatenate([rows.evaluations for rows in parts]),
        np.concatenate([rows.restarted for rows in parts]),
    )


class Watch:
    """Follows the rows of a run as they come in, and decides when the run ends and why.

    Args:
        limits: when to end.
        rows: the rows of an earlier run that this one continues. Their blow-ups count, but are not
            warned of again.
        name: name of the run in warnings, if there are several.
    """

    def __init__(self, limits: Limits, rows: Rows | None = None, name: str = ""):
        self._limits = limits
        self._seen: list[Rows] = []
        self._blow_ups = _BlowUps(name)
        if rows is not None:
            self._seen.append(rows)
            self._blow_ups.too_many(rows, tell=False)

    @property
    def rows(self) -> Rows | None:
        """All rows so far; None if there are none."""
        return joined(self._seen) if self._seen else None

    def diverged(self, rows: Rows) -> bool:
        """Add the rows of a chunk, and return whether there were too many blow-ups."""
        self._seen.append(rows)
        return self._blow_ups.too_many(rows)

    def renewed(self) -> None:
        """Totals before this do not compare with those that follow."""
        self._blow_ups.best = np.inf

    def ended(self, asked: int, seconds: float) -> Status | None:
        """Why the run is over after `asked` evaluations and `seconds`; None if it goes on."""
        limits = self._limits
        if limits.left(seconds) <= 0:
            return "time"
        if limits.tolerance and asked % limits.patience == 0 and self._flat(asked):
            return "plateau"
        return None

    def _flat(self, asked: int) -> bool:
        totals = np.concatenate([rows.terms["total"] for rows in self._seen])
        evaluations = np.concatenate([rows.evaluations for rows in self._seen])
        earlier = totals[evaluations <= asked - self._limits.patience]
        if not np.isfinite(earlier).any():
            return False
        before, now = np.nanmin(earlier), np.nanmin(totals)
        return bool(before - now < self._limits.tolerance * abs(before))


class _BlowUps:
    """Counts blow-ups since the last better point; warns of the first one and of the last one.

    After a blow-up the optimiser restarts from the best point, and evaluates it once more. A fault
    that it meets again and again is therefore seen only in that no better point is found.
    """

    def __init__(self, name: str = ""):
        self.where = f"{name}: at" if name else "At"
        self.failures, self.best, self.warned = 0, np.inf, False

    def too_many(self, rows: Rows, *, tell: bool = True) -> bool:
        """Whether the run must end with these rows; warns of their blow-ups if `tell`."""
        for i, (total, blown) in enumerate(zip(rows.terms["total"], rows.restarted, strict=True)):
            if blown:
                self.failures += 1
                if tell:
                    self._warn(rows, i)
                self.warned = True
                if self.failures == _MAX_FAILURES:
                    return True
            elif total < self.best:
                self.failures, self.best = 0, total
        return False

    def _warn(self, rows: Rows, i: int) -> None:
        bad = [k for k, v in rows.terms.items() if not np.isfinite(v[i]) and k != "total"]
        what = f"{', '.join(bad)} became non-finite" if bad else "the loss or its gradient blew up"
        if self.failures == _MAX_FAILURES:
            then = f"stopped with the best picture, after {_MAX_FAILURES} blow-ups without progress"
        elif self.warned:
            return
        else:
            then = "went back to the best picture and restarted the optimiser"
        warnings.warn(
            f"{self.where} evaluation {rows.evaluations[i]} {what}: {then}. What may help: lower "
            "weights or a lower learning rate, precision 'float32', optimizer 'adam'.",
            RuntimeWarning,
            stacklevel=8,
        )

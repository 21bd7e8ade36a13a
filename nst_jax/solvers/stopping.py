"""What ends a run: evaluations, time, a plateau, blow-ups. Judged on the host, chunk by chunk."""

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
        iterations: function evaluations (a started line search is finished).
        seconds: time, compilation included; the run ends with the chunk in which it is up.
        tolerance: at each multiple of `patience` evaluations, end where the lowest total has
            fallen by less than this share of itself since the one before; 0 never ends.
        patience: evaluations between two such looks.
    """

    iterations: int
    seconds: float | None = None
    tolerance: float = 0.0
    patience: int = 50

    def left(self, spent: float) -> float:
        """The seconds that remain after so many; infinity without a limit."""
        return np.inf if self.seconds is None else self.seconds - spent


class Rows(NamedTuple):
    """What happened, on the host: `terms[name][i]` and `restarted[i]` at `evaluations[i]`."""

    terms: dict[str, Float[np.ndarray, " n"]]
    evaluations: Int[np.ndarray, " n"]
    restarted: Bool[np.ndarray, " n"]


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of several parts, one after the other."""
    return Rows(
        {name: np.concatenate([rows.terms[name] for rows in parts]) for name in parts[0].terms},
        np.concatenate([rows.evaluations for rows in parts]),
        np.concatenate([rows.restarted for rows in parts]),
    )


class Watch:
    """Looks at the rows of a run as they come in and says when it is to end, and how.

    Args:
        limits: when to end.
        rows: what happened before, which is not told again.
        name: what warnings call the run, where there are several.
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
        """All that happened, if anything has."""
        return joined(self._seen) if self._seen else None

    def diverged(self, rows: Rows) -> bool:
        """Take up the rows of a chunk; whether there were too many blow-ups."""
        self._seen.append(rows)
        return self._blow_ups.too_many(rows)

    def ended(self, asked: int, seconds: float) -> Status | None:
        """Whether a run is over after a chunk up to `asked` evaluations."""
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
    """Counts blow-ups since the last better point; says what the first was, and which is the last.

    Each ends in a restart from the best point, which is then evaluated once more: a fault that the
    optimiser walks into again and again shows only in that nothing gets better.
    """

    def __init__(self, name: str = ""):
        self.where = f"{name}: at" if name else "At"
        self.failures, self.best, self.warned = 0, np.inf, False

    def too_many(self, rows: Rows, *, tell: bool = True) -> bool:
        """Whether the run is to end with these rows."""
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

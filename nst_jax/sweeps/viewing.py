"""Show a sweep while it runs: to a callback, in a notebook, and as the sheet in its folder."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from nst_jax.stylizing.pyramid import Progress, is_stop
from nst_jax.stylizing.result import Stylization
from nst_jax.sweeps.result import Sweep

# Seconds from one contact sheet to the next.
_PAUSE = 5.0


@dataclass(frozen=True)
class SweepProgress:
    """What a callback of `sweep` gets.

    Attributes:
        sweep: the lanes that have ended; all others are missing.
        running: the progress of each lane that runs, by its number; `x` is its picture so far.
        evaluations: function evaluations so far, of all lanes together.
        total: function evaluations of the whole sweep, if no lane ends early.
    """

    sweep: Sweep
    running: Mapping[int, Progress]
    evaluations: int
    total: int

    def grid(self, size: int | None = 192) -> Image.Image:
        """The contact sheet of all lanes that have a picture; see `Sweep.grid`."""
        pictures = {i: np.asarray(now.x) for i, now in self.running.items()}
        return self.sweep.grid(size, running=pictures)


class Viewer:
    """Passes the progress of a sweep on.

    Args:
        sweep: the sweep without results.
        results: the results by the number of their lane; lanes are added while the sweep runs.
        total: function evaluations of the whole sweep.
        callback: gets a `SweepProgress`; the sweep stops if it returns True.
        sinks: functions that get the contact sheet from time to time.
    """

    def __init__(
        self,
        sweep: Sweep,
        results: Mapping[int, Stylization],
        total: int,
        callback: Callable[[SweepProgress], Any] | None,
        sinks: Sequence[Callable[[Image.Image], None]],
    ):
        self._sweep, self._results, self._total = sweep, results, total
        self._callback, self._sinks = callback, sinks
        self._counts: dict[int, int] = {}
        self._shown, self._stop = time.monotonic(), False

    @property
    def evaluations(self) -> int:
        """Function evaluations so far."""
        return sum(self._counts.values())

    def __call__(self, running: Mapping[int, Progress]) -> bool:
        """Show the running lanes; return whether the callback has asked to stop."""
        self._counts |= {i: now.evaluations for i, now in running.items()}
        done = replace(self._sweep, results=dict(self._results))
        now = SweepProgress(done, running, self.evaluations, self._total)
        if self._sinks and time.monotonic() - self._shown > _PAUSE:
            sheet = now.grid()
            for sink in self._sinks:
                sink(sheet)
            self._shown = time.monotonic()
        self._stop |= self._callback is not None and is_stop(self._callback(now))
        return self._stop


def notebook() -> Callable[[Image.Image], None] | None:
    """A function that shows a picture below the cell, in place of the one before.

    None outside of notebooks.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell is None or "IPKernelApp" not in shell.config:
        return None
    handle: Any = None

    def show(picture: Image.Image) -> None:
        nonlocal handle
        if handle is None:
            handle = ipython.display.display(picture, display_id=True)  # pyright: ignore
        else:
            handle.update(picture)

    return show

"""What a training writes while it goes: checkpoints, a trace of every step, previews."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from nst_jax.pictures import writing
from nst_jax.training import loop


class Files(NamedTuple):
    """What a training writes while it goes: paths, and how often, in steps."""

    checkpoint: str | os.PathLike | None = None
    checkpoint_every: int = 500
    resume: bool = False
    trace: str | os.PathLike | None = None
    previews: str | os.PathLike | None = None
    previews_every: int = 500


class Recorder:
    """Writes what was asked for while a training goes.

    Args:
        files: what, and where to.
        preview: draws a sheet of pictures with parameters.
        asked: what tells the training from others, kept with its checkpoints.
        step: how many steps there have been.
    """

    def __init__(
        self,
        files: Files,
        preview: Callable[[Mapping[str, Any]], Float[np.ndarray, "h w 3"]],
        asked: Mapping[str, Any],
        step: int,
    ):
        self.files, self.preview, self.asked = files, preview, asked
        self.began, self.totals = time.monotonic(), list[float]()
        if files.previews is not None:
            Path(files.previews).mkdir(parents=True, exist_ok=True)
        if files.trace is not None:
            path = Path(files.trace)
            # What a killed run wrote after its last checkpoint comes again.
            lines = (
                path.read_text("utf-8").splitlines(True)[:step] if step and path.exists() else []
            )
            path.write_text("".join(lines), "utf-8")

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self.began

    def recent(self) -> float | None:
        """The mean loss of the last hundred steps."""
        return float(np.mean(self.totals[-100:])) if self.totals else None

    def due(self, step: int) -> bool:
        """Whether a preview or a checkpoint is, after a step."""
        return self._preview(step) is not None or self._keeps(step)

    def _preview(self, step: int) -> Path | None:
        if self.files.previews is None or step % self.files.previews_every:
            return None
        return Path(self.files.previews) / f"{step:07}.png"

    def _keeps(self, step: int) -> bool:
        return self.files.checkpoint is not None and step % self.files.checkpoint_every == 0

    def report(self, now: loop.Now) -> None:
        """What is due after a step."""
        self.totals.append(now.terms["total"])
        if self.files.trace is not None:
            with open(self.files.trace, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": now.step} | now.terms) + "\n")
        if now.state is None:
            return
        if (path := self._preview(now.step)) is not None:
            writing.save(path, self.preview(now.state.average))
        if self._keeps(now.step):
            self.keep(now.state)

    def keep(self, state: loop.State) -> None:
        """Write a checkpoint, where one is wanted."""
        if self.files.checkpoint is not None:
            loop.save(self.files.checkpoint, state, self.asked)

"""Files that a training writes as it runs: checkpoints, a trace of every step, and previews."""

import contextlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.files import atomic
from nst_jax.pictures import writing
from nst_jax.training import loop


class Files(NamedTuple):
    """Which files a training writes as it runs, and how often.

    Attributes:
        checkpoint: the checkpoint file.
        checkpoint_every: steps from one checkpoint to the next.
        resume: whether to resume from the checkpoint if it exists.
        trace: a file of JSON lines, one with the loss terms of each step.
        previews: a folder for pictures drawn by the model so far.
        previews_every: steps from one preview to the next.
    """

    checkpoint: str | os.PathLike | None = None
    checkpoint_every: int = 500
    resume: bool = False
    trace: str | os.PathLike | None = None
    previews: str | os.PathLike | None = None
    previews_every: int = 500


class Recorder:
    """Writes the files of a training as it runs.

    Args:
        files: which files to write.
        preview: draws a sheet of pictures from parameters.
        asked: settings that identify the training, stored in its checkpoints.
        step: number of steps already done.
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
            # Drop what a killed run wrote after its last checkpoint: those steps are done again.
            lines = (
                path.read_text("utf-8").splitlines(True)[:step] if step and path.exists() else []
            )
            atomic.write(path, "".join(lines).encode())

    @property
    def seconds(self) -> float:
        """Seconds since the recorder was created."""
        return time.monotonic() - self.began

    def recent(self) -> float | None:
        """The mean loss of the last hundred steps."""
        return float(np.mean(self.totals[-100:])) if self.totals else None

    def due(self, step: int) -> bool:
        """Whether a preview or a checkpoint is due after a step."""
        return self._preview(step) is not None or self._keeps(step)

    def _preview(self, step: int) -> Path | None:
        if self.files.previews is None or step % self.files.previews_every:
            return None
        return Path(self.files.previews) / f"{step:07}.png"

    def _keeps(self, step: int) -> bool:
        return self.files.checkpoint is not None and step % self.files.checkpoint_every == 0

    def report(self, now: loop.Now) -> None:
        """Write everything that is due after a step."""
        self.totals.append(now.terms["total"])
        with self._given_up("trace"):
            if self.files.trace is not None:
                with open(self.files.trace, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": now.step} | now.terms) + "\n")
        if now.state is None:
            return
        with self._given_up("previews"):
            if (path := self._preview(now.step)) is not None:
                writing.save(path, self.preview(now.state.average))
        if self._keeps(now.step):
            self.keep(now.state)

    @contextlib.contextmanager
    def _given_up(self, what: str) -> Iterator[None]:
        """If the files of this name can no longer be written, warn and write no more of them."""
        try:
            yield
        except (OSError, InputError) as error:
            path = os.fspath(getattr(self.files, what))
            self.files = self.files._replace(**{what: None})
            reason = getattr(error.__cause__ or error, "strerror", None) or error
            warnings.warn(
                f"The {what} {path!r} cannot be written ({reason}): the training goes on without.",
                RuntimeWarning,
                stacklevel=4,
            )

    def keep(self, state: loop.State) -> None:
        """Write a checkpoint if the files include one."""
        if self.files.checkpoint is not None:
            loop.save(self.files.checkpoint, state, self.asked)

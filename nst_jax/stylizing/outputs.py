"""Options for the files that a run writes on the way. They do not change the result.

JAX is not imported, since the command line reads this.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nst_jax.errors import InputError


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The files that a run writes on the way. Values are checked on construction.

    Raises:
        InputError: a count is not a whole number from 1, a path is not a path, or `resume` is given
            without `checkpoint`.
    """

    checkpoint: str | os.PathLike | None = _option(
        None, "file that keeps the run, so that it can go on after a kill"
    )
    checkpoint_every: int = _option(100, "evaluations from one checkpoint to the next")
    resume: bool = _option(False, "go on from the checkpoint, if it is there")
    frames: str | os.PathLike | None = _option(
        None, "folder for intermediate pictures, named by their evaluation"
    )
    animation: str | os.PathLike | None = _option(
        None, "film of the intermediate pictures: .gif, .webp, or .mp4 (needs the extra `video`)"
    )
    frames_every: int = _option(20, "evaluations from one intermediate picture to the next")
    trace: str | os.PathLike | None = _option(
        None, "file for every term at every evaluation, one line of JSON each"
    )

    def __post_init__(self):
        """Check every value."""
        for name in ("checkpoint_every", "frames_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} is {value!r}, but must be a whole number from 1.")
        for name in ("checkpoint", "frames", "animation", "trace"):
            value = getattr(self, name)
            if not (value is None or (isinstance(value, str | os.PathLike) and os.fspath(value))):
                raise InputError(f"{name} is {value!r}, but must be a path.")
        require_source(self.checkpoint, resume=self.resume)


def require_source(checkpoint: Any, *, resume: bool) -> None:
    """Raise `InputError` if `resume` is given without `checkpoint`, before anything is loaded."""
    if resume and checkpoint is None:
        raise InputError("There is nothing to resume from: give checkpoint, a file, too.")


OUTPUTS = tuple(f.name for f in fields(Outputs))


def split(options: Mapping[str, Any]) -> tuple[Outputs, dict[str, Any]]:
    """Split options into the outputs and all others."""
    own = {name: value for name, value in options.items() if name in OUTPUTS}
    return Outputs(**own), {k: v for k, v in options.items() if k not in own}

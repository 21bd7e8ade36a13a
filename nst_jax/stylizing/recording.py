"""Write files during a run: intermediate pictures, a film, and every term of the loss."""

import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.files import atomic
from nst_jax.films import animation
from nst_jax.losses.registry import TERMS
from nst_jax.pictures import resizing, writing
from nst_jax.pictures.reading import Picture
from nst_jax.solvers.outcome import Progress
from nst_jax.solvers.stopping import Rows
from nst_jax.stylizing.outputs import Outputs

_FIRST = ("total", *TERMS)
_NOTHING: Mapping[str, np.ndarray] = {}


class Recorder:
    """Writes what the outputs ask for, from the reports of a run.

    If a file can no longer be written, the recorder warns and gives it up; the run goes on.

    Args:
        outputs: what to write.
        content: the content picture at the size of the result, for transparency and colour profile.

    Raises:
        InputError: a file cannot be written.
    """

    def __init__(self, outputs: Outputs, content: Picture):
        self._content, self._every = content, outputs.frames_every
        self._done, self._film = 0, list[np.ndarray]()
        wanted = {name: getattr(outputs, name) for name in ("frames", "animation", "trace")}
        self._places = {name: Path(place) for name, place in wanted.items() if place is not None}
        if "animation" in self._places:
            animation.check(self._places["animation"])
        if "trace" in self._places:
            atomic.check_place(self._places["trace"], overwrite=True)
        folder = self._places.get("frames")
        if folder is not None and not os.path.isdir(folder):
            atomic.check_place(folder, overwrite=False)

    @property
    def marks(self) -> tuple[int, ...]:
        """Numbers of evaluations; a report is needed at every multiple of each."""
        return (self._every,) if {"frames", "animation"} & self._places.keys() else ()

    def start(self, rows: Sequence[Rows] = (), kept: Mapping[str, np.ndarray] = _NOTHING) -> None:
        """Begin to record, or resume after `rows` with what a checkpoint `kept`."""
        if rows:
            self._done = int(rows[-1].evaluations[-1])
        self._film = list(kept.get("film", ()))
        text = "".join(line for part in rows for line in _lines(part))
        self._try("trace", lambda path: path.write_text(text, "utf-8"))
        self._try("frames", lambda path: path.mkdir(exist_ok=True))

    def kept(self) -> dict[str, np.ndarray]:
        """What a checkpoint must hold so that the film can be resumed."""
        return {"film": np.stack(self._film)} if self._film else {}

    def report(self, now: Progress) -> None:
        """Write all that is due; `now.x` is a picture in [0, 1]."""
        self._try("trace", lambda path: _append(path, _lines(now.rows)))
        due = self._done == 0 or now.evaluations // self._every > self._done // self._every
        self._done = now.evaluations
        if due and self.marks:
            self._take(np.asarray(now.x), now.evaluations)

    def finish(self, image: Float[np.ndarray, "h w 3"]) -> None:
        """Write the film, which ends with the result."""
        last = animation.frame(image)
        if self._film and np.array_equal(self._film[-1], last):
            self._film.pop()
        self._try("animation", lambda path: animation.save(path, [*self._film, last]))

    def _take(self, image: Float[np.ndarray, "_ _ 3"], evaluations: int) -> None:
        size = self._content.rgb.shape[:2]
        if image.shape[:2] != size:
            image = resizing.resize(image, size)
        if "animation" in self._places:
            self._film.append(animation.frame(image))
        name, alpha, icc = f"{evaluations:06}.png", self._content.alpha, self._content.icc
        self._try("frames", lambda path: writing.save(path / name, image, alpha=alpha, icc=icc))

    def _try(self, what: str, write: Callable[[Path], Any]) -> None:
        """Write a file if it was asked for; on failure, warn and give it up."""
        path = self._places.get(what)
        if path is None:
            return
        try:
            write(path)
        except (OSError, InputError) as error:
            del self._places[what]
            reason = getattr(error.__cause__ or error, "strerror", None) or error
            warnings.warn(
                f"The {what} {str(path)!r} cannot be written ({reason}): the run goes on without.",
                RuntimeWarning,
                stacklevel=4,
            )


def _append(path: Path, lines: Iterator[str]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)


def _lines(rows: Rows) -> Iterator[str]:
    """One line of JSON for each row; values that are not finite become null."""
    names = (*_FIRST, *sorted(rows.terms.keys() - set(_FIRST)))
    nothing = np.zeros_like(rows.terms["total"])
    for i, evaluation in enumerate(rows.evaluations):
        values = {k: float(rows.terms.get(k, nothing)[i]) for k in names}
        line = {"evaluation": int(evaluation)}
        line |= {k: v if math.isfinite(v) else None for k, v in values.items()}
        if rows.restarted[i]:
            line["restarted"] = True
        yield json.dumps(line) + "\n"

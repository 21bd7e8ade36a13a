"""The first frame of a film, to be looked at before all the rest is drawn."""

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from nst_jax.pictures import writing


class Preview:
    """The first frame as `OUT.preview.png`, until the film is complete.

    Args:
        target: the film.
        told: whether to say where it is.
    """

    def __init__(self, target: Path, *, told: bool):
        self._place, self._told = target.with_name(f"{target.name}.preview.png"), told

    def show(self, drawn: Float[np.ndarray, "h w 3"]) -> None:
        """Write the first frame, in [0, 1]."""
        writing.save(self._place, drawn)
        if self._told:
            tqdm.write(f"The first frame: {self._place}", file=sys.stderr)

    def remove(self) -> None:
        """Remove it, now that the film is complete."""
        self._place.unlink(missing_ok=True)

"""What later frames of an unfinished film are drawn from, so that a killed run goes on."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

_SUFFIX = ".state"


class States:
    """The states of the last frames of a film: arrays by name, one file for each frame.

    Args:
        folder: the folder of the unfinished film.
        length: how many states are kept.
    """

    def __init__(self, folder: Path, length: int):
        self._folder, self._length = folder, length

    def put(self, number: int, state: Mapping[str, np.ndarray]) -> None:
        """Keep the state after frame `number`; call it before the frame itself is kept.

        Raises:
            OSError, SafetensorError: it cannot be written.
        """
        part = self._folder / f"frame{_SUFFIX}.part"
        # safetensors takes the bytes of any array for those of one in C's order.
        save_file({k: np.ascontiguousarray(v) for k, v in state.items()}, part)
        os.replace(part, self._place(number))

    def forget(self, number: int) -> None:
        """Delete what is no longer needed now that frame `number` is kept."""
        self._place(number - self._length).unlink(missing_ok=True)

    def before(self, number: int) -> list[dict[str, np.ndarray]]:
        """The states after the last frames before frame `number`, the oldest first.

        They end at the first frame that has none.
        """
        found: list[dict[str, np.ndarray]] = []
        for one in range(number - 1, max(number - 1 - self._length, -1), -1):
            try:
                found.insert(0, load_file(self._place(one)))
            except (OSError, SafetensorError):
                break
        return found

    def clear(self) -> None:
        """Delete all states; the film is complete."""
        for path in self._folder.glob(f"*{_SUFFIX}*"):
            path.unlink()

    def _place(self, number: int) -> Path:
        return self._folder / f"{number:08}{_SUFFIX}"

"""Several passes over a film, forwards and backwards in turn (Ruder et al. 2016, section 4.4).

Each pass draws every frame again, from what it was and from its neighbour that was just drawn, so
that what comes into sight later tells on what was there before. The last pass goes forwards. In a
loop, the frame before the first one is the last one.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nst_jax.losses.regions import Regions
from nst_jax.videos.optimised import Frame, Past


class Store:
    """Frames in a folder, without loss, by number; a frame that is there is whole."""

    def __init__(self, folder: Path):
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def put(self, number: int, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        """Keep a frame."""
        part = self._folder / "frame.part"
        Image.fromarray(rgb).save(part, "PNG", compress_level=1)
        os.replace(part, self._place(number))

    def get(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """The frame of that number."""
        with Image.open(self._place(number)) as image:
            return np.asarray(image)

    def __contains__(self, number: int) -> bool:
        return self._place(number).exists()

    def __len__(self) -> int:
        return len(list(self._folder.glob("*.png")))

    def _place(self, number: int) -> Path:
        return self._folder / f"{number:06}.png"


def in_passes(
    artist: Any,
    film: Iterable[UInt8[np.ndarray, "h w 3"]],
    folder: Path,
    passes: int,
    *,
    loop: bool,
    told: Callable[[UInt8[np.ndarray, "h w 3"]], None],
    regions: Callable[[int], Regions | None] = lambda _: None,
) -> Store:
    """Draw a film in several passes; what is in the folder already is not drawn again.

    Args:
        artist: draws frames, as `Optimised` does.
        film: the frames.
        folder: where frames are kept, of the film and of each pass.
        passes: how many.
        loop: whether the first frame follows the last one.
        told: called with each frame that is drawn.
        regions: the regions of a frame, by its number.

    Returns:
        The frames of the last pass.
    """
    source = Store(folder / "film")
    for number, rgb in enumerate(film):
        if number not in source:
            source.put(number, rgb)
    count, before = len(source), None
    for number in range(1, passes + 1):
        drawn = Store(folder / f"pass{number}")
        step = 1 if (passes - number) % 2 == 0 else -1
        for one in range(count)[::step]:
            if one not in drawn:
                past = _past(
                    artist.reach, one, step, count, source, drawn, before if loop else None, regions
                )
                frame = unit(source.get(one))
                if before is None:
                    artist.resume(past, len(past))
                    found = artist.draw(frame, regions(one))
                else:
                    found = artist.again(frame, unit(before.get(one)), past, regions(one))
                drawn.put(one, np.rint(found * 255).astype(np.uint8))
            told(drawn.get(one))
        before = drawn
    assert before is not None
    return before


def _past(
    reach: int,
    one: int,
    step: int,
    count: int,
    source: Store,
    drawn: Store,
    before: Store | None,
    regions: Callable[[int], Regions | None],
) -> list[Past]:
    """The frames before one in a pass, the nearest last; in a loop, also those of the last pass."""
    found: list[Past] = []
    for lag in range(1, min(reach, count - 1) + 1):
        place = one - step * lag
        there = drawn if 0 <= place < count else before
        if there is None:
            break
        place %= count
        past = Past(unit(source.get(place)), unit(there.get(place)), regions(place))
        found.insert(0, past)
    return found


def unit(rgb: UInt8[np.ndarray, "h w 3"]) -> Frame:
    """A frame in [0, 1]."""
    return rgb / np.float32(255)

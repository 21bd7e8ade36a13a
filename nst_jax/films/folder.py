"""Films as folders of pictures, one for each frame."""

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from nst_jax.errors import InputError
from nst_jax.films.film import RATE, Film, Frame
from nst_jax.pictures import reading, resizing
from nst_jax.pictures.sources import SUFFIXES


def probe(folder: Path, rate: float | None) -> Film:
    """The film that a folder's pictures make.

    Args:
        folder: the folder.
        rate: frames per second; None for 25.

    Raises:
        InputError: there are no pictures, or the first cannot be read.
    """
    if rate is not None and not 0 < rate <= 1000:
        raise InputError(f"The rate is {rate!r}, but must be frames per second, up to 1000.")
    try:
        files = files_of(folder)
    except OSError as error:
        raise InputError(
            f"The folder {str(folder)!r} cannot be read ({error.strerror}): check its permissions."
        ) from error
    if not files:
        raise InputError(f"The folder {str(folder)!r} holds no pictures to make a film of.")
    first = reading.read(files[0])
    height, width, _ = first.rgb.shape
    speed = Fraction(rate or RATE).limit_denominator(1001)
    alpha = any(map(_is_transparent, files))
    return Film(height, width, speed, 1 / speed, folder, alpha=alpha, count=len(files))


def frames(film: Film, height: int, width: int, skip: int) -> Iterator[Frame]:
    """Yield the pictures of a folder; see `reading.frames`.

    Raises:
        InputError: a picture cannot be read or has another size.
    """
    assert film.source is not None
    for number, path in islice(enumerate(files_of(film.source)), skip, None):
        found = reading.read(path)
        h, w, _ = found.rgb.shape
        if (h, w) != (film.height, film.width):
            raise InputError(
                f"The picture {str(path)!r} is {w}x{h} pixels, but the film's first one is "
                f"{film.width}x{film.height}: bring all to one size."
            )
        rgb, alpha = resizing.resize_with_alpha(found.rgb, found.alpha, (height, width))
        if film.alpha and alpha is None:
            alpha = np.ones((height, width), np.float32)
        opacity = None if alpha is None else _to_uint8(alpha)
        yield Frame(_to_uint8(rgb), number * film.unit, film.unit, opacity)


class Pictures:
    """Frames that are written as a folder of PNG files."""

    def __init__(self, folder: Path):
        self._folder, self.done = folder, 0
        while self._place(folder, self.done + 1).exists():
            self.done += 1

    def add(self, frame: Frame) -> None:
        """Write a frame."""
        pixels = frame.rgb if frame.alpha is None else np.dstack([frame.rgb, frame.alpha])
        part = self._folder / "frame.part"
        Image.fromarray(pixels).save(part, "PNG", compress_level=3)
        os.replace(part, self._place(self._folder, self.done + 1))
        self.done += 1

    def close(self) -> None:
        """Nothing is left to write."""

    def move(self, path: Path) -> None:
        """Make the folder the one at `path`, or put its frames there if that has files."""
        if not path.exists() or not any(path.iterdir()):
            if path.exists():
                path.rmdir()
            os.rename(self._folder, path)
            return
        for number in range(1, self.done + 1):
            os.replace(self._place(self._folder, number), self._place(path, number))

    @staticmethod
    def _place(folder: Path, number: int) -> Path:
        return folder / f"{number:06}.png"


def _is_transparent(path: Path) -> bool:
    """Whether a picture's header tells of transparency; a bad picture is told of in its turn."""
    try:
        with Image.open(path) as image:
            return image.has_transparency_data
    except (OSError, ValueError):
        return False


def _to_uint8(values: Float[np.ndarray, "*n"]) -> UInt8[np.ndarray, "*n"]:
    return np.rint(values * 255).astype(np.uint8)


def files_of(folder: Path) -> list[Path]:
    """The pictures of a folder, in order; numbers in their names count as numbers."""

    def order(path: Path) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", path.name)
        return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]

    return sorted((p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES), key=order)

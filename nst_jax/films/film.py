"""What a film and its frames are, and the formats in which films are written."""

import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nst_jax.errors import InputError
from nst_jax.files.atomic import check_place

BT709 = 1  # colour primaries and transfer in the numbers of ITU-T H.273, as films carry them
RATE = 25  # frames per second of a folder, and of films that do not tell


class Frame(NamedTuple):
    """A frame, upright, with BT.709 or sRGB colours, and opacity if the film has transparency.

    Time and duration are in seconds. A film with sound that begins earlier starts later than 0.
    """

    rgb: UInt8[np.ndarray, "h w 3"]
    time: Fraction
    duration: Fraction
    alpha: UInt8[np.ndarray, "h w"] | None = None


@dataclass(frozen=True)
class Film:
    """A film to read or to write.

    Attributes:
        height: height of the upright frames in pixels.
        width: width of the upright frames in pixels.
        rate: frames per second, on average.
        unit: seconds from one time stamp to the next; times of frames are multiples of it.
        source: the file or the folder of frames; None for a film that is made here.
        start: seconds by which the source's time stamps are too late.
        pixel: width of a pixel over its height.
        alpha: whether frames have transparency.
        hdr: whether frames have to be mapped from a high dynamic range or a wide gamut.
        primaries: primaries of the frames' colours, as a number of H.273.
        transfer: transfer function of the frames' colours, as a number of H.273.
        count: number of frames as far as it is known beforehand.
    """

    height: int
    width: int
    rate: Fraction
    unit: Fraction
    source: Path | None = None
    start: Fraction = Fraction(0)
    pixel: Fraction = Fraction(1)
    alpha: bool = False
    hdr: bool = False
    primaries: int = BT709
    transfer: int = BT709
    count: int | None = None


class Format(NamedTuple):
    """A format of films.

    Attributes:
        muxer: FFmpeg's name of the container.
        sound: encoder for sound that cannot be copied; None if the format has no sound.
        subtitles: encoder for subtitles that cannot be copied, or None.
        alpha: whether it keeps transparency.
        pixel: whether it keeps pixels that are not square.
    """

    muxer: str
    sound: str | None = None
    subtitles: str | None = None
    alpha: bool = False
    pixel: bool = False


FORMATS = {
    ".mp4": Format("mp4", "aac", "mov_text", pixel=True),
    ".mov": Format("mov", "aac", "mov_text", alpha=True, pixel=True),
    ".mkv": Format("matroska", "aac", "ass", pixel=True),
    # PyAV cannot set the shape of its pixels.
    ".webm": Format("webm", "libopus", "webvtt", alpha=True),
    ".gif": Format("gif", alpha=True),
}
FOLDER = Format("png", alpha=True)


def format_of(path: Path) -> Format:
    """The format of the film at `path`: by its suffix, or a folder of frames if it has none."""
    return FORMATS[path.suffix.lower()] if path.suffix and not os.path.isdir(path) else FOLDER


def check(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Check that a film can be written at `path`, and return the path.

    Raises:
        InputError: the suffix is unknown, the film or a folder with files exists and `overwrite`
            is false, or the place cannot be written to.
    """
    path = Path(path)
    if path.suffix and not os.path.isdir(path) and path.suffix.lower() not in FORMATS:
        raise InputError(
            f"The film {str(path)!r} must end in one of {', '.join(FORMATS)}, or have no suffix "
            "to become a folder of frames."
        )
    if not os.path.isdir(path):
        # A file is not replaced by a folder.
        return check_place(path, overwrite=overwrite and bool(path.suffix))
    try:
        used = bool(os.listdir(path))
    except OSError as error:
        raise InputError(
            f"The folder {str(path)!r} cannot be used ({error.strerror}): choose another place."
        ) from error
    if used and not overwrite:
        raise InputError(
            f"The folder {str(path)!r} has files already: choose another name, or overwrite "
            "its frames with --force (in Python overwrite=True)."
        )
    check_place(path / "000001.png", overwrite=True)
    return path


def square(film: Film) -> Film:
    """The film with square pixels: its frames become wider or narrower."""
    return replace(film, width=max(1, round(film.width * film.pixel)), pixel=Fraction(1))

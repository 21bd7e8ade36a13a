"""Write animations of a run as GIF, WebP or MP4."""

import io
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from nst_jax.errors import InputError
from nst_jax.files.atomic import check_place
from nst_jax.files.atomic import write as write_file
from nst_jax.films.film import Film, Frame
from nst_jax.pictures import resizing

SUFFIXES = (".gif", ".webp", ".mp4")
_LONG_SIDE = 640
_PER_SECOND = 10
_LAST_SECONDS = 2


def check(path: str | os.PathLike) -> Path:
    """Check that an animation can be written at `path`, and return the path.

    Raises:
        InputError: the suffix is unknown, MP4 is asked for without PyAV, or the place cannot be
            written to.
    """
    path = check_place(path, overwrite=True)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"The animation {str(path)!r} must end in one of {', '.join(SUFFIXES)}: the suffix "
            "chooses the format."
        )
    if path.suffix.lower() == ".mp4":
        from nst_jax.films import extra  # noqa: F401
    return path


def frame(rgb: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Convert a picture in [0, 1] to a frame whose long side is at most 640 pixels."""
    height, width, _ = rgb.shape
    if max(height, width) > _LONG_SIDE:
        rgb = resizing.resize(rgb, resizing.fit(height, width, _LONG_SIDE))
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def save(path: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> None:
    """Write frames of one size as an animation: ten frames a second, the last for two seconds.

    Raises:
        InputError: the file cannot be written.
    """
    if path.suffix.lower() == ".mp4":
        _save_mp4(path, frames)
        return
    first, *rest = (Image.fromarray(array) for array in frames)
    milliseconds = [1000 // _PER_SECOND] * len(rest) + [1000 * _LAST_SECONDS]
    file = io.BytesIO()
    options = {"quality": 85} if path.suffix.lower() == ".webp" else {}
    first.save(
        file,
        path.suffix[1:].upper(),
        save_all=True,
        append_images=rest,
        duration=milliseconds,
        loop=0,
        **options,
    )
    write_file(path, file.getvalue())


def _save_mp4(path: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> None:
    from nst_jax.films import writing

    height, width, _ = frames[0].shape
    rate = Fraction(_PER_SECOND)
    with writing.opened(path, Film(height, width, rate, 1 / rate), overwrite=True) as out:
        for number, rgb in enumerate(frames, 1):
            length = _LAST_SECONDS if number == len(frames) else 1 / rate
            out.write(Frame(rgb, (number - 1) / rate, Fraction(length)))

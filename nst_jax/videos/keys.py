"""Key frames: painted frames of a film, found by their names."""

import os
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.films import folder, reading
from nst_jax.films.film import Film
from nst_jax.pictures import resizing
from nst_jax.pictures.reading import read

_ROUNDING = 2  # pixels by which a painting program may make a side longer or shorter


def read_keys(
    keys: Any, film: Film, size: tuple[int, int]
) -> dict[int, Float[np.ndarray, "h w 3"]]:
    """Read the key frames of a film, by the number of the frame, from 0.

    Args:
        keys: a folder of pictures, each named by the number of its frame, from 1, or as that frame
            is if the film is a folder; or a mapping from such numbers to pictures.
        film: the film.
        size: height and width of the frames, to which keys are resized.

    Raises:
        InputError: there are no keys, one is no frame of the film or has another shape, or it
            cannot be read.
    """
    given = keys if isinstance(keys, Mapping) else _files(keys)
    if not given:
        raise InputError("There is no key frame: give at least one painted frame of the film.")
    names = _names(film)
    found: dict[int, Any] = {}
    for name, picture in given.items():
        number = _number(str(name), names, film)
        if number in found:
            raise InputError(
                f"There are two key frames for frame {number + 1} of {str(film.source)!r}: leave "
                "out one of them."
            )
        rgb = read(picture, what="key frame").rgb
        _require_shape(rgb, film, str(name))
        found[number] = resizing.resize(rgb, size)
    return dict(sorted(found.items()))


def require_frames(keys: Mapping[int, Any], film: Film) -> None:
    """Check that a film is long enough for its keys, by decoding it up to the last one.

    Raises:
        InputError: a key is beyond its end.
    """
    last = max(keys)
    count = sum(1 for _ in islice(reading.frames(film, 16, 16), last + 1))
    if count <= last:
        raise InputError(
            f"The key frame {last + 1} is no frame of {str(film.source)!r}, which has {count}: "
            "name keys by the number of their frame, from 1."
        )


def _files(keys: Any) -> dict[str, Path]:
    if not isinstance(keys, str | os.PathLike) or not os.path.isdir(keys):
        raise InputError(
            f"The keys are {str(keys)!r}, but must be a folder of painted frames, or a mapping "
            "from numbers of frames to pictures."
        )
    found: dict[str, Path] = {}
    for path in folder.files_of(Path(keys)):
        if path.stem in found:
            raise InputError(
                f"There are two key frames named {path.stem!r} in {str(keys)!r}: leave out one."
            )
        found[path.stem] = path
    return found


def _names(film: Film) -> dict[str, int]:
    """The frames of a folder by name, without suffix; those of a film have no names."""
    if film.source is None or not film.source.is_dir():
        return {}
    return {path.stem: number for number, path in enumerate(folder.files_of(film.source))}


def _number(name: str, names: Mapping[str, int], film: Film) -> int:
    if name in names:
        return names[name]
    digits = re.fullmatch(r"\D*0*(\d+)", name)
    if digits and names:
        # Numbers of frames in a folder are those in their names: 7 is 0007 or frame_0007.
        same = [n for other, n in names.items() if re.fullmatch(rf"\D*0*{digits[1]}", other)]
        if len(same) == 1:
            return same[0]
    if digits and not names and int(digits[1]) >= 1:
        return int(digits[1]) - 1
    example = next(iter(names), "000001")
    raise InputError(
        f"The key frame {name!r} is no frame of {str(film.source)!r}: name keys as their frames "
        f"are, such as {example!r}."
    )


def _require_shape(rgb: Float[np.ndarray, "h w 3"], film: Film, name: str) -> None:
    high, wide, _ = rgb.shape
    scale = max(high / film.height, wide / film.width)
    if (
        abs(film.height * scale - high) > _ROUNDING + scale
        or abs(film.width * scale - wide) > _ROUNDING + scale
    ):
        raise InputError(
            f"The key frame {name!r} is {wide}x{high} pixels and the film "
            f"{film.width}x{film.height}, which is another shape: paint whole frames, uncropped."
        )

"""Read label maps and masks: from pictures or arrays to one soft mask for each region.

A label is a string: a grey level from "0" (black) to "255" (white), a colour such as "#ff8000", or
the number that an array of whole numbers holds.
"""

import os
import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from nst_jax.errors import InputError
from nst_jax.pictures import reading, sources
from nst_jax.pictures.resizing import resize_masks
from nst_jax.pictures.sources import PictureSource

# For each label, how much each pixel belongs to its region: (h, w), float32 in [0, 1].
Masks = dict[str, Float[np.ndarray, "_ _"]]
MapSource = PictureSource | Sequence[PictureSource]

_MAX_LABELS = 64
_HARD_GREYS = 16  # a grey picture with more levels is a mask with soft edges
_MIN_SHARE, _MIN_TOTAL = 0.001, 0.9  # smallest share of the map for one label, and for all labels
_NAMES = {"black": "0", "white": "255"}


def read(source: MapSource, what: str) -> Masks:
    """Read regions from a label map, or from a list with one mask for each region.

    - A list holds one grey mask for each region, white where the region is. Labels are "1", "2",
      ...
    - An array of whole numbers or booleans, (h, w), is a label map; its numbers are the labels. An
      array of uint8 is read as a picture.
    - A grey picture with more than 16 levels is a soft mask with two labels: "255" for white and
      "0" for black. Grey pixels belong to both, in proportion to their level.
    - In any other picture each colour or grey that fills at least a thousandth of it is a label.
      The remaining pixels, such as antialiased edges, go to the nearest label.

    Args:
        source: one picture or array, or a list of them.
        what: name of the source in error messages.

    Raises:
        InputError: `reading.read` cannot read a picture, there are too many colours, or a mask has
            colours or is empty.
    """
    if isinstance(source, list | tuple):
        if not source:
            raise InputError(f"The {what} is an empty list: give one mask for each region.")
        return {
            str(n): read_mask(mask, f"mask {n} of the {what}") for n, mask in enumerate(source, 1)
        }
    if isinstance(source, str | os.PathLike | bytes | Image.Image):
        numbers = reading.read_numbers(source, what=what)
        if numbers is not None and np.unique(numbers).size <= _MAX_LABELS:
            return _by_label(numbers, what, str)
    else:
        array = np.asarray(cast(sources.ArrayLike, source))
        if array.ndim == 2 and array.dtype.kind in "iub" and array.dtype != np.uint8:
            return _by_label(array.astype(np.int64), what, str)
    rgb = reading.read(cast(PictureSource, source), what=what).rgb
    levels = np.rint(rgb * 255).astype(np.int64)
    if (levels == levels[..., :1]).all():
        if np.unique(levels).size > _HARD_GREYS:
            return {"0": 1 - rgb[..., 0], "255": rgb[..., 0]}
        return _by_label(levels[..., 0], what, str)
    return _by_label(levels @ np.array([1 << 16, 1 << 8, 1]), what, _colour)


def read_mask(source: PictureSource, what: str) -> Float[np.ndarray, "h w"]:
    """Read a grey picture as a mask: white is 1, black is 0.

    Masks as segmentation code makes them are taken too: booleans, and whole numbers of any type.
    Where the largest number is 1, it is white; otherwise 255 is.

    Raises:
        InputError: `reading.read` cannot read the picture, or it has colours or is all black;
            whole numbers below 0 or above 255.
    """
    rgb = reading.read(_of_numbers(source, what), what=what).rgb
    if rgb.max() == np.float32(1 / 255):
        rgb = rgb * 255
    if np.ptp(rgb, axis=-1).max() > 0.1:
        raise InputError(f"The {what} has colours; expected a mask of greys, white where it holds.")
    mask = rgb.mean(axis=-1)
    if not mask.max() > 0:
        raise InputError(f"The {what} is black everywhere, so its region is empty: leave it out.")
    return mask


def _of_numbers(source: PictureSource, what: str) -> PictureSource:
    """An array of booleans or whole numbers as greys in 8 bits; anything else as it is."""
    if isinstance(source, str | os.PathLike | bytes | Image.Image):
        numbers = reading.read_numbers(source, what=what)
        if numbers is None or numbers.max() > 255:
            return source
        array = numbers
    else:
        array = np.asarray(cast(sources.ArrayLike, source))
    if array.dtype.kind not in "iub" or not array.size:
        return source
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 255:
        raise InputError(
            f"The {what} has whole numbers from {low} to {high}; a mask has 0 and 1, or 0 to 255."
        )
    return array.astype(np.uint8)


def resized(
    mask: Float[np.ndarray, "*r h w"], height_width: tuple[int, int]
) -> Float[np.ndarray, "*r h2 w2"]:
    """Resize masks; hard edges become soft."""
    return mask if mask.shape[-2:] == height_width else resize_masks(mask, height_width)


def parse_label(text: Any) -> str:
    """Convert a label such as "White", "#F80", "#ff8000", "255" or 255 to the form in `read`."""
    label = str(text).strip().lower()
    label = _NAMES.get(label, label)
    if re.fullmatch(r"#[0-9a-f]{3}", label):
        label = "#" + "".join(2 * digit for digit in label[1:])
    red, green, blue = label[1:3], label[3:5], label[5:]
    if re.fullmatch(r"#[0-9a-f]{6}", label) and red == green == blue:
        return str(int(red, 16))
    return label


def _by_label(codes: Int[np.ndarray, "h w"], what: str, name: Any) -> Masks:
    found, where, counts = np.unique(codes, return_inverse=True, return_counts=True)
    large = counts >= _MIN_SHARE * codes.size
    if large.sum() > _MAX_LABELS or counts[large].sum() < _MIN_TOTAL * codes.size:
        raise InputError(
            f"The {what} has {found.size} different colours or numbers, so it is no label map: "
            f"paint each region in one of at most {_MAX_LABELS} colours, without antialiasing, and "
            "save as PNG."
        )
    labels = found[large]
    distance = np.abs(_channels(found)[:, None] - _channels(labels)[None]).sum(-1)
    nearest = distance.argmin(axis=1)[where].reshape(codes.shape)
    return {name(int(label)): (nearest == n).astype(np.float32) for n, label in enumerate(labels)}


def _colour(code: int) -> str:
    return parse_label(f"#{code:06x}")


def _channels(codes: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n 3"]:
    """Red, green and blue of packed colours. Greys and other small numbers are in the last one."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)

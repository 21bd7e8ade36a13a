"""Read label maps and masks: from pictures or arrays to one soft mask for each region.

A label is a string: a grey level from "0" (black) to "255" (white), a colour such as "#ff8000", or
the number that an array of whole numbers holds.
"""

import os
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

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


def read(source: MapSource | Masks, what: str) -> Masks:
    """Read regions from a label map, or from a list with one mask for each region.

    - A list holds one grey mask for each region, white where the region is. Labels are "1", "2",
      ...
    - An array of whole numbers or booleans, (h, w), is a label map; its numbers are the labels. An
      array of uint8 is read as a picture.
    - A grey picture with more than 16 levels is a soft mask with two labels: "255" for white and
      "0" for black. Grey pixels belong to both, in proportion to their level.
    - A mapping is masks that were read already.
    - In any other picture each colour or grey that fills at least a thousandth of it is a label.
      The remaining pixels, such as antialiased edges, go to the nearest label.

    Args:
        source: one picture or array, a list of them, or a mapping from label to mask.
        what: name of the source in error messages.

    Raises:
        InputError: `reading.read` cannot read a picture, there are too many colours, or a mask has
            colours or is empty.
    """
    if isinstance(source, dict):
        return source
    if isinstance(source, list | tuple):
        if not source:
            raise InputError(f"The {what} is an empty list: give one mask for each region.")
        return {
            str(n): read_mask(mask, f"mask {n} of the {what}") for n, mask in enumerate(source, 1)
        }
    codes = numbers_of(cast(PictureSource, source), what)
    if codes is not None:
        return palette_of(*np.unique(codes, return_counts=True), what, colours=False).masks(codes)
    rgb = reading.read(cast(PictureSource, source), what=what).rgb
    codes = packed(np.rint(rgb * 255))
    palette = palette_of(*np.unique(codes, return_counts=True), what)
    if palette.soft:
        return {"0": 1 - rgb[..., 0], "255": rgb[..., 0]}
    return palette.masks(codes)


def numbers_of(source: PictureSource, what: str) -> Int[np.ndarray, "h w"] | None:
    """The numbers of a region map that holds labels as whole numbers; None for a picture.

    Raises:
        InputError: `reading.read` cannot read it.
    """
    if isinstance(source, str | os.PathLike | bytes | Image.Image):
        numbers = reading.read_numbers(source, what=what)
        return numbers if numbers is not None and np.unique(numbers).size <= _MAX_LABELS else None
    array = np.asarray(cast(sources.ArrayLike, source))
    if array.ndim == 2 and array.dtype.kind in "iub" and array.dtype != np.uint8:
        return array.astype(np.int64)
    return None


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


class Palette(NamedTuple):
    """What the colours or numbers of region maps mean: of one, or of all maps of a film.

    Attributes:
        kind: what a code is: a number that is a label, a grey level, or a colour as 0xrrggbb.
        labels: the codes of the labels; none for soft masks, with the labels "0" and "255".
    """

    kind: Literal["number", "grey", "colour"]
    labels: Int[np.ndarray, " n"]

    @property
    def soft(self) -> bool:
        """Whether the maps are soft masks."""
        return not self.labels.size

    def masks(self, codes: Int[np.ndarray, "h w"]) -> Masks:
        """The masks of a map; those of labels that it lacks are zero.

        Args:
            codes: numbers, or colours as 0xrrggbb.
        """
        if self.kind == "grey":
            codes = levels(codes)
        if self.soft:
            white = (codes / 255).astype(np.float32)
            return {"0": 1 - white, "255": white}
        found, where = np.unique(codes, return_inverse=True)
        distance = np.abs(_channels(found)[:, None] - _channels(self.labels)[None]).sum(-1)
        nearest = distance.argmin(axis=1)[where].reshape(codes.shape)
        name = _colour if self.kind == "colour" else str
        return {
            name(int(label)): (nearest == n).astype(np.float32)
            for n, label in enumerate(self.labels)
        }


def palette_of(
    codes: Int[np.ndarray, " n"],
    counts: Int[np.ndarray, " n"],
    what: str,
    *,
    colours: bool = True,
    spread: int = 0,
) -> Palette:
    """Find the labels of region maps; see `read`.

    Args:
        codes: the different colours of all pixels, as 0xrrggbb, or their numbers.
        counts: how many pixels have each.
        what: name of the maps in error messages.
        colours: whether the codes are colours.
        spread: by how many levels the channels of a grey may differ.

    Raises:
        InputError: there are too many colours or numbers.
    """
    kind = "colour" if colours else "number"
    if colours and spread_of(codes) <= spread:
        kind, (codes, where) = "grey", np.unique(levels(codes), return_inverse=True)
        counts = np.bincount(where, counts).astype(np.int64)
        if codes.size > _HARD_GREYS:
            return Palette(kind, np.zeros(0, np.int64))
    large = counts >= _MIN_SHARE * counts.sum()
    if large.sum() > _MAX_LABELS or counts[large].sum() < _MIN_TOTAL * counts.sum():
        raise InputError(
            f"The {what} has {codes.size} different colours or numbers, so it is no label map: "
            f"paint each region in one of at most {_MAX_LABELS} colours, without antialiasing, and "
            "save as PNG."
        )
    return Palette(kind, codes[large])


def packed(rgb: Any) -> Int[np.ndarray, "h w"]:
    """Colours in 0..255, (h, w, 3), as 0xrrggbb."""
    return rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def spread_of(codes: Int[np.ndarray, "*n"]) -> int:
    """By how many levels the channels of packed colours differ at most."""
    return int(np.ptp(_channels(codes), axis=-1).max())


def levels(codes: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """The grey levels of packed colours."""
    return np.rint(_channels(codes).mean(-1)).astype(np.int64)


def _colour(code: int) -> str:
    return parse_label(f"#{code:06x}")


def _channels(codes: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n 3"]:
    """Red, green and blue of packed colours. Greys and other small numbers are in the last one."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)

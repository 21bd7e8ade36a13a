"""Contact sheets: pictures in rows, with names for columns, rows and single pictures."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from nst_jax.pictures import resizing

_GAP, _TEXT = 8, 13
_LINE = _TEXT + 5


def contact_sheet(
    rows: Sequence[Sequence[Float[np.ndarray, "_ _ 3"] | None]],
    *,
    size: int | None = None,
    columns: Sequence[str] = (),
    beside: Sequence[str] = (),
    below: Sequence[Sequence[str]] = (),
) -> Image.Image:
    """Lay out pictures in rows on a white sheet.

    Names that are too long for their place are broken into lines.

    Args:
        rows: rows of pictures, RGB in [0, 1], of any sizes; None leaves a place empty.
        size: long side of each picture on the sheet in pixels; None keeps the pictures' sizes.
        columns: a name for each column, written above it.
        beside: a name for each row, written to its left.
        below: for each row, a name for each picture, written below it.

    Returns:
        A PIL picture, which notebooks can show.
    """
    pictures = [[None if p is None else _at(p, size) for p in row] for row in rows]
    by_column = list(itertools.zip_longest(*pictures))
    widths = [max((p.shape[1] for p in column if p is not None), default=1) for column in by_column]
    heights = [max((p.shape[0] for p in row if p is not None), default=1) for row in pictures]
    font = ImageFont.load_default(_TEXT)
    names = [_broken(name, font, width) for name, width in zip(columns, widths, strict=False)]
    captions = [
        [_broken(name, font, width) for name, width in zip(row, widths, strict=False)]
        for row in below
    ]
    parts = [part for name in beside for part in name.split(", ")]
    left = max((int(font.getlength(part)) + _GAP for part in parts), default=0)
    top = _LINE * max((len(lines) for lines in names), default=0)
    feet = [_LINE * max((len(lines) for lines in row), default=0) for row in captions]
    feet = feet or [0] * len(rows)
    height = top + sum(heights) + sum(feet) + _GAP * (len(rows) - 1)
    sheet = Image.new("RGB", (left + sum(widths) + _GAP * (len(widths) - 1), height), "white")
    draw = ImageDraw.Draw(sheet)

    def write(lines: Sequence[str], x: int, y: int) -> None:
        for i, line in enumerate(lines):
            draw.text((x, y + i * _LINE), line, fill="black", font=font)

    across = [left + sum(widths[:i]) + _GAP * i for i in range(len(widths))]
    for lines, x in zip(names, across, strict=False):
        write(lines, x, 0)
    y = top
    for i, row in enumerate(pictures):
        if beside:
            write(beside[i].split(", "), 0, y)
        for j, picture in enumerate(row):
            if picture is not None:
                pixels = np.rint(picture * 255).astype(np.uint8)
                sheet.paste(Image.fromarray(pixels), (across[j], y))
            if captions:
                write(captions[i][j], across[j], y + heights[i] + 2)
        y += heights[i] + feet[i] + _GAP
    return sheet


def square_sheet(
    pictures: Sequence[Float[np.ndarray, "_ _ 3"] | None],
    names: Sequence[str],
    *,
    size: int | None = None,
) -> Image.Image:
    """Lay out pictures to about a square, each with its name below; see `contact_sheet`."""
    width = math.ceil(math.sqrt(len(pictures)))
    lines = range(0, len(pictures), width)
    return contact_sheet(
        [pictures[i : i + width] for i in lines],
        size=size,
        below=[names[i : i + width] for i in lines],
    )


def _at(picture: np.ndarray, size: int | None) -> np.ndarray:
    picture = np.clip(picture, 0, 1)
    if size is None:
        return picture
    height, width, _ = picture.shape
    return resizing.resize(picture, resizing.fit(height, width, size))


def _broken(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a name into lines that fit: at every comma, and anywhere else where needed."""
    lines: list[str] = []
    for part in name.split(", "):
        line = ""
        for character in part:
            if line and font.getlength(line + character) > width:
                lines.append(line)
                line = ""
            line += character
        lines.append(line)
    return lines

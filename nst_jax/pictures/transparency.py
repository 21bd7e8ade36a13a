"""Transparent pixels of style pictures: they have a colour in the file, but nobody sees it."""

import numpy as np
from jaxtyping import Bool, Float

from nst_jax.errors import InputError
from nst_jax.pictures import reading
from nst_jax.pictures.reading import Picture
from nst_jax.pictures.sources import PictureSource, named

HIDDEN = 1 / 255  # below this opacity, a pixel's colour cannot be told


def read_style(source: PictureSource, *, size: int | None = None) -> Picture:
    """Read a style picture. Its transparent pixels get the mean colour of the visible ones.

    Networks see beyond the edge of what is visible, and the mean colour adds least there. The alpha
    of the picture says which pixels belong to the style.

    Raises:
        InputError: `reading.read` cannot read the picture, or all of it is transparent.
    """
    picture = reading.read(source, size=size, what="style picture")
    if picture.alpha is None:
        return picture
    hidden = picture.alpha < HIDDEN
    if hidden.all():
        raise InputError(
            f"The {named(source, 'style picture')} is transparent everywhere: give one that shows "
            "something."
        )
    rgb = flattened(picture.rgb, hidden)
    return Picture(rgb, picture.alpha, picture.icc, picture.original)


def flattened(
    rgb: Float[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """Give hidden pixels the mean colour of the visible ones."""
    return np.where(hidden[..., None], rgb[~hidden].mean(0), rgb)


def repeated(
    rgb: Float[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """Give hidden pixels colours of visible ones, so that both parts have the same distribution.

    There must be hidden and visible pixels.
    """
    found, visible, count = rgb.copy(), rgb[~hidden], hidden.sum()
    found[hidden] = visible[np.arange(count) * len(visible) // count]
    return found

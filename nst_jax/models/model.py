"""The base class of models, the picture that they draw, and helpers that all models use."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from nst_jax import devices
from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.models import tiling
from nst_jax.options import WEIGHT, is_number
from nst_jax.pictures import color, masks, reading, resizing, sources
from nst_jax.pictures.drawn import Drawn
from nst_jax.pictures.reading import Picture
from nst_jax.pictures.sheet import square_sheet
from nst_jax.pictures.sources import PictureSource

_SMALLEST = 16
_SHARE = 0.5  # share of the free memory that a picture's activations may take
# Draws pictures (b, h, w, 3) of one size; in tiles, it draws them one by one. That of a model that
# `carries` takes second what is carried from the frames before, (b, h, w, 4), or nothing.
Painter = Callable[..., Float[np.ndarray, "b h w 3"]]


class Model(ABC):
    """A network that draws pictures in one pass.

    Attributes:
        name: name of the model's file.
        digest: digest of its parameters.
        training: settings and sources of its training, in plain values.
        styles: names of the styles that it has learned; empty for a model for any style.
        carries: whether it draws a frame of a film with the result of the frame before it, warped
            to this frame where that can be trusted.
    """

    name: str
    digest: str
    training: Mapping[str, Any]
    styles: tuple[str, ...] = ()
    carries: bool = False

    @abstractmethod
    def painter(
        self,
        style: Any,
        height: int,
        width: int,
        *,
        strength: float = 1.0,
        keep_colors: bool = False,
        tile: int | None = None,
    ) -> Painter:
        """Return a function that draws batches of pictures, such as frames of a film, in a style.

        Args:
            style: as in `__call__`, and so are the options below.
            height: height of the pictures in pixels.
            width: width of the pictures in pixels.
            strength: how much of the style to use.
            keep_colors: whether to keep the chroma of the pictures.
            tile: side of the tiles in pixels.
        """

    def __call__(
        self,
        picture: PictureSource,
        style: Any = None,
        *,
        size: int | None = None,
        strength: float = 1.0,
        keep_colors: bool = False,
        tile: int | None = None,
    ) -> Drawn:
        """Draw a picture in a style.

        Args:
            picture: path, bytes, PIL picture, numpy or JAX array.
            style: for a model with `styles`: one of their names, several with weights
                (`"night:2,ink"`), or a mapping from name to a number or a mask (a grey picture,
                white where the style applies). None if the model has only one style. For a model
                for any style: a picture, a list of pictures, or a mapping from file name to a
                number or a mask. Weights are normalised to a sum of 1.
            size: long side of the result in pixels; None keeps the picture's size.
            strength: for a model for any style, from 0 (the content unchanged) to 1.
            keep_colors: keep the picture's own chroma, and use only the lightness of the drawing.
            tile: side of the tiles in pixels; None uses tiles only if memory is short.

        Raises:
            InputError: a picture cannot be used, a style is unknown, or all weights are zero.
        """
        options: dict[str, Any] = {"strength": strength, "keep_colors": keep_colors, "tile": tile}
        return self.draw(read(picture, size), style, **options)

    def draw(self, picture: Picture, style: Any = None, **options: Any) -> Drawn:
        """Draw a picture that has been read, by `read`; see `__call__`.

        Raises:
            InputError: a style is unknown, or all weights are zero.
        """
        height, width, _ = picture.rgb.shape
        began = time.monotonic()
        image = self.painter(style, height, width, **options)(picture.rgb[None])[0]
        about = {
            "version": __version__,
            "model": self.name,
            "model_digest": self.digest,
            "style": _told(style),
            "strength": options.get("strength", 1.0),
            "keep_colors": options.get("keep_colors", False),
            "seconds": round(time.monotonic() - began, 3),
        }
        return Drawn(image, picture.alpha, picture.icc, about)

    def sheet(
        self,
        picture: PictureSource,
        styles: Sequence[Any] | None = None,
        *,
        size: int | None = 384,
        **options: Any,
    ) -> Image.Image:
        """A contact sheet: the picture, then its drawing in each style, with the styles' names.

        Args:
            picture: as for `__call__`.
            styles: the styles, each as for `__call__`; None takes all that the model has learned.
            size: long side of each drawing in pixels; None keeps the picture's size.
            **options: as for `__call__`.

        Returns:
            A PIL picture, which notebooks can show.

        Raises:
            InputError: `__call__` raises it, or there are no styles.
        """
        styles = list(self.styles if styles is None else styles)
        if not styles:
            raise InputError(
                f"The model '{self.name}' draws in the style of any picture and has learned none "
                "of its own: say which styles the sheet shows."
            )
        found = read(picture, size)
        drawn = [self.draw(found, style, **options) for style in styles]
        names = [str(one.about["style"]) for one in drawn]
        return square_sheet([found.rgb, *(one.image for one in drawn)], ["", *names])


def read(picture: PictureSource, size: int | None) -> Picture:
    """Read the picture to draw.

    Raises:
        InputError: the picture cannot be used, or is too small.
    """
    found = reading.read(picture, size=size)
    height, width, _ = found.rgb.shape
    if min(height, width) < _SMALLEST:
        raise InputError(
            f"The {sources.named(picture, 'picture')} is {width}x{height} pixels, but both sides "
            f"need at least {_SMALLEST}: give a larger size."
        )
    return found


def shares(weights: Mapping[str, Any], height: int, width: int) -> Float[np.ndarray, "*hw n"]:
    """Normalise weights of styles to a sum of 1.

    Args:
        weights: for each style by name, a number or a mask (a grey picture, white where the style
            applies).
        height: height of the picture.
        width: width of the picture.

    Returns:
        Weights for the whole picture, (n,), or with masks for each pixel, (h, w, n).

    Raises:
        InputError: a mask cannot be used, or all weights are zero somewhere.
    """
    planes = [
        np.float32(w)
        if is_number(w, *WEIGHT)
        else resizing.resize_masks(
            masks.read_mask(w, f"mask of the style {name}")[None], (height, width)
        )[0]
        for name, w in weights.items()
    ]
    found = np.stack(np.broadcast_arrays(*planes), axis=-1).astype(np.float32)
    total = found.sum(-1, keepdims=True)
    if not total.min() > 0:
        where = " at some pixels" if found.ndim == 3 else ""
        raise InputError(f"The weights of the styles are all zero{where}: give one a positive.")
    return found / total


def to_multiple(
    values: Float[np.ndarray, "*b h w c"], stride: int, *, before: bool = False
) -> Float[np.ndarray, "*b h2 w2 c"]:
    """Pad by reflection up to multiples of `stride`: below and on the right, or above and left."""
    rims = [(0, 0)] * values.ndim
    for axis in (-3, -2):
        more = -values.shape[axis] % stride
        rims[axis] = (more, 0) if before else (0, more)
    return np.pad(values, rims, mode="reflect")


def tile_for(widest: float, height: int, width: int) -> int | None:
    """The side of the tiles if memory is too short for the whole picture, else None.

    `widest` is the largest number of activations per pixel.
    """
    return tiling.tile_side(widest, height, width, int(_SHARE * devices.available()))


def finished(
    frames: Float[np.ndarray, "b h w 3"], found: Float[np.ndarray, "b h2 w2 3"], keep_colors: bool
) -> Float[np.ndarray, "b h w 3"]:
    """Crop drawings to the size of the frames, clip them to [0, 1], and restore chroma if asked."""
    found = np.clip(found[:, : frames.shape[1], : frames.shape[2]], 0, 1)
    if not keep_colors:
        return found
    pairs = zip(frames, found, strict=True)
    return np.stack([np.asarray(color.with_lightness(own, new)) for own, new in pairs])


def _told(style: Any) -> Any:
    """The style as a picture's metadata records it; folders are left out for privacy."""
    if isinstance(style, str | os.PathLike):
        return os.path.basename(style)
    if isinstance(style, Mapping):
        return {
            os.path.basename(k): w if is_number(w, *WEIGHT) else "mask" for k, w in style.items()
        }
    if isinstance(style, Sequence) and not isinstance(style, bytes):
        return [_told(one) for one in style]
    return None if style is None else "picture"

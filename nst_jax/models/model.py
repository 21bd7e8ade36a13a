"""What a model is, what it draws, and what models share: shares of styles, tiles, colours."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nst_jax import devices
from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.models import tiling
from nst_jax.options import WEIGHT, is_number
from nst_jax.pictures import color, masks, reading, resizing, writing
from nst_jax.pictures.reading import Picture, PictureSource

_SMALLEST = 16
_SHARE = 0.5  # of the free memory, for a picture's activations
# Draws pictures (b, h, w, 3) of one size; with tiles, one by one.
Painter = Callable[[Float[np.ndarray, "b h w 3"]], Float[np.ndarray, "b h w 3"]]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture that a model drew.

    Attributes:
        image: RGB float32 in [0, 1], (h, w, 3).
        alpha: the content's transparency, (h, w) in [0, 1], or None.
        icc: the content's colour profile, or None for sRGB; `save` converts back to it.
        about: what made it, in plain values; `save` embeds it.
    """

    image: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"] | None = None
    icc: bytes | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
        """Write PNG, JPEG, WebP or TIFF by suffix; as `Stylization.save`."""
        return writing.save(
            path,
            self.image,
            alpha=self.alpha,
            icc=self.icc,
            settings=self.about,
            overwrite=overwrite,
        )

    def _repr_png_(self) -> bytes:
        return writing.encode_png(self.image, self.alpha)

    def __repr__(self) -> str:
        h, w, _ = self.image.shape
        return f"Drawn({w}x{h}, {self.about.get('model')}, {self.about.get('seconds')} s)"


class Model(ABC):
    """What all models have: a name, a digest, styles, and the way from a picture to a picture."""

    name: str
    digest: str
    training: Mapping[str, Any]
    styles: tuple[str, ...] = ()

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
        """A function that draws pictures of this size in a style: batches, frames of a film."""

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
            style: of a model with `styles` one of them, several (`"night:2,ink"`), or a mapping
                from name to a number or a mask (a grey picture, white where the style holds); None
                where it has a single one. Of a model for any style a picture, several, or a mapping
                from file name to number or mask. Weights are brought to a sum of 1.
            size: long side of the result in pixels; None keeps the picture's own.
            strength: of a model for any style: 0 draws the content.
            keep_colors: take the picture's own chroma, and lightness alone from what is drawn.
            tile: side of the tiles in pixels; None takes tiles where memory is short.

        Raises:
            InputError: a picture that cannot be used, an unknown style, weights of no sum.
        """
        found = read(picture, size)
        height, width, _ = found.rgb.shape
        began = time.monotonic()
        options: dict[str, Any] = {"strength": strength, "keep_colors": keep_colors, "tile": tile}
        image = self.painter(style, height, width, **options)(found.rgb[None])[0]
        about = {
            "version": __version__,
            "model": self.name,
            "model_digest": self.digest,
            "style": _told(style),
            "strength": strength,
            "keep_colors": keep_colors,
            "seconds": round(time.monotonic() - began, 3),
        }
        return Drawn(image, found.alpha, found.icc, about)


def read(picture: PictureSource, size: int | None) -> Picture:
    """A picture to draw.

    Raises:
        InputError: one that cannot be used, or is too small.
    """
    found = reading.read(picture, size=size)
    height, width, _ = found.rgb.shape
    if min(height, width) < _SMALLEST:
        raise InputError(
            f"The picture is {width}x{height} pixels, but both sides need at least {_SMALLEST}: "
            "give a larger size."
        )
    return found


def shares(weights: Mapping[str, Any], height: int, width: int) -> Float[np.ndarray, "*hw n"]:
    """Weights of styles brought to a sum of 1: for the picture, (n,), or each pixel, (h, w, n).

    Args:
        weights: by the name of the style: a number, or a mask, a grey picture, white where it is.
        height: of the picture.
        width: of the picture.

    Raises:
        InputError: a mask that cannot be used, weights of no sum.
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
    values: Float[np.ndarray, "*b h w c"], stride: int
) -> Float[np.ndarray, "*b h2 w2 c"]:
    """With reflected rows and columns, below and right, up to multiples of `stride`."""
    h, w = values.shape[-3:-1]
    rims = ((0, 0),) * (values.ndim - 3) + ((0, -h % stride), (0, -w % stride), (0, 0))
    return np.pad(values, rims, mode="reflect")


def tile_for(widest: float, height: int, width: int) -> int | None:
    """The side of tiles where memory is short, else None."""
    return tiling.tile_side(widest, height, width, int(_SHARE * devices.available()))


def finished(
    frames: Float[np.ndarray, "b h w 3"], found: Float[np.ndarray, "b h2 w2 3"], keep_colors: bool
) -> Float[np.ndarray, "b h w 3"]:
    """Pictures as large as the frames, in [0, 1]; with the frames' chroma if that is kept."""
    found = np.clip(found[:, : frames.shape[1], : frames.shape[2]], 0, 1)
    if not keep_colors:
        return found
    pairs = zip(frames, found, strict=True)
    return np.stack([np.asarray(color.with_lightness(own, new)) for own, new in pairs])


def _told(style: Any) -> Any:
    """What a picture keeps of the style that was asked for; folders are nobody's business."""
    if isinstance(style, str | os.PathLike):
        return os.path.basename(style)
    if isinstance(style, Mapping):
        return {
            os.path.basename(k): w if is_number(w, *WEIGHT) else "mask" for k, w in style.items()
        }
    if isinstance(style, Sequence) and not isinstance(style, bytes):
        return [_told(one) for one in style]
    return None if style is None else "picture"

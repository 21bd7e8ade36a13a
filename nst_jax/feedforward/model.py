"""Models that draw in one pass: `load(FILE)`, and then `model(picture)`."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nst_jax import color, images, maps, memory, resample
from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.feedforward import modelfile, tiling, transformer
from nst_jax.feedforward.modelfile import ModelFile
from nst_jax.feedforward.transformer import STRIDE
from nst_jax.images import Picture, PictureSource
from nst_jax.parsing import WEIGHT, is_number, parse_layers, unknown

# How much there is of each style: a number, or a mask, white where it holds.
Style = str | Sequence[str] | Mapping[str, Any]
_SMALLEST = 16
_SHARE = 0.5  # of the free memory, for a picture's activations


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
        return images.save(
            path,
            self.image,
            alpha=self.alpha,
            icc=self.icc,
            settings=self.about,
            overwrite=overwrite,
        )

    def _repr_png_(self) -> bytes:
        return images.encode_png(self.image, self.alpha)

    def __repr__(self) -> str:
        h, w, _ = self.image.shape
        return f"Drawn({w}x{h}, {self.about.get('model')}, {self.about.get('seconds')} s)"


class Stylizer:
    """A transformer with its styles; `load` makes one from a model file.

    Args:
        file: what the file holds.
        name: of the file.

    Raises:
        InputError: tensors that do not fit the architecture.
    """

    def __init__(self, file: ModelFile, name: str):
        self.name, self.digest, self.training = name, file.digest, file.training
        self.styles = file.styles
        self.architecture = modelfile.architecture_of(file, name)
        self.parameters = {k: jnp.asarray(v) for k, v in file.tensors.items()}

    def __call__(
        self,
        picture: PictureSource,
        style: Style | None = None,
        *,
        size: int | None = None,
        keep_colors: bool = False,
        tile: int | None = None,
    ) -> Drawn:
        """Draw a picture in a style.

        Args:
            picture: path, bytes, PIL picture, numpy or JAX array.
            style: a name of `styles`, several, or a mapping from name to a number or a mask (a
                grey picture, white where the style holds); weights are brought to a sum of 1.
                None where the model has a single style.
            size: long side of the result in pixels; None keeps the picture's own.
            keep_colors: take the picture's own chroma, and lightness alone from what is drawn.
            tile: side of the tiles in pixels; None takes tiles where memory is short.

        Raises:
            InputError: a picture that cannot be used, an unknown style, weights of no sum.
        """
        read = images.read(picture, size=size)
        height, width, _ = read.rgb.shape
        if min(height, width) < _SMALLEST:
            raise InputError(
                f"The picture is {width}x{height} pixels, but both sides need at least "
                f"{_SMALLEST}: give a larger size."
            )
        began = time.monotonic()
        blend = self.blend(style, height, width)
        rgb = _to_multiple(read.rgb)
        if blend.ndim == 3:
            blend = _to_multiple(blend)
        if tile is None:
            free = int(_SHARE * memory.available())
            tile = tiling.tile_side(self.architecture, rgb.shape[0], rgb.shape[1], free)
        if tile is None:
            drawn = _transform(self.architecture, self.parameters, rgb[None], blend[None])
        else:
            drawn = tiling.transform_tiled(
                self.architecture, self.parameters, rgb[None], blend[None], tile
            )
        image = np.clip(np.asarray(drawn[0, :height, :width]), 0, 1)
        return self._drawn(read, image, style, keep_colors, began)

    def frames(
        self,
        frames: Float[np.ndarray, "b h w 3"],
        style: Style | None = None,
        *,
        keep_colors: bool = False,
    ) -> Float[np.ndarray, "b h w 3"]:
        """Pictures of one size, drawn at once: of a batch, or of a film."""
        _, height, width, _ = frames.shape
        blend = self.blend(style, height, width)
        if blend.ndim == 3:
            blend = _to_multiple(blend)
        every = np.broadcast_to(blend, (len(frames), *blend.shape))
        rgb = np.stack([_to_multiple(frame) for frame in frames])
        drawn = _transform(self.architecture, self.parameters, rgb, every)
        found = np.clip(np.asarray(drawn[:, :height, :width]), 0, 1)
        return _lightness(frames, found) if keep_colors else found

    def blend(self, style: Style | None, height: int, width: int) -> Float[np.ndarray, "*hw n"]:
        """The weights of the styles, summing to 1: for the picture, (n,), or each pixel, (h, w, n).

        Raises:
            InputError: an unknown style, weights of no sum.
        """
        wanted = self._wanted(style)
        shape = (height, width) if any(isinstance(w, np.ndarray) for w in wanted.values()) else ()
        found = np.zeros((*shape, len(self.styles)), np.float32)
        for name, weight in wanted.items():
            if isinstance(weight, np.ndarray):
                weight = resample.resize_masks(weight[None], (height, width))[0]
            found[..., self.styles.index(name)] = weight
        total = found.sum(-1, keepdims=True)
        if not total.min() > 0:
            where = " at some pixels" if shape else ""
            raise InputError(f"The weights of the styles are all zero{where}: give one a positive.")
        return found / total

    def _wanted(self, style: Style | None) -> dict[str, Any]:
        if style is None:
            if len(self.styles) == 1:
                return {self.styles[0]: 1.0}
            raise InputError(
                f"The model '{self.name}' has {len(self.styles)} styles: say which, of "
                f"{', '.join(self.styles)}."
            )
        if isinstance(style, Mapping):
            wanted: dict[str, Any] = {
                k: w if is_number(w, *WEIGHT) else maps.read_mask(w, f"mask of the style {k}")
                for k, w in style.items()
            }
        else:
            wanted = dict(parse_layers(style, "style"))
        for name in wanted:
            if name not in self.styles:
                raise InputError(unknown("style", name, self.styles))
        return wanted

    def _drawn(
        self, read: Picture, image: np.ndarray, style: Style | None, keep_colors: bool, began: float
    ) -> Drawn:
        if keep_colors:
            image = _lightness(read.rgb[None], image[None])[0]
        if isinstance(style, Mapping):
            style = {k: w if is_number(w, *WEIGHT) else "mask" for k, w in style.items()}
        about = {
            "version": __version__,
            "model": self.name,
            "model_digest": self.digest,
            "style": style if style is None or isinstance(style, str | dict) else list(style),
            "keep_colors": keep_colors,
            "seconds": round(time.monotonic() - began, 3),
        }
        return Drawn(image, read.alpha, read.icc, about)


def _lightness(
    colors: Float[np.ndarray, "b h w 3"], light: Float[np.ndarray, "b h w 3"]
) -> Float[np.ndarray, "b h w 3"]:
    return np.stack([color.with_lightness(c, x) for c, x in zip(colors, light, strict=True)])


_transform = partial(jax.jit, static_argnums=0)(transformer.transform)


def _to_multiple(values: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h2 w2 c"]:
    """With reflected rows and columns, below and right, up to multiples of 4."""
    h, w, _ = values.shape
    return np.pad(values, ((0, -h % STRIDE), (0, -w % STRIDE), (0, 0)), mode="reflect")


def load(path: str | os.PathLike) -> Stylizer:
    """A model from a file that `nst-jax train` wrote, ready to draw.

        model = nst.load("styles.safetensors")
        model("photo.jpg", "night").save("out.png")

    Raises:
        InputError: no such file, no model, a damaged one, one of another version or kind.
    """
    file, name = modelfile.load(path), Path(path).name
    if file.kind != modelfile.TRANSFORMER:
        raise InputError(f"The file {str(path)!r} holds a model of a kind not known: {file.kind}.")
    return Stylizer(file, name)

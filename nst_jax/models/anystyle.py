"""Models for any style, AdaIN, WCT and style swap: an encoder and the decoders trained with it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.losses.regions import at_layers, require_all
from nst_jax.losses.statistics.mrf import SIDE, middles
from nst_jax.models import modelfile, tiling, tinting, transfer
from nst_jax.models.model import Model, Painter, finished, shares, tile_for, to_multiple
from nst_jax.models.modelfile import ModelFile
from nst_jax.networks.base import Network
from nst_jax.options import WEIGHT, in_range
from nst_jax.patches import detail
from nst_jax.pictures import resizing, transparency
from nst_jax.pictures.reading import Picture
from nst_jax.pictures.sources import PictureSource, named
from nst_jax.programs import jit

_DEEPEST = 8  # stride of relu4_1 in pixels
_HALO = 48  # pixels that a position of relu4_1 sees to each side, at most
_WIDEST = 64.0  # activations per pixel in VGG19's first layers
_LARGEST = 1024  # long side of a style picture: beyond, only time and memory grow
STRENGTH = (*WEIGHT[:2], 1)


class AnyStyle(Model):
    """A model that draws in the style of any picture; see `transfer` for the methods.

    Args:
        file: the content of the model file.
        name: name of the file.
        network: the encoder with which its decoders were trained.

    Raises:
        InputError: the encoder is another one, or tensors do not fit.
    """

    def __init__(self, file: ModelFile, name: str, network: Network):
        self.name, self.digest, self.training = name, file.digest, file.training
        self.network, self.decoders = network, modelfile.decoders_of(file, name)
        self.method = file.architecture["method"]
        self.parameters = {k: jnp.asarray(v) for k, v in file.tensors.items()}
        if network.digest != file.architecture["encoder_digest"]:
            raise InputError(
                f"The model '{name}' was trained with other weights of {network.name} than those "
                "here: fetch or convert the ones that it names, or train it again."
            )

    def painter(
        self,
        style: Any,
        height: int,
        width: int,
        *,
        strength: float = 1.0,
        keep_colors: bool = False,
        tile: int | None = None,
        resized: bool = True,
    ) -> Painter:
        """See `Model.painter`; the statistics of the style pictures are computed here, once.

        If `resized`, style pictures get the size of the drawing, but at most 1024 pixels on the
        long side; otherwise they keep theirs.

        Raises:
            InputError: there is no style, a picture cannot be used, or `strength` is outside
                [0, 1].
        """
        in_range(strength, "strength", *STRENGTH)
        sources, weights_ = style_pictures(style)
        blend = shares(weights_, height, width)
        if self.method == "swap":
            self._require_patch(height, width)
        size = min(max(height, width), _LARGEST) if resized else None
        pictures = [_style(source, size) for source in sources]
        for picture in pictures:
            if picture.alpha is not None:
                guides: Any = at_layers(picture.alpha[None], self.network, list(self.decoders))
                if self.method == "swap":
                    guides = {level: middles(guide[0])[None] for level, guide in guides.items()}
                require_all(guides, ["that is opaque"], "style")
        measured = {
            level: [
                _measured(self.method, self.network, picture.rgb, picture.alpha, level)
                for picture in pictures
            ]
            for level in self.decoders
        }
        tile = tile or tile_for(_WIDEST, height, width)
        own = []
        if self.method == "whitened":
            own = [_own(picture.rgb, picture.alpha) for picture in pictures]

        def paint(frames: Float[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w 3"]:
            found = [self._painted(frame, measured, blend, strength, tile) for frame in frames]
            if own:
                pairs = zip(found, frames, strict=True)
                found = [_redrawn(*pair, own, blend, strength, tile) for pair in pairs]
            return finished(frames, np.stack(found), keep_colors)

        return paint

    def _require_patch(self, height: int, width: int) -> None:
        """Refuse pictures that have no patch of features at one of the levels."""
        for level in self.decoders:
            least = (SIDE - 1) * self.network.strides[level] + 1
            if min(height, width) < least:
                raise InputError(
                    f"The picture is {width}x{height} pixels, but style swap takes patches of "
                    f"{SIDE} x {SIDE} positions at {level}: both sides need at least {least}."
                )

    def _painted(
        self,
        frame: Float[np.ndarray, "h w 3"],
        measured: Mapping[str, Any],
        blend: Float[np.ndarray, "*hw k"],
        strength: float,
        tile: int | None,
    ) -> Float[np.ndarray, "h2 w2 3"]:
        x = to_multiple(frame, _DEEPEST)[None]
        for level, decoder in self.decoders.items():
            stride = self.network.strides[level]
            encode = partial(_encoded, self.network, level)
            own = {k: v for k, v in self.parameters.items() if k.startswith(f"{level}.")}
            decode = partial(_decoded, decoder, own)
            # The encoder pads with zeros, which the decoder would draw as a frame. So the picture
            # goes on by reflection, as far as features at its edge see.
            rim = -(-self.network.margins[level] // stride)
            wide = np.pad(x, ((0, 0), *[(rim * stride,) * 2] * 2, (0, 0)), mode="reflect")
            if tile is None:
                features = encode(wide)
            else:
                side = max(_DEEPEST, tile // _DEEPEST * _DEEPEST)
                features = tiling.over_tiles(encode, wide, side, _HALO, 1 / stride)
            features = features[:, rim:-rim, rim:-rim]
            here = at(blend, features.shape[1], features.shape[2])
            mixed = _transferred(self.method, features[0], measured[level], here, strength)[None]
            if tile is None:
                x = np.asarray(decode(mixed))
            else:
                side, halo = max(1, tile // stride), tiling.reach(decoder)
                x = tiling.over_tiles(decode, np.asarray(mixed), side, halo, float(stride))
        return x[0]


def _style(source: PictureSource, size: int | None) -> Picture:
    """Read a style picture with this long side, or a little larger; None keeps its size.

    Raises:
        InputError: the picture cannot be used, or is too small.
    """
    picture = transparency.read_style(source)
    height, width = picture.rgb.shape[:2]
    least = 4 * _DEEPEST
    if min(height, width) < least:
        small = named(source, "style picture")
        raise InputError(f"The {small} is too small: give one of at least {least} pixels.")
    if size is None:
        return picture
    size = max(size, -(-least * max(height, width) // min(height, width)))
    resized = resizing.resize_with_alpha(
        picture.rgb, picture.alpha, resizing.fit(height, width, size)
    )
    return Picture(*resized, picture.icc, picture.original)


def _redrawn(
    drawing: Float[np.ndarray, "h2 w2 3"],
    frame: Float[np.ndarray, "h w 3"],
    styles: Sequence[tuple[tinting.Tones, detail.Source]],
    blend: Float[np.ndarray, "*hw k"],
    strength: float,
    tile: int | None,
) -> Float[np.ndarray, "h2 w2 3"]:
    """Give a drawing the colours and the detail of its styles; see `tinting` and `detail`."""
    tones, details = zip(*styles, strict=True)
    shares = blend if blend.ndim == 1 else to_multiple(blend, _DEEPEST)
    drawing = np.asarray(_tinted(drawing, tones, shares, strength))
    # Every frame of a film gets the same noise: what stands still stays as it is.
    noise = np.random.default_rng(0).standard_normal(drawing.shape[:2], np.float32)
    # All planes in one array, which tiles are cut from.
    planes = [drawing, to_multiple(frame, _DEEPEST), noise[..., None]]
    if blend.ndim == 3:
        planes.append(shares)
    x = np.concatenate(planes, -1)[None]
    whole = blend if blend.ndim == 1 else None
    run = partial(_detailed, details=details, shares=whole, strength=strength)
    if tile is None:
        return np.asarray(run(x))[0]
    side = max(_DEEPEST, tile // _DEEPEST * _DEEPEST)
    return tiling.over_tiles(run, x, side, detail.REACH, 1.0)[0]


@jit()
def _detailed(x, details, shares, strength):
    drawing, content, noise, blend = jnp.split(x[0], (3, 6, 7), axis=-1)
    shares = blend if shares is None else shares
    return detail.redetailed(drawing, content, noise[..., 0], details, shares, strength)[None]


@jit(static=["level"])
def _encoded(network, level, images_):
    return transfer.encode(network, images_, level)


@jit(static=["decoder"])
def _decoded(decoder, parameters, features):
    return transfer.decode(decoder, parameters, features)


@jit(static=["method"])
def _transferred(method, features, measured, blend, strength):
    return transfer.transfer(method, features, measured, blend, strength)


@jit()
def _own(rgb, alpha):
    return tinting.tones(rgb, alpha), detail.source(rgb, alpha)


_tinted = jit()(tinting.tinted)


@jit(static=["method", "level"])
def _measured(method, network, image, alpha, level):
    weights = None if alpha is None else at_layers(alpha[None], network, [level])[level][0]
    return transfer.measure(method, network(image, (level,))[level], weights)


def at(blend: Float[np.ndarray, "*hw k"], rows: int, columns: int) -> np.ndarray:
    """Resize shares of styles to the size of features; shares for the whole picture are kept."""
    if blend.ndim == 1:
        return blend
    return np.moveaxis(resizing.resize_masks(np.moveaxis(blend, -1, 0), (rows, columns)), 0, -1)


def style_pictures(style: Any) -> tuple[list[PictureSource], dict[str, Any]]:
    """The style pictures, and their weights or masks by name, in the same order.

    Pictures in a list may come with their weight, as `(picture, 2.0)`.

    Raises:
        InputError: there is no style.
    """
    if isinstance(style, Mapping):
        return list(style), {str(name): weight for name, weight in style.items()}
    several = list(style) if isinstance(style, list | tuple) else [style]
    if style is None or not several:
        raise InputError("There is no style picture: give one, or several.")
    pairs = [one if isinstance(one, tuple) else (one, 1.0) for one in several]
    weights = {f"picture {n}": weight for n, (_, weight) in enumerate(pairs, 1)}
    return [picture for picture, _ in pairs], weights

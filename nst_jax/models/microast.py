"""MicroAST (Wang et al. 2023), a model for any style that needs no VGG.

Two small encoders, one for the content and one for the style, work at a quarter of the size. The
style's features become a code: means and deviations at two depths, and weights and biases that
modulate the filters of the decoder. Where that paper's network has grouped convolutions, this one
has full ones with zeros.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.linalg import dot
from nst_jax.models import modelfile, stages, tiling
from nst_jax.models.anystyle import STRENGTH, at, style_pictures
from nst_jax.models.layers import (
    EPSILON,
    Moments,
    convolve,
    depthwise,
    instance_moments,
    normalize,
    padded,
)
from nst_jax.models.model import Model, Painter, finished, shares, tile_for, to_multiple
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.stages import Parameters, Stage
from nst_jax.options import in_range
from nst_jax.pictures import transparency
from nst_jax.pictures.sources import PictureSource
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

STRIDE = 4  # of the features, in pixels
WIDTH = 64  # channels of the features
_WIDEST = 32.0  # activations per pixel after the last upsampling
LEVELS = ("shallow", "deep")
# A style's code: these four for each channel at each of the two levels.
PARTS = ("mean", "deviation", "weight", "bias")


def _conv(name: str, side: int, inputs: int, outputs: int, **how: Any) -> Stage:
    return Stage(name, "plain", side, inputs, outputs, normalized=False, **how)


def _block(name: str) -> tuple[Stage, Stage]:
    return _conv(f"{name}.a", 3, WIDTH, WIDTH), _conv(f"{name}.b", 3, WIDTH, WIDTH, adds=True)


def encoder(kind: str) -> dict[str, tuple[Stage, ...]]:
    """The stages of an encoder by level; `kind` is `content` or `style`."""
    first = (
        _conv(f"{kind}.conv1", 9, 3, 16),
        _conv(f"{kind}.conv2", 3, 16, 32, stride=2),
        _conv(f"{kind}.conv3", 1, 32, 32),
        _conv(f"{kind}.conv4", 3, 32, WIDTH, stride=2),
        _conv(f"{kind}.conv5", 1, WIDTH, WIDTH),
    )
    return {"shallow": first + _block(f"{kind}.res1"), "deep": _block(f"{kind}.res2")}


# The blocks that are modulated, and the way up to the picture.
BLOCKS = {level: _block(f"decoder.{level}") for level in LEVELS}
UP = (
    _conv("decoder.up1", 3, WIDTH, 32, doubles=True, smooth=True),
    _conv("decoder.up2", 1, 32, 32),
    _conv("decoder.up3", 3, 32, 16, doubles=True, smooth=True),
    _conv("decoder.up4", 1, 16, 16),
    _conv("decoder.out", 9, 16, 3, linear=True),
)


def shapes() -> dict[str, tuple[int, ...]]:
    """The shapes of all parameters, by name."""
    every = [
        stage for kind in ("content", "style") for part in encoder(kind).values() for stage in part
    ]
    found = stages.shapes([*every, *BLOCKS["deep"], *BLOCKS["shallow"], *UP])
    for level in LEVELS:
        for part in ("weight", "bias"):
            found[f"modulator.{level}.{part}.depthwise"] = (3, 3, WIDTH)
            found[f"modulator.{level}.{part}.bias"] = (WIDTH,)
    return found


class MicroAST(Model):
    """A model that draws in the style of any picture by MicroAST's network.

    Args:
        file: the content of the model file.
        name: name of the file.

    Raises:
        InputError: tensors do not fit.
    """

    def __init__(self, file: ModelFile, name: str):
        self.name, self.digest, self.training = name, file.digest, file.training
        modelfile.require_shapes(shapes(), file.tensors, name)
        self.parameters = {k: jnp.asarray(v) for k, v in file.tensors.items()}

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
        """See `Model.painter`; the codes of the style pictures are computed here, once.

        A `strength` below 1 mixes the style's code with the picture's own. The paper's alpha,
        which weakens the transfer of means and deviations alone, leaves no picture at all with
        the published weights.

        Raises:
            InputError: there is no style, a picture cannot be used, or `strength` is outside
                [0, 1].
        """
        in_range(strength, "strength", *STRENGTH)
        pictures, weights = style_pictures(style)
        blend = shares(weights, height, width)
        codes = np.stack([np.asarray(self._code(picture)) for picture in pictures])
        rows, columns = (-(-n // STRIDE) for n in (height, width))
        mixed = dot(at(blend, rows, columns), codes.reshape(len(codes), -1))
        code = np.asarray(mixed).reshape(*mixed.shape[:-1], *codes.shape[1:])

        def paint(frames: Float[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w 3"]:
            x = to_multiple(frames, STRIDE)
            found = np.concatenate([self._painted(one[None], code, strength, tile) for one in x])
            return finished(frames, found, keep_colors)

        return paint

    def _code(self, source: PictureSource) -> Float[Array, "2 4 c"]:
        picture = transparency.read_style(source)
        x = to_multiple(picture.rgb, STRIDE)[None]
        alpha = np.ones(x.shape[1:3], np.float32)
        if picture.alpha is not None:
            alpha = to_multiple(picture.alpha[..., None], STRIDE)[..., 0]
        return _measured(self.parameters, self._encoded("style", x, None), alpha)

    def _painted(
        self,
        x: Float[np.ndarray, "1 h w 3"],
        code: Float[np.ndarray, "*hw 2 4 c"],
        strength: float,
        tile: int | None,
    ) -> Float[np.ndarray, "1 h2 w2 3"]:
        if strength < 1:
            alpha = np.ones(x.shape[1:3], np.float32)
            own = _measured(self.parameters, self._encoded("style", x, tile), alpha)
            code = strength * code + (1 - strength) * np.asarray(own)
        features = self._encoded("content", x, tile)
        mixed = np.asarray(_modulated(self.parameters, features, code[None].astype(np.float32)))
        side, halo = _side(x, tile) // STRIDE, tiling.reach(UP)
        decode = partial(_run, UP, self.parameters)
        return tiling.over_tiles(decode, mixed, side, halo, float(STRIDE))

    def _encoded(
        self, kind: str, x: Float[np.ndarray, "1 h w 3"], tile: int | None
    ) -> Float[np.ndarray, "1 h2 w2 c"]:
        """The shallow features of a picture, in tiles if memory is short."""
        stages_ = encoder(kind)["shallow"]
        halo = -(-tiling.reach(stages_) // STRIDE) * STRIDE
        encode = partial(_run, stages_, self.parameters)
        return tiling.over_tiles(encode, x, _side(x, tile), halo, 1 / STRIDE)


def _side(x: Float[np.ndarray, "1 h w 3"], tile: int | None) -> int:
    """The side of the tiles; one tile is the whole picture if memory allows."""
    _, height, width, _ = x.shape
    side = tile or tile_for(_WIDEST, height, width) or max(height, width)
    return max(STRIDE, side // STRIDE * STRIDE)


def measure(
    parameters: Parameters,
    shallow: Float[AnyArray, "1 h2 w2 c"],
    alpha: Float[AnyArray, "h w"],
) -> Float[Array, "2 4 c"]:
    """The code of a style picture: `PARTS` at each of `LEVELS`.

    Args:
        parameters: arrays by name.
        shallow: the picture's features at the shallow level.
        alpha: weights of its pixels.
    """
    h, w = alpha.shape
    cells = jnp.asarray(alpha).reshape(h // STRIDE, STRIDE, w // STRIDE, STRIDE).mean((1, 3))
    weights = (cells / cells.sum())[None, ..., None]

    def average(x: Any) -> Any:
        return (x * weights).sum((0, 1, 2))

    deep = _through(encoder("style")["deep"], parameters, shallow)
    found = []
    for level, x in zip(LEVELS, (shallow, deep), strict=True):
        mean = average(x)
        variance = average(jnp.square(x - mean[None, None, None])) * _unbiased(x)
        found.append([mean, jnp.sqrt(variance + EPSILON)])
        for part in ("weight", "bias"):
            name = f"modulator.{level}.{part}"
            filtered = depthwise(padded(x, 1), parameters[f"{name}.depthwise"])
            found[-1].append(average(filtered) + parameters[f"{name}.bias"])
    return jnp.stack([jnp.stack(level) for level in found])


def modulated(
    parameters: Parameters,
    shallow: Float[AnyArray, "b h w c"],
    code: Float[AnyArray, "b *hw 2 4 c"],
) -> Float[Array, "b h w c"]:
    """Give a content's features the code of a style, at both levels, the deep one first.

    Args:
        parameters: arrays by name.
        shallow: the content's features at the shallow level.
        code: for each picture, (b, 2, 4, c), or for each position, (b, h, w, 2, 4, c).
    """
    x = _through(encoder("content")["deep"], parameters, shallow)
    code = jnp.asarray(code)
    for level in reversed(LEVELS):
        mean, deviation, weight, bias = jnp.moveaxis(code[..., LEVELS.index(level), :, :], -2, 0)
        moments = instance_moments(x)
        moments = Moments(moments.mean, jnp.asarray(moments.variance) * _unbiased(x))
        x = normalize(x, moments, deviation, mean)
        if weight.ndim == 2:
            weight, bias = weight[:, None, None], bias[:, None, None]
        y = before = x
        for stage, finish in zip(BLOCKS[level], (jax.nn.relu, lambda y: y), strict=True):
            kernel, shift = (parameters[f"{stage.name}.{part}"] for part in ("kernel", "bias"))
            filtered = convolve(padded(y, 1), kernel) + jnp.asarray(shift)[None, None, None]
            y = finish(weight * filtered + bias * y)
        x = before + y
    return x


def _through(part: tuple[Stage, ...], parameters: Mapping[str, Any], x: Any) -> Array:
    # These stages have no normalisation that a blend of styles could change.
    found, _ = stages.run(part, parameters, x, jnp.zeros((len(x), 1)), [None] * len(part))
    return found


def _unbiased(x: Any) -> float:
    """The factor from the mean of squares to the variance of a sample."""
    count = x.shape[1] * x.shape[2]
    return count / max(1, count - 1)


_measured, _modulated = jit()(measure), jit()(modulated)
_run = jit(static=["part"])(_through)

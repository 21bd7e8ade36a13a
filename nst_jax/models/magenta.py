"""Magenta's model for any style, whose scales and shifts are predicted (Ghiasi et al. 2017).

A network maps a style picture to a vector. The scales and shifts of a transformer are linear in
that vector, as they are linear in the weights of learned styles: the transformer is one with a
"style" for each number of the vector and one for the constant part.

The predicting network is MobileNetV2 (Sandler et al. 2018), as in Magenta's TensorFlow Lite files.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.linalg import dot
from nst_jax.models import modelfile, tiling, transformer
from nst_jax.models.anystyle import STRENGTH, style_pictures
from nst_jax.models.layers import convolve, depthwise, zero_padded
from nst_jax.models.model import Model, Painter, finished, shares, tile_for, to_multiple
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.stages import Parameters
from nst_jax.models.transformer import STRIDE
from nst_jax.options import in_range
from nst_jax.pictures import resizing, transparency
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

# Of each group of blocks: factor of expansion, output channels, blocks, stride of the first.
_GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM, _HEAD = 32, 1280
LENGTH = 100  # numbers of a style's vector
_SIDE = 256  # short side of a style picture, as in training
_CELL = 32  # stride of the last features


def _blocks() -> list[tuple[int, int, int, int]]:
    """Of each block: input, expanded and output channels, and stride."""
    found, inputs = [], _STEM
    for factor, outputs, count, stride in _GROUPS:
        for number in range(count):
            found.append((inputs, factor * inputs, outputs, 1 if number else stride))
            inputs = outputs
    return found


BLOCKS = _blocks()


def shapes() -> dict[str, tuple[int, ...]]:
    """The shapes of the predicting network's parameters, by name."""
    found: dict[str, tuple[int, ...]] = {"predict.stem.kernel": (3, 3, 3, _STEM)}
    for number, (inputs, wide, outputs, _) in enumerate(BLOCKS):
        name = f"predict.block{number}"
        if wide > inputs:
            found[f"{name}.expand.pointwise"] = (inputs, wide)
        found[f"{name}.filter.depthwise"] = (3, 3, wide)
        found[f"{name}.project.pointwise"] = (wide, outputs)
    found["predict.head.pointwise"] = (BLOCKS[-1][2], _HEAD)
    found["predict.vector.pointwise"] = (_HEAD, LENGTH)
    biases = {f"{name.rpartition('.')[0]}.bias": (shape[-1],) for name, shape in found.items()}
    return found | biases


class Magenta(Model):
    """A model that draws in the style of any picture, whose style it predicts.

    Args:
        file: the content of the model file.
        name: name of the file.

    Raises:
        InputError: the tensors do not fit.
    """

    def __init__(self, file: ModelFile, name: str):
        self.name, self.digest, self.training = name, file.digest, file.training
        self.architecture = modelfile.architecture_of(file, name, LENGTH + 1)
        modelfile.require_shapes(shapes(), file.tensors, name)
        every = {k: jnp.asarray(v) for k, v in file.tensors.items()}
        self.predictor = {k: every[k] for k in shapes()}
        self.parameters = {k: every[k] for k in self.architecture.shapes}

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
        """See `Model.painter`; the vectors of the style pictures are predicted here, once.

        A `strength` below 1 mixes the style's vector with the picture's own.

        Raises:
            InputError: there is no style, a picture cannot be used, or `strength` is outside
                [0, 1].
        """
        in_range(strength, "strength", *STRENGTH)
        sources, weights = style_pictures(style)
        pictures = [transparency.read_style(source) for source in sources]
        vectors = np.stack([self.vector(picture.rgb, picture.alpha) for picture in pictures])
        mixed = np.asarray(dot(shares(weights, height, width), vectors))
        if mixed.ndim == 3:
            mixed = to_multiple(mixed, STRIDE)
        tile = tile or tile_for(self.architecture.widest, height, width)

        def paint(frames: Float[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w 3"]:
            found = []
            for frame, one in zip(frames, to_multiple(frames, STRIDE), strict=True):
                own = self.vector(frame, None) if strength < 1 else 0.0
                vector = (strength * mixed + (1 - strength) * own).astype(np.float32)
                blend = np.concatenate([vector, np.ones_like(vector[..., :1])], -1)[None]
                found.append(self._painted(one[None], blend, tile))
            return finished(frames, np.concatenate(found), keep_colors)

        return paint

    def vector(
        self, rgb: Float[np.ndarray, "h w 3"], alpha: Float[np.ndarray, "h w"] | None
    ) -> Float[np.ndarray, " n"]:
        """The vector of a style picture, whose pixels have the weights `alpha`."""
        height, width = rgb.shape[:2]
        # Like the pictures in training; and multiples of the stride, so that nothing is padded.
        sides = [
            max(1, round(n / min(height, width) * _SIDE / _CELL)) * _CELL for n in (height, width)
        ]
        small, opacity = resizing.resize_with_alpha(rgb, alpha, (sides[0], sides[1]))
        if opacity is None:
            opacity = np.ones(small.shape[:2], np.float32)
        return np.asarray(_predicted(self.predictor, small[None], opacity[None]))[0]

    def _painted(
        self,
        x: Float[np.ndarray, "1 h w 3"],
        blend: Float[np.ndarray, "1 *hw n"],
        tile: int | None,
    ) -> Float[np.ndarray, "1 h w 3"]:
        if tile is None:
            return np.asarray(_transform(self.architecture, self.parameters, x, blend))
        return tiling.transform_tiled(self.architecture, self.parameters, x, blend, tile)


def predict(
    parameters: Parameters,
    images: Float[AnyArray, "b h w 3"],
    alpha: Float[AnyArray, "b h w"],
) -> Float[Array, "b n"]:
    """Predict the vectors of style pictures.

    Args:
        parameters: arrays with the names and shapes of `shapes()`.
        images: RGB in [0, 1]; sides are multiples of 32.
        alpha: weights of the pixels.
    """

    def shifted(name: str, x: Any) -> Any:
        bias = jnp.asarray(parameters[f"predict.{name}.bias"])
        return x + bias.reshape((1,) * (x.ndim - 1) + (-1,))

    def mixed(name: str, x: Any) -> Any:
        return shifted(name, dot(x, jnp.asarray(parameters[f"predict.{name}.pointwise"])))

    x = convolve(zero_padded(images, 0, 1), parameters["predict.stem.kernel"], 2)
    x = _clipped(shifted("stem", x))
    for number, (inputs, wide, outputs, stride) in enumerate(BLOCKS):
        name, before = f"block{number}", x
        if wide > inputs:
            x = _clipped(mixed(f"{name}.expand", x))
        # As TensorFlow pads: with stride two, below and on the right alone.
        x = zero_padded(x, 2 - stride, 1)
        x = depthwise(x, parameters[f"predict.{name}.filter.depthwise"])[:, ::stride, ::stride]
        x = mixed(f"{name}.project", _clipped(shifted(f"{name}.filter", x)))
        if stride == 1 and inputs == outputs:
            x = x + before
    x = _clipped(mixed("head", x))
    b, rows, columns, _ = x.shape
    cells = jnp.asarray(alpha).reshape(b, rows, alpha.shape[1] // rows, columns, -1)
    weights = cells.mean((2, 4))
    weights = weights / weights.sum((1, 2), keepdims=True)
    return mixed("vector", (x * weights[..., None]).sum((1, 2)))


def _clipped(x: Any) -> Array:
    return jnp.clip(x, 0, 6)


_predicted = jit()(predict)
_transform = jit(static=["architecture"])(transformer.transform)

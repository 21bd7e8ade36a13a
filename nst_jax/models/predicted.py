"""Models for any style whose scales and shifts are predicted from the style picture."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.losses.regions import at_layers, require_all
from nst_jax.models import modelfile, tiling, transformer
from nst_jax.models.anystyle import STRENGTH, style_pictures
from nst_jax.models.model import Model, Painter, finished, shares, tile_for, to_multiple
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.predictor import LAYERS, embed, measure, predict
from nst_jax.models.transformer import STRIDE
from nst_jax.networks.base import Network
from nst_jax.options import in_range
from nst_jax.pictures import transparency
from nst_jax.pictures.sources import PictureSource, named
from nst_jax.programs import jit

_SMALLEST = 32  # pixels of a style picture's short side; relu5_1 then has two positions
_LEAST = 128  # pixels of a style picture's long side


class Predicted(Model):
    """A model that draws in the style of any picture; see `predictor`.

    Args:
        file: the content of the model file.
        name: name of the file.
        encoder: the network with which it was trained.

    Raises:
        InputError: the encoder is another one, or tensors do not fit.
    """

    def __init__(self, file: ModelFile, name: str, encoder: Network):
        self.name, self.digest, self.training = name, file.digest, file.training
        self.predictor, self.encoder = modelfile.predictor_of(file, name), encoder
        self.parameters = {k: jnp.asarray(v) for k, v in file.tensors.items()}
        modelfile.require_encoder(file, name, encoder)

    def embed(self, style: PictureSource, *, size: int | None = None) -> Float[Array, " d"]:
        """The embedding of a style picture: its point in the model's style space.

        Pictures with similar styles have embeddings near to each other. A mix of styles is drawn
        from the mean of their embeddings.

        Args:
            style: path, bytes, PIL picture, numpy or JAX array.
            size: long side in pixels to which the picture is resized; None keeps its size.

        Raises:
            InputError: the picture cannot be used, is too small, or shows too little.
        """
        picture = transparency.read_style(style, size=size)
        if min(picture.rgb.shape[:2]) < _SMALLEST:
            raise InputError(
                f"The {named(style, 'style picture')} is too small: give one of at least "
                f"{_SMALLEST} pixels, or a larger size."
            )
        weights = None
        if picture.alpha is not None:
            guides = at_layers(picture.alpha[None], self.encoder, LAYERS)
            require_all(guides, ["that is opaque"], "style")
            weights = {layer: guide[0] for layer, guide in guides.items()}
        return _embedded(self.encoder, self.parameters, picture.rgb, weights)

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
        """See `Model.painter`.

        Style pictures are resized to the long side of the pictures to draw, so that strokes are as
        large relative to the picture as in the style. With a `strength` below 1 the style lies
        between that of the picture itself and that of the style picture.

        Raises:
            InputError: there is no style, a picture cannot be used, or `strength` is outside
                [0, 1].
        """
        in_range(strength, "strength", *STRENGTH)
        sources, weights_ = style_pictures(style)
        blend = shares(weights_, height, width)
        size = max(height, width, _LEAST)
        embeddings = jnp.stack([self.embed(source, size=size) for source in sources])
        if blend.ndim == 3:
            blend = to_multiple(blend, STRIDE)
        architecture = self.predictor.transformer
        tile = tile or tile_for(architecture.widest, height, width)

        def draw(frame: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "1 h2 w2 3"]:
            points = embeddings
            if strength < 1:
                own = _embedded(self.encoder, self.parameters, frame, None)
                points = strength * embeddings + (1 - strength) * own[None]
            parameters = _predicted(self.predictor, self.parameters, points)
            run = _transform if tile is None else partial(tiling.transform_tiled, tile=tile)
            rgb = to_multiple(frame, STRIDE)[None]
            return np.asarray(run(architecture, parameters, rgb, blend[None]))

        def paint(frames: Float[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w 3"]:
            return finished(frames, np.concatenate([*map(draw, frames)]), keep_colors)

        return paint


_transform = jit(static=["architecture"])(transformer.transform)
_predicted = jit(static=["predictor"])(predict)


@jit()
def _embedded(encoder, parameters, image, weights):
    return embed(parameters, measure(encoder, image, weights))

"""Models that have learned their styles: a transformer with one or more styles."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.models import modelfile, tiling, transformer
from nst_jax.models.model import Model, Painter, finished, shares, tile_for, to_multiple
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.transformer import STRIDE
from nst_jax.options import parse_layers, unknown
from nst_jax.programs import jit


class Stylizer(Model):
    """A transformer with the styles that it has learned.

    Args:
        file: the content of the model file.
        name: name of the file.

    Raises:
        InputError: the tensors do not fit the architecture.
    """

    def __init__(self, file: ModelFile, name: str):
        self.name, self.digest, self.training = name, file.digest, file.training
        self.styles = file.styles
        self.architecture = modelfile.architecture_of(file, name)
        self.carries = self.architecture.carried
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
        """See `Model.painter`.

        Raises:
            InputError: a style is unknown, all weights are zero, or `strength` is not 1.
        """
        if strength != 1:
            raise InputError(
                f"strength is {strength}, but the model '{self.name}' has learned its styles at "
                "one strength: leave it out."
            )
        blend = self.blend(style, height, width)
        leads = self.architecture.leads
        if blend.ndim == 3:
            blend = to_multiple(blend, STRIDE, before=leads)
        tile = tile or tile_for(self.architecture.widest, height, width)

        def paint(
            frames: Float[np.ndarray, "b h w 3"],
            carried: Float[np.ndarray, "b h w 4"] | None = None,
        ) -> Float[np.ndarray, "b h w 3"]:
            seen = frames if carried is None else np.concatenate([frames, carried], -1)
            rgb = to_multiple(seen, STRIDE, before=leads)
            if tile is None:
                every = np.broadcast_to(blend, (len(rgb), *blend.shape))
                found = np.asarray(_transform(self.architecture, self.parameters, rgb, every))
            else:
                run = partial(tiling.transform_tiled, self.architecture, self.parameters)
                found = np.concatenate([run(one[None], blend[None], tile) for one in rgb])
            if leads:
                found = found[:, -frames.shape[1] :, -frames.shape[2] :]
            return finished(frames, found, keep_colors)

        return paint

    def blend(self, style: Any, height: int, width: int) -> Float[np.ndarray, "*hw n"]:
        """Weights of all styles, summing to 1: for the picture, (n,), or each pixel, (h, w, n).

        Raises:
            InputError: a style is unknown, or all weights are zero.
        """
        if style is None and len(self.styles) > 1:
            raise InputError(
                f"The model '{self.name}' has {len(self.styles)} styles: say which, of "
                f"{', '.join(self.styles)}."
            )
        style = next(iter(self.styles)) if style is None else style
        wanted = style if isinstance(style, Mapping) else parse_layers(style, "style")
        for name in wanted:
            if name not in self.styles:
                raise InputError(unknown("style", name, self.styles))
        places = np.zeros((len(wanted), len(self.styles)), np.float32)
        places[range(len(wanted)), [self.styles.index(name) for name in wanted]] = 1
        found = shares(wanted, height, width) @ places
        return found if len(self.styles) > 1 else np.ones(1, np.float32)  # whatever the mask


_transform = jit(static=["architecture"])(transformer.transform)

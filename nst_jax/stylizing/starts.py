"""The picture from which a minimisation starts; a model may draw it in one pass."""

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.losses.term import Scene
from nst_jax.models.anystyle import AnyStyle
from nst_jax.models.load import load
from nst_jax.pictures import color, resizing
from nst_jax.stylizing.settings import MODELS, Settings
from nst_jax.typing import AnyArray

# The mean colour of ImageNet: zero for the Caffe networks, and the centre of jcjohnson's noise.
_MEAN_COLOUR = np.array([[[123.68, 116.779, 103.939]]], np.float32) / 255
SMALLEST = 32  # pixels of the short side of a style picture, or of the content


def unknown(
    settings: Settings,
    scene: Scene,
    start: Float[AnyArray, "_ _ 3"] | None,
    blend: Float[np.ndarray, " k"] | None,
) -> Float[Array, "h w c"]:
    """The starting point of the optimiser, in 0..units."""
    if settings.init in MODELS and scene.regions is not None:
        raise InputError(
            f"init '{settings.init}' draws the whole picture in one pass, and takes neither "
            "regions, masks nor transparent styles: choose another init."
        )
    if settings.init in MODELS and start is None:
        start = one_pass(settings.init, scene.content, scene.styles, blend)
    x = initial_picture(settings, scene.content, scene.styles[0] if start is None else start)
    if settings.color == "luminance":
        # With three channels the optimiser would work on colours that the result does not show.
        x = color.grey(x, settings.color_space)
    return x * settings.scale


def initial_picture(
    settings: Settings, content: Float[AnyArray, "h w 3"], other: Float[AnyArray, "h2 w2 3"]
) -> Float[Array, "h w 3"]:
    """The picture to start from: the content, white noise, a blend of both, or `other`."""
    if settings.init == "content":
        return jnp.asarray(content)
    if settings.init in ("noise", "blend"):
        noise = jax.random.normal(jax.random.key(settings.seed), content.shape, jnp.float32)
        noise = jnp.clip(_MEAN_COLOUR + settings.noise_scale * noise, 0, 1)
        share = 1.0 if settings.init == "noise" else settings.init_noise
        return jnp.asarray((1 - share) * content + share * noise)
    height, width, _ = content.shape
    return jnp.asarray(resizing.cover(np.asarray(other), (height, width)))


@lru_cache(maxsize=1)
def _model(name: str) -> AnyStyle:
    return cast(AnyStyle, load(name, offline=True))


def one_pass(
    name: str,
    content: Float[AnyArray, "h w 3"],
    styles: Sequence[Float[AnyArray, "_ _ 3"]],
    blend: Float[np.ndarray, " k"] | None = None,
) -> Float[np.ndarray, "h w 3"]:
    """Draw a picture with a model of the package.

    Args:
        name: name of the model.
        content: the picture, RGB in [0, 1].
        styles: the style pictures, RGB in [0, 1].
        blend: the weight of each style; None for equal weights.

    Raises:
        InputError: a style picture is too small.
    """
    rgb, (height, width, _) = np.asarray(content), content.shape
    weights = np.ones(len(styles)) if blend is None else blend
    pairs = zip(map(np.asarray, styles), map(float, weights), strict=True)
    # The styles have the sizes that the request asks for.
    return _model(name).painter(list(pairs), height, width, resized=False)(rgb[None])[0]

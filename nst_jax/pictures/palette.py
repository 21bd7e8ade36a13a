"""Give a result the hues of its content, moved to the palette of the style (Kolkin et al. 2022)."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.options import ColorSpace
from nst_jax.pictures.color import match_linear
from nst_jax.pictures.colorspace import join_in_gamut, split
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

# The filter's passes, and how fast a neighbour's weight falls with the difference in lightness.
_PASSES = 5
_SHARPNESS = 10.0


@jit(static=["space"])
def recolored(
    result: Float[AnyArray, "h w 3"],
    content: Float[AnyArray, "h w 3"],
    palettes: Sequence[Float[AnyArray, "_ _ 3"]],
    shares: Float[AnyArray, "*hw k"],
    space: ColorSpace = "oklab",
) -> Float[Array, "h w 3"]:
    """Combine the lightness of a result with the content's chroma, moved to the style's.

    The content's chroma gets the mean and covariance of the style's, and is smoothed along the
    lightness of the result, whose edges it then follows. Lightness and chroma stay within the
    style's ranges. It keeps strokes, and colours stay those of their things.

    Args:
        result: RGB in [0, 1].
        content: RGB in [0, 1], of the same size.
        palettes: the pixels of each style, RGB in [0, 1].
        shares: the weights of the styles, which sum to 1: for the picture, (k,), or for each pixel.
        space: the colour space that separates lightness from chroma.
    """
    light, hues = split(result, space)[0], split(content, space)[1]
    lights, chroma = jnp.zeros_like(light), jnp.zeros_like(hues)
    for k, palette in enumerate(palettes):
        share = jnp.asarray(shares)[..., k]
        share = share.reshape(share.shape + (1,) * (3 - share.ndim))
        own, wanted = split(palette, space)
        lights += share * within(light, own)
        moved = along(light, match_linear(hues, wanted, "pca"))
        chroma += share * within(moved, wanted)
    return join_in_gamut(lights, chroma, space)


def within(values: Float[AnyArray, "h w c"], of: Float[AnyArray, "_ _ c"]) -> Float[Array, "h w c"]:
    """Clip each channel to the range that it has in another picture."""
    least, most = of.min((0, 1), keepdims=True), of.max((0, 1), keepdims=True)
    return jnp.clip(values, least, most)


def along(
    light: Float[AnyArray, "h w 1"], values: Float[AnyArray, "h w c"]
) -> Float[Array, "h w c"]:
    """Smooth values in windows of 3 x 3 pixels, among pixels of like lightness (bilateral)."""
    values = jnp.asarray(values)
    weights = [jnp.exp(-_SHARPNESS * jnp.abs(light - one)) for one in _shifted(light)]
    for _ in range(_PASSES):
        pairs = zip(weights, _shifted(values), strict=True)
        values = sum((w * v for w, v in pairs), jnp.zeros_like(values)) / sum(weights)
    return values


def _shifted(x: Float[AnyArray, "h w c"]) -> list[Array]:
    """The nine neighbours of each pixel, itself among them; edges go on as they are."""
    height, width, _ = x.shape
    wide = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return [wide[y : y + height, z : z + width] for y in range(3) for z in range(3)]

"""Colours of a drawing as a whole: those of its style.

A decoder that has learned from many paintings draws the colours of a vivid one too dull, and those
of a dark one too light. So the mean colour becomes the style's, and colours spread about it as far
as they do there. How light and dark spread is left as it is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.patches.coarse import block_means
from nst_jax.typing import AnyArray

# Grey, red less green, and yellow less blue; at right angles and of length 1.
_AXES = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]], np.float32)
_AXES /= np.linalg.norm(_AXES, axis=1, keepdims=True)
_LEAST = 0.02  # added to deviations, so that an even drawing stays even
_MOST = 2.0  # colours spread at most so many times as far as before, or as little
_TINY = 1e-6


class Tones(NamedTuple):
    """Colours of a picture along three axes, the first of them grey.

    Attributes:
        mean: their means.
        deviation: their standard deviations.
    """

    mean: Float[Array, " c"]
    deviation: Float[Array, " c"]


def tones(rgb: Float[AnyArray, "h w 3"], weights: Float[AnyArray, "h w"] | None = None) -> Tones:
    """The tones of a picture, of the means of its blocks; pixels may have weights."""
    rgb = jnp.asarray(rgb, jnp.float32)
    weights = jnp.ones(rgb.shape[:2]) if weights is None else jnp.asarray(weights, jnp.float32)
    values = block_means(rgb) @ _AXES.T
    parts = block_means(weights[..., None])
    parts /= parts.sum() + _TINY
    mean = (parts * values).sum((0, 1))
    return Tones(mean, jnp.sqrt((parts * jnp.square(values - mean[None, None])).sum((0, 1))))


def tinted(
    drawing: Float[AnyArray, "h w 3"],
    styles: Sequence[Tones],
    shares: Float[AnyArray, "*hw k"],
    strength: Float[AnyArray, ""] | float = 1.0,
) -> Float[Array, "h w 3"]:
    """Give a drawing its styles' mean colour and spread of colours.

    Args:
        drawing: the drawing.
        styles: each style's, from `tones`.
        shares: weights of the styles, summing to 1: for the picture, (k,), or each pixel.
        strength: how far to go, from 0 to 1.
    """
    drawing = jnp.asarray(drawing, jnp.float32)
    shares = jnp.broadcast_to(jnp.asarray(shares), (*drawing.shape[:2], len(styles)))
    values, found = drawing @ _AXES.T, jnp.zeros_like(drawing)
    for k, style in enumerate(styles):
        own = tones(drawing, shares[..., k])
        gain = (style.deviation + _LEAST) / (own.deviation + _LEAST)
        gain = jnp.clip(gain, 1 / _MOST, _MOST).at[0].set(1)
        mapped = (values - own.mean[None, None]) * gain[None, None] + style.mean[None, None]
        found += shares[..., k, None] * mapped
    return drawing + strength * (found @ _AXES - drawing)

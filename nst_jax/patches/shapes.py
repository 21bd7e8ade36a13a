"""Shapes of middle size, in grey, that a drawing lacks of its content.

The features that a network draws from stand for 8 pixels each. So it smears what is little larger
than that: a far tower, windows, a face.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.patches.coarse import coarse
from nst_jax.typing import AnyArray

_WIDTH = 4.0  # deviation of a Gaussian in blocks: what is coarser than that is no shape
# The content's part is at most so many times as strong as the style's: no photograph's grating in a
# painting of soft strokes.
_MOST = 2.0
_TINY = 1e-6


def shapes(smooth: Float[Array, "h w 3"]) -> Float[Array, "h w 1"]:
    """The shapes of a picture that is given without its detail."""
    grey = smooth.mean(-1, keepdims=True)
    return grey - coarse(grey, _WIDTH)


def lacking(
    drawing: Float[Array, "h w 3"],
    content: Float[Array, "h w 3"],
    contrast: Float[Array, "#h #w 1"],
    strength: Float[AnyArray, ""] | float = 1.0,
) -> Float[Array, "h w 1"]:
    """What to add to a drawing, so that it shows the content's shapes.

    Where its shapes are the content's, or more marked by some factor, it lacks nothing.

    Args:
        drawing: the drawing without its detail.
        content: the picture that it was made of, without its detail.
        contrast: mean square of the style's shapes.
        strength: how far the style limits what is added, from 0 to 1.
    """
    ours, theirs = shapes(drawing), shapes(content)
    there = coarse(jnp.square(ours), _WIDTH)
    shown = jnp.clip(coarse(ours * theirs, _WIDTH) / (there + _TINY), 0, 1)
    missing = theirs - shown * ours
    part, factor = balance(there, coarse(jnp.square(missing), _WIDTH), contrast, strength)
    return part * factor * missing


def balance(
    there: Float[Array, "h w 1"],
    here: Float[Array, "h w 1"],
    wanted: Float[Array, "#h #w 1"],
    strength: Float[AnyArray, ""] | float,
) -> tuple[Float[Array, "h w 1"], Float[Array, "h w 1"]]:
    """How much to use of the content's, beside what is there.

    Args:
        there: mean square of what is there.
        here: mean square of the content's.
        wanted: that of the style's, which limits the content's.
        strength: how far it does, from 0 to 1.

    Returns:
        The content's part, from 0 to 1, and by what to multiply it.
    """
    factor = jnp.minimum(1, _MOST * jnp.sqrt(wanted / (here + _TINY)))
    given = jnp.asarray(strength, jnp.float32)
    factor = given * factor + (1 - given)
    here = here * jnp.square(factor)
    return here / (here + there + _TINY), factor

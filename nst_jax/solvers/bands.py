"""An optimiser of a picture's Laplacian pyramid, in place of its pixels.

A pyramid holds a picture as bands of detail, each half as large as the one before, and a small
rest. One step of Adam changes every number by about the same; in a pyramid that changes coarse
structure as readily as fine. The picture is linear in its pyramid, so the unknown stays the
picture: gradients go to the pyramid by the transpose, and its steps come back as a picture.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from nst_jax.typing import AnyArray

_LEAST = 2  # pixels on the long side of the rest


def synthesis(bands: tuple[Float[AnyArray, "_ _ c"], ...]) -> Float[Array, "h w c"]:
    """The picture of a Laplacian pyramid, from the finest band to the rest.

    What is coarser is enlarged bilinearly and added, as in the code of NNST (Kolkin et al. 2022).
    """
    *details, x = bands
    for band in reversed(details):
        x = band + jax.image.resize(x, band.shape, "linear")
    return jnp.asarray(x)


def sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """The sizes of the bands and the rest: each half as large, the rest 2 pixels or more long."""
    found = [(height, width)]
    while len(found) <= levels and max(height, width) // 2 >= _LEAST:
        height, width = max(height // 2, 1), max(width // 2, 1)
        found.append((height, width))
    return found


def in_bands(optimizer: optax.GradientTransformation, levels: int) -> optax.GradientTransformation:
    """Let an optimiser see a picture (h, w, c) as its Laplacian pyramid.

    Args:
        optimizer: any optax transformation.
        levels: bands of the pyramid beside the rest, at most.
    """

    def zeros(x: Array) -> tuple[Array, ...]:
        height, width, channels = x.shape
        sides = sizes(height, width, levels)
        return tuple(jnp.zeros((*side, channels), x.dtype) for side in sides)

    def init(params: optax.Params) -> optax.OptState:
        return optimizer.init(zeros(jnp.asarray(params)))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        gradient = jnp.asarray(updates)
        (given,) = jax.linear_transpose(synthesis, zeros(gradient))(gradient)
        steps, state = optimizer.update(given, state)
        return synthesis(steps), state  # pyright: ignore[reportArgumentType]

    return optax.GradientTransformation(init, update)

"""The temporal loss: how far a frame of a film is from what was drawn of earlier frames."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses.term import Earlier, Scene, Seen, Term
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Temporal(Term):
    """The term that applies `temporal_loss` to the picture; 0 where there are no earlier frames.

    The target is the scene's `Earlier`, or None.
    """

    name: ClassVar[str] = "temporal"
    additive: ClassVar[bool] = True
    follows: ClassVar[tuple[str, ...]] = ("content",)

    def target(self, scene: Scene) -> Earlier | None:
        """The earlier frames as they were drawn."""
        return scene.earlier

    def loss(self, seen: Seen, target: Earlier | None) -> Array:
        """See `temporal_loss`."""
        if target is None:
            return jnp.zeros((), jnp.float32)
        return temporal_loss(seen.picture, target)


def temporal_loss(image: Float[AnyArray, "h w 3"], earlier: Earlier) -> Float[Array, ""]:
    """The mean over all values of the weighted squared differences, summed over earlier frames.

    Differences are in units of 0..255 (Ruder et al. 2016, equations 7 and 9).

    Args:
        image: RGB in [0, 1].
        earlier: what was drawn of earlier frames, and the weight of each of its pixels.
    """
    difference = 255 * (jnp.asarray(image)[None] - earlier.pictures)
    squares = jnp.square(difference).mean(-1)
    return (earlier.weights * squares).mean((1, 2)).sum()

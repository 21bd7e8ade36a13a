"""The range penalty: it punishes values outside [0, 1], which the final clipping would change."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses.term import Seen, Term
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Range(Term):
    """The term that applies `range_penalty` to the picture."""

    name: ClassVar[str] = "range"
    additive: ClassVar[bool] = True
    follows: ClassVar[tuple[str, ...]] = ()

    def loss(self, seen: Seen, target: Any) -> Array:
        """See `range_penalty`."""
        del target
        return range_penalty(seen.picture)


def range_penalty(image: Float[AnyArray, "h w 3"]) -> Float[Array, ""]:
    """The mean squared distance of the values from [0, 1], in units of 0..255.

    The penalty and its gradient are zero for a picture within [0, 1]. Without the penalty, clipping
    at the end can raise the style loss severalfold.
    """
    beyond = 255 * (image - jnp.clip(image, 0, 1))
    return jnp.square(beyond).mean()

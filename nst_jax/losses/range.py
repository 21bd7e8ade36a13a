"""The range penalty: how far values lie outside of [0, 1], where the final clip will take them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses.term import Seen, Term
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Range(Term):
    """`range_penalty` of the picture."""

    name: ClassVar[str] = "range"
    additive: ClassVar[bool] = True
    follows: ClassVar[tuple[str, ...]] = ()

    def loss(self, seen: Seen, target: Any) -> Array:
        """See `range_penalty`."""
        del target
        return range_penalty(seen.picture)


def range_penalty(image: Float[AnyArray, "h w 3"]) -> Float[Array, ""]:
    """The mean square of what values lack to be within [0, 1], in units of 0..255.

    Zero, with a gradient of zero, for a picture that no clipping changes. A picture that is only
    clipped at the end pays for it there: its style loss may rise severalfold.
    """
    beyond = 255 * (image - jnp.clip(image, 0, 1))
    return jnp.square(beyond).mean()

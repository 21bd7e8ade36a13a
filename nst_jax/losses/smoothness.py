"""Total variation: how much neighbouring pixels differ from each other."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses.term import Seen, Term
from nst_jax.options import Normalization
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class TotalVariation(Term):
    """The term that applies `total_variation` to the picture."""

    normalization: Normalization = "gatys"
    name: ClassVar[str] = "tv"
    additive: ClassVar[bool] = True
    follows: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, options: Any) -> "Term":
        """The term with the formula that `normalization` selects."""
        return cls(normalization=options.normalization)

    def loss(self, seen: Seen, target: Any) -> Array:
        """See `total_variation`."""
        del target
        return total_variation(seen.picture, self.normalization)


def total_variation(
    image: Float[AnyArray, "h w 3"], normalization: Normalization = "gatys"
) -> Float[Array, ""]:
    """The squared differences of neighbouring pixels, in units of 0..255.

    Args:
        image: RGB in [0, 1].
        normalization: with `"gatys"`, the mean over the differences in both directions, which does
            not depend on the size. Otherwise half the sum over all pixels that have a neighbour
            both below and to the right, as in jcjohnson's code.

    Returns:
        A float32 scalar.
    """
    image = image * 255
    down, right = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    if normalization == "gatys":
        return (jnp.square(down).sum() + jnp.square(right).sum()) / (down.size + right.size)
    return (jnp.square(down[:, :-1]).sum() + jnp.square(right[:-1]).sum()) / 2

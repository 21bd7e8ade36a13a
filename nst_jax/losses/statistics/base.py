"""What a statistic of a style is: what it makes of feature maps, and a distance."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.networks.layers import projected
from nst_jax.options import Normalization
from nst_jax.typing import AnyArray


class Given(NamedTuple):
    """What a statistic of one layer needs besides features.

    `guides` (r, h, w) say by how much each position counts in each region (`regions.at_layers`),
    `directions` (c, d) along which features are projected. With a `head` (i, c) the features are
    activations (h, w, i) times this.
    """

    guides: Float[AnyArray, "r h w"] | None = None
    directions: Float[AnyArray, "c d"] | None = None
    head: Float[AnyArray, "i c"] | None = None


@dataclass(frozen=True)
class Statistic:
    """A statistic of feature maps, static and hashable. Subclasses write `of` and `loss`.

        class Means(Statistic):
            name = "means"

            def of(self, features, weights, directions):
                return features.mean((0, 1)) if weights is None else ...

            def loss(self, found, target, normalization, width):
                return jnp.square(found - target).sum() / width

    Attributes:
        name: what options and records call it.
        additive: whether it is linear in the weights of the positions, so that those of a
            picture's parts add up to the whole's; others need all positions at once.
        projects: whether it needs `directions`.
    """

    name: ClassVar[str]
    additive: ClassVar[bool] = False
    projects: ClassVar[bool] = False

    def directions(self, channels: int, key: Array) -> Float[Array, "c d"] | None:
        """Unit vectors along which features are projected, if the statistic `projects`."""
        del channels, key

    def of(
        self,
        features: Float[AnyArray, "h w c"],
        weights: Float[AnyArray, "h w"] | None,
        directions: Float[AnyArray, "c d"] | None,
    ) -> Any:
        """The statistic: a pytree of arrays, float32; all of one size for pictures of any.

        Args:
            features: F, one row of c values for each position.
            weights: of the positions, summing to 1; equal if None. Not differentiated.
            directions: from the method of that name.
        """
        raise NotImplementedError

    def of_product(
        self,
        activations: Float[AnyArray, "h w i"],
        head: Float[AnyArray, "i c"],
        weights: Float[AnyArray, "h w"] | None,
        directions: Float[AnyArray, "c d"] | None,
    ) -> Any:
        """`of(activations @ head)`, where there is a cheaper way to it."""
        return self.of(projected(activations, head), weights, directions)

    def loss(
        self, found: Any, target: Any, normalization: Normalization, width: int
    ) -> Float[Array, ""]:
        """The distance of two such statistics at one layer.

        Args:
            found: of the picture, without regions.
            target: of the style picture.
            normalization: of Gram matrices; the others have one form.
            width: N in the formulas, the network's number of feature maps.
        """
        raise NotImplementedError


def measure(statistic: Statistic, features: Float[AnyArray, "h w c"], given: Given) -> Any:
    """A statistic of all positions, or of each guided region, with a leading axis.

    Args:
        statistic: which.
        features: F, or activations.
        given: guides, directions and head.
    """
    if given.guides is None:
        return _of(statistic, features, None, given)
    weights = [guide / guide.sum() for guide in given.guides]
    return weighted(statistic, features, weights, given)


def weighted(
    statistic: Statistic, features: Float[AnyArray, "h w c"], weights: Any, given: Given
) -> Any:
    """A statistic by each of several weights of the positions, with a leading axis."""
    each = [_of(statistic, features, one, given) for one in weights]
    return jax.tree.map(lambda *values: jnp.stack(values), *each)


def _of(statistic: Statistic, features: Any, weights: Any, given: Given) -> Any:
    of = statistic.of if given.head is None else partial(statistic.of_product, head=given.head)
    return of(features, weights=weights, directions=given.directions)

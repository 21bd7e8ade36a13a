"""The base class of a statistic: how to compute it from feature maps, and how to compare two."""

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
    """What the statistic of one layer needs in addition to the features.

    Attributes:
        guides: the weight of each position in each region, (r, h, w) (`regions.at_layers`).
        directions: the directions along which features are projected, (c, d).
        head: a matrix (i, c). If given, the features are activations (h, w, i) times this matrix.
    """

    guides: Float[AnyArray, "r h w"] | None = None
    directions: Float[AnyArray, "c d"] | None = None
    head: Float[AnyArray, "i c"] | None = None


@dataclass(frozen=True)
class Statistic:
    """A statistic of feature maps. Subclasses set `name`, and define `of` and `loss`.

    It is static and hashable.

        class Means(Statistic):
            name = "means"

            def of(self, features, weights, directions):
                return features.mean((0, 1)) if weights is None else ...

            def loss(self, found, target, normalization, width):
                return jnp.square(found - target).sum() / width

    Attributes:
        name: its name in options and records.
        additive: whether it is linear in the weights of the positions. Then the statistics of a
            picture's parts add up to that of the whole; otherwise it needs all positions at once.
        projects: whether it needs `directions`.
        mixes: whether the mean of several styles' statistics stands for a mixed style. If not, the
            picture is compared with each style. Where styles differ in size, their arrays are
            filled up with zeros.
        joint: whether it compares all layers together. Then it has a method `term`, which makes the
            term for some layers (`neighbours`), and the methods below are not used.
        last: the statistic of a last pass at the end size, if there is one.
        renew_every: evaluations between two renewals of the target, as for a term.
        copies: how often it holds the features of a layer, unless it is additive; for the estimate
            of memory.
    """

    name: ClassVar[str]
    additive: ClassVar[bool] = False
    projects: ClassVar[bool] = False
    mixes: ClassVar[bool] = True
    joint: ClassVar[bool] = False
    last: ClassVar["Statistic | None"] = None
    renew_every: ClassVar[int] = 0
    copies: ClassVar[float] = 3.5

    def directions(self, channels: int, key: Array) -> Float[Array, "c d"] | None:
        """The unit vectors along which features are projected, if the statistic `projects`."""
        del channels, key

    def of(
        self,
        features: Float[AnyArray, "h w c"],
        weights: Float[AnyArray, "h w"] | None,
        directions: Float[AnyArray, "c d"] | None,
    ) -> Any:
        """Compute the statistic of features.

        Args:
            features: F, with c values for each position.
            weights: the weights of the positions, which sum to 1; None for equal weights. They are
                not differentiated.
            directions: the result of the method `directions`.

        Returns:
            A pytree of float32 arrays. Their shapes must not depend on the size of the picture if
            the statistic `mixes`.
        """
        raise NotImplementedError

    def of_product(
        self,
        activations: Float[AnyArray, "h w i"],
        head: Float[AnyArray, "i c"],
        weights: Float[AnyArray, "h w"] | None,
        directions: Float[AnyArray, "c d"] | None,
    ) -> Any:
        """Compute `of(activations @ head)`; subclasses may have a cheaper way."""
        return self.of(projected(activations, head), weights, directions)

    def loss(
        self, found: Any, target: Any, normalization: Normalization, width: int
    ) -> Float[Array, ""]:
        """The distance between two statistics of one layer.

        Args:
            found: the statistic of the picture, or of one of its regions.
            target: the statistic of the style.
            normalization: the convention, for Gram matrices and patches; the others ignore it.
            width: N in the formulas, the number of the network's feature maps.

        Returns:
            A float32 scalar.
        """
        raise NotImplementedError


def measure(statistic: Statistic, features: Float[AnyArray, "h w c"], given: Given) -> Any:
    """Compute a statistic of all positions, or of each region with a leading axis.

    Args:
        statistic: the statistic to compute.
        features: F, or the activations if there is a head.
        given: guides, directions and head.
    """
    if given.guides is None:
        return _of(statistic, features, None, given)
    weights = [guide / guide.sum() for guide in given.guides]
    return weighted(statistic, features, weights, given)


def weighted(
    statistic: Statistic, features: Float[AnyArray, "h w c"], weights: Any, given: Given
) -> Any:
    """Compute a statistic once for each array of position weights, and stack the results."""
    each = [_of(statistic, features, one, given) for one in weights]
    return jax.tree.map(lambda *values: jnp.stack(values), *each)


def _of(statistic: Statistic, features: Any, weights: Any, given: Given) -> Any:
    of = statistic.of if given.head is None else partial(statistic.of_product, head=given.head)
    return of(features, weights=weights, directions=given.directions)

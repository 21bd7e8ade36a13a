"""The base class of a term of the objective: its target, what it measures, and its loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Array, Float

from nst_jax.losses.regions import Regions
from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.typing import AnyArray


class Earlier(NamedTuple):
    """What was drawn of k earlier frames of a film, warped to this frame.

    Attributes:
        pictures: RGB in [0, 1].
        weights: the weight of each pixel, from 0 where it is not known.
    """

    pictures: Float[AnyArray, "k h w 3"]
    weights: Float[AnyArray, "k h w"]


class Scene(NamedTuple):
    """The inputs of a run from which terms make their targets.

    Attributes:
        network: the feature extractor.
        content: the content picture as the losses see it, RGB in [0, 1].
        styles: the style pictures as the losses see them, RGB in [0, 1], of any sizes.
        regions: the regions of content and styles; None for no regions.
        seed: the seed for random numbers of a term.
        tile: side in pixels of the tiles in which features are computed; 0 for none.
        earlier: the earlier frames, if the content is a frame of a film.
    """

    network: Network
    content: Float[AnyArray, "h w 3"]
    styles: tuple[Float[AnyArray, "_ _ 3"], ...] = ()
    regions: Regions | None = None
    seed: int = 0
    tile: int = 0
    earlier: Earlier | None = None


class Seen(NamedTuple):
    """What a term computes its loss from.

    Attributes:
        picture: RGB in [0, 1], though some optimisers leave this range.
        found: what `measure` of the term returned, by layer.
        network: the feature extractor, with its `widths` and `strides`.
        blend: the weights of k styles, (k,), or (r, k) for r regions; None for a single style.
    """

    picture: Float[AnyArray, "h w 3"]
    found: Mapping[str, Any]
    network: Network
    blend: Float[AnyArray, "*r k"] | None = None


@dataclass(frozen=True)
class Term:
    """A term of the objective. Subclasses set `name` and define `loss`; the rest has defaults.

    A term is static and hashable. What can change without recompiling (target, weight) is data
    outside it. Data, options, and columns of traces and tables are found by the term's name.

        class Grey(Term):
            name = "grey"

            def loss(self, seen, target):
                return jnp.var(seen.picture, axis=-1).mean()

    Attributes:
        layers: the layers of the network that it measures.
        name: its name in weights, columns and options.
        additive: whether its measurements add up over the tiles of a large picture (`part`).
        follows: the pictures on which its target depends: `"content"`, `"style"`, both or none.
        renew_every: evaluations between two renewals of its target; 0 keeps the first target.
        copies: how often it holds the features of a layer, unless it is additive; for the estimate
            of memory.
    """

    layers: tuple[str, ...] = ()
    name: ClassVar[str]
    additive: ClassVar[bool] = False
    follows: ClassVar[tuple[str, ...]] = ("content", "style")
    renew_every: ClassVar[int] = 0
    copies: ClassVar[float] = 3.5

    @classmethod
    def of(cls, options: Any) -> "Term | None":
        """Make the term from options (`stylizing.settings`); None if it has nothing to measure."""
        del options
        return cls()

    def target(self, scene: Scene) -> Any:
        """Make the target, a pytree of arrays; it is made once for each scale of a run."""
        del scene

    def renewed(self, scene: Scene, target: Any, picture: Float[Array, "h w 3"]) -> Any:
        """Make the target for the next evaluations; called only if `renew_every` is not 0."""
        del scene, picture
        return target

    def given(self, layer: str, target: Any) -> Any:
        """Select the arrays of the target that `measure` needs at a layer."""
        del layer, target

    def measure(
        self, layer: str, features: Array, head: Array | None, given: Any
    ) -> tuple[Array, Any]:
        """Measure what `loss` needs at a layer; the default is the features themselves.

        Args:
            layer: one of `layers`.
            features: the features (h, w, c). If there is a head, these are activations (h, w, i),
                and the features are their product with the head.
            head: a matrix (i, c), or None.
            given: the result of the method `given`.

        Returns:
            The features for the rest of the network, usually unchanged, and what was measured.
        """
        del layer, given
        return features, projected(features, head)

    def over(self, layer: str, target: Any) -> Any:
        """Select the arrays of the target with one entry for each position, (h, w, ...).

        `part` gets the piece of them that belongs to its tile.
        """
        del layer, target

    def part(
        self, layer: str, features: Array, head: Array | None, over: Any, own: Float[Array, "h w"]
    ) -> Any:
        """Compute what a tile adds to sums over all positions, if the term is `additive`.

        Args:
            layer: one of `layers`.
            features: the features of the tile and its margin, as in `measure`.
            head: as in `measure`.
            over: the same part of the arrays from `over`.
            own: 1 where a position belongs to the tile, 0 in its margin.
        """
        raise NotImplementedError(f"the term {self.name} has no sums over tiles")

    def whole(self, layer: str, sums: Any, positions: int, target: Any) -> Any:
        """Turn the sums over all tiles into what `measure` gives for the whole picture."""
        del layer, positions, target
        return sums

    def loss(self, seen: Seen, target: Any) -> Array | dict[str, Array]:
        """The loss without weights: a float32 scalar, or a dict with one for each layer."""
        raise NotImplementedError(f"the term {self.name} has no loss")

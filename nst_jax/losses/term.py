"""What a term of the objective is: what it compares with, what it measures, and its loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Array, Float

from nst_jax.losses.regions import Regions
from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.typing import AnyArray


class Scene(NamedTuple):
    """What a run is about: terms make their targets of it.

    Attributes:
        network: the feature extractor.
        content: the content picture as losses see it, RGB in [0, 1].
        styles: the style pictures likewise, of any sizes.
        regions: what is drawn to what, if there are regions.
        seed: of what a term draws at random.
        tile: side in pixels of the tiles in which features are computed; 0 for none.
    """

    network: Network
    content: Float[AnyArray, "h w 3"]
    styles: tuple[Float[AnyArray, "_ _ 3"], ...] = ()
    regions: Regions | None = None
    seed: int = 0
    tile: int = 0


class Seen(NamedTuple):
    """What a loss is made of.

    Attributes:
        picture: RGB, in [0, 1] where the optimiser keeps to it.
        found: what the term's `measure` gave, by layer.
        network: the feature extractor, with its `widths` and `strides`.
        blend: weights of several styles, (k,), or in each region, (r, k); None for a single one.
    """

    picture: Float[AnyArray, "h w 3"]
    found: Mapping[str, Any]
    network: Network
    blend: Float[AnyArray, "*r k"] | None = None


@dataclass(frozen=True)
class Term:
    """A term of the objective. Subclasses set `name` and write `loss`; the rest has defaults.

    Hashable and static: what changes without a new program (targets, weights) is data beside it,
    under its name. So are its columns in traces and tables, and its options.

        class Grey(Term):
            name = "grey"

            def loss(self, seen, target):
                return jnp.var(seen.picture, axis=-1).mean()

    Attributes:
        layers: of the network, whose features it measures.
        name: what weights, columns and options call it.
        additive: whether what it measures adds up over the tiles of a large picture (`part`).
        follows: the pictures on which its target depends, of `"content"` and `"style"`.
        renew_every: evaluations after which its target is made anew; 0 keeps the first.
    """

    layers: tuple[str, ...] = ()
    name: ClassVar[str]
    additive: ClassVar[bool] = False
    follows: ClassVar[tuple[str, ...]] = ("content", "style")
    renew_every: ClassVar[int] = 0

    @classmethod
    def of(cls, options: Any) -> "Term | None":
        """The term that options ask for (`stylizing.settings`); None if it measures nothing."""
        del options
        return cls()

    def target(self, scene: Scene) -> Any:
        """What is compared with: arrays, made once for a run."""
        del scene

    def renewed(self, scene: Scene, target: Any, picture: Float[Array, "h w 3"]) -> Any:
        """The target for the evaluations that follow, where `renew_every` is not 0."""
        del scene, picture
        return target

    def given(self, layer: str, target: Any) -> Any:
        """The arrays of the target that `measure` needs at a layer."""
        del layer, target

    def measure(
        self, layer: str, features: Array, head: Array | None, given: Any
    ) -> tuple[Array, Any]:
        """The features to go on with, and what `loss` needs of them; the features themselves.

        Args:
            layer: one of `layers`.
            features: (h, w, c), or activations of which they are a product with the `head`.
            head: (i, c) or None.
            given: see there.
        """
        del layer, given
        return features, projected(features, head)

    def over(self, layer: str, target: Any) -> Any:
        """The arrays of the target that lie over a layer's positions, (h, w, ...); see `part`."""
        del layer, target

    def part(
        self, layer: str, features: Array, head: Array | None, over: Any, own: Float[Array, "h w"]
    ) -> Any:
        """What a tile adds to sums over all positions, if the term is `additive`.

        Args:
            layer: one of `layers`.
            features: of the tile and its margin, as in `measure`.
            head: as in `measure`.
            over: the same part of the arrays of `over`.
            own: 1 where a position belongs to the tile, 0 in its margin.
        """
        raise NotImplementedError(f"the term {self.name} has no sums over tiles")

    def whole(self, layer: str, sums: Any, positions: int, target: Any) -> Any:
        """From the sums over all tiles to what `measure` gives of so many positions."""
        del layer, positions, target
        return sums

    def loss(self, seen: Seen, target: Any) -> Array | dict[str, Array]:
        """A float32 scalar, or one for each layer: without weights."""
        raise NotImplementedError(f"the term {self.name} has no loss")

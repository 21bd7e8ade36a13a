"""Self-similarity: which parts of a picture are alike stays as in the content (STROTSS)."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nst_jax.losses.content import content_features
from nst_jax.losses.points import at_points, drawn_points, strides_of, unit_of
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.losses.transport import cosine_distances
from nst_jax.options import weighted
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

# Long side at which the loss is the authors' at their weight of 1; at each smaller scale it counts
# more, as in their code.
_LONG = 1024


class Alike(NamedTuple):
    """The target of `SelfSimilarity`.

    Attributes:
        features: the content's features, by layer.
        unit: their size, by which features are divided.
        picture: the content picture.
        points: the pixels that are compared with each other.
        strides: those of the layers.
        key: for the next points.
    """

    features: dict[str, Float[Array, "_ _ _"]]
    unit: Float[Array, ""]
    picture: Float[Array, "h w 3"]
    points: Int[Array, "n 2"]
    strides: dict[str, Int[Array, ""]]
    key: Array


@dataclass(frozen=True)
class SelfSimilarity(Term):
    """The distance of the cosines between features at random pixels (Kolkin et al. 2019, eq. 9).

    It lets all colours and textures change, if only like things stay alike.

    Attributes:
        count: how many pixels are compared with each other.
        renew_every: evaluations until other pixels are drawn.
    """

    count: int = 1024
    renew_every: int = 1  # pyright: ignore[reportIncompatibleVariableOverride]
    name: ClassVar[str] = "similarity"
    follows: ClassVar[tuple[str, ...]] = ("content",)
    copies: ClassVar[float] = 1.0

    @classmethod
    def of(cls, options: Any) -> "Term | None":
        """The term for the style layers; None if there are none."""
        layers = weighted(options.style_layers)
        return cls(layers) if layers else None

    def target(self, scene: Scene) -> Alike:
        """The content's features, and pixels."""
        features = content_features(scene.network, scene.content, self.layers)
        points = jnp.zeros((self.count, 2), jnp.int32)
        key = jax.random.key_data(jax.random.fold_in(jax.random.key(scene.seed), 1))
        strides = strides_of(scene.network, self.layers)
        unit = unit_of(list(features.values()))
        return _renewed(Alike(features, unit, jnp.asarray(scene.content), points, strides, key))

    def renewed(self, scene: Scene, target: Alike, picture: Float[Array, "h w 3"]) -> Alike:
        """Draw other pixels."""
        del scene, picture
        return _renewed(target)

    def given(self, layer: str, target: Alike) -> tuple[Array, Array, Array]:
        """The content's features, the pixels, and the layer's stride."""
        return target.features[layer], target.points, target.strides[layer]

    def measure(
        self, layer: str, features: Array, head: Array | None, given: tuple[Array, Array, Array]
    ) -> tuple[Array, tuple[Array, Array]]:
        """The features at the pixels, and those of the content."""
        del layer
        theirs, points, stride = given
        own = at_points(features, points, stride, head)
        return features, (own, at_points(theirs, points, stride))

    def loss(self, seen: Seen, target: Alike) -> Array:
        """See `similarity_loss`; it grows as the picture shrinks."""
        y, x = target.points[:, 0], target.points[:, 1]
        pictures = jnp.asarray(seen.picture), target.picture
        ours, theirs = (
            jnp.concatenate(
                [picture[y, x], *(seen.found[layer][n] / target.unit for layer in self.layers)], -1
            )
            for n, picture in enumerate(pictures)
        )
        return _LONG / max(target.picture.shape) * similarity_loss(ours, theirs)


def similarity_loss(
    ours: Float[AnyArray, "n d"], theirs: Float[AnyArray, "n d"]
) -> Float[Array, ""]:
    """The mean absolute difference of the shares that each pair has in a column of distances.

    Args:
        ours: features of the picture.
        theirs: features of the content at the same pixels.
    """
    shares = []
    for vectors in (ours, theirs):
        costs = cosine_distances(vectors, vectors)
        shares.append(costs / jnp.maximum(costs.sum(0, keepdims=True), 1e-12))
    return jnp.abs(shares[0] - shares[1]).mean() * ours.shape[0]


@jit()
def _renewed(target: Alike) -> Alike:
    key, own = jax.random.split(jax.random.wrap_key_data(target.key))
    ones = jnp.ones(target.picture.shape[:2], jnp.float32)
    points = drawn_points(own, ones, target.points.shape[0])
    return target._replace(points=points, key=jax.random.key_data(key))

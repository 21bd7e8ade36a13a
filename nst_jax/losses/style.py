"""The style loss: the distance of a statistic of features from that of the style picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.losses import registry
from nst_jax.losses.gradients import beside
from nst_jax.losses.measuring import measured
from nst_jax.losses.regions import at_layers, filled, require_all, stacked
from nst_jax.losses.statistics.base import Given, Statistic, measure, weighted
from nst_jax.losses.statistics.gram import Gram
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.networks.base import Network
from nst_jax.options import Normalization
from nst_jax.options import weighted as weighted_layers
from nst_jax.programs import KEPT, jit
from nst_jax.typing import AnyArray

_ROWS: Any = Given(*cast(Any, (1, -1, -1)))  # for `beside`: only guides have an axis of rows


class StyleTarget(NamedTuple):
    """The target of the style loss.

    Attributes:
        statistics: the statistics of the style, by layer. For several styles or regions of styles
            they are stacked, (k, ...), and `Seen.blend` holds their weights.
        guides: the guides by layer, (r, h, w), if the picture has regions (`regions.at_layers`).
        directions: the directions by layer, (c, d), if the statistic projects features.
    """

    statistics: dict[str, Any]
    guides: dict[str, Float[Array, "r _ _"]] | None = None
    directions: dict[str, Float[Array, "c d"]] | None = None


@dataclass(frozen=True)
class Style(Term):
    """The distance of a statistic of features at some layers (Gatys et al. 2016, eqs. 3 to 5)."""

    layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    statistic: Statistic = field(default_factory=Gram)
    normalization: Normalization = "gatys"
    name: ClassVar[str] = "style"

    @property
    def additive(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the statistic is additive."""
        return self.statistic.additive

    @property
    def copies(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How often the statistic holds the features of a layer."""
        return self.statistic.copies

    @classmethod
    def of(cls, options: Any) -> "Term | None":
        """The term for the layers whose weight is not zero; None if there are none."""
        layers = weighted_layers(options.style_layers)
        statistic = registry.statistic(options.statistic)
        if layers and registry.is_joint(statistic):
            return statistic.term(layers)
        return cls(layers, statistic, options.normalization) if layers else None

    def target(self, scene: Scene) -> StyleTarget:
        """Compute the statistics of all styles or their regions, and the guides of the picture.

        Raises:
            InputError: a region is empty at one of the layers, and this is no frame of a film.
        """
        directions = self.directions(scene.network, scene.seed)
        statistics = self._of_styles(scene, directions)
        guides = None
        if scene.regions is not None:
            height, width, _ = scene.content.shape
            guides = at_layers(scene.regions.drawn((height, width)), scene.network, self.layers)
            if scene.regions.passing:
                guides = filled(guides)
            else:
                require_all(guides, scene.regions.labels, "content")
        return StyleTarget(statistics, guides, directions)

    def _of_styles(self, scene: Scene, directions: dict[str, Array] | None) -> dict[str, Any]:
        """The statistics by layer, stacked if there are several styles or any regions."""
        of = partial(style_statistics, self, scene.network, directions=directions, tile=scene.tile)
        if scene.regions is None and len(scene.styles) == 1:
            return of(scene.styles[0])
        every = (None,) * len(scene.styles) if scene.regions is None else scene.regions.styles
        found: list[dict[str, Any]] = []
        for style, masks in zip(scene.styles, every, strict=True):
            if masks is None:
                found.append(jax.tree.map(lambda t: t[None], of(style)))
            else:
                height, width, _ = style.shape
                guides = at_layers(stacked(masks, (height, width)), scene.network, self.layers)
                require_all(guides, masks, "style")
                found.append(of(style, guides))
        return jax.tree.map(lambda *each: jnp.concatenate(padded(each, 1)), *found)

    def directions(self, network: Network, seed: int) -> dict[str, Float[Array, "c d"]] | None:
        """The directions along which each layer's features are projected.

        None if the statistic does not project features. The seed determines the directions.
        """
        if not self.statistic.projects:
            return None
        side = max((network.strides[layer] for layer in self.layers), default=1)
        image = jax.ShapeDtypeStruct((side, side, 3), jnp.float32)
        shapes = jax.eval_shape(lambda x: network(x, self.layers), image)
        key = jax.random.key(seed)
        return {
            layer: cast(
                Array,
                self.statistic.directions(shapes[layer].shape[-1], jax.random.fold_in(key, n)),
            )
            for n, layer in enumerate(self.layers)
        }

    def given(self, layer: str, target: StyleTarget) -> Given:
        """The guides and directions of the layer."""
        return Given((target.guides or {}).get(layer), (target.directions or {}).get(layer))

    def measure(
        self, layer: str, features: Array, head: Array | None, given: Given
    ) -> tuple[Array, Any]:
        """Compute the statistic of the features, for each region if there are regions."""
        del layer
        given = given._replace(head=head)
        if not self.additive:
            # Sorting is slow, so keep the sorted order instead of recomputing it.
            return features, measure(self.statistic, features, given)
        part = partial(_part, self.statistic, features.shape[0])
        return cast(Any, beside(part, _ROWS, features, _normalized(given)))

    def over(self, layer: str, target: StyleTarget) -> Float[Array, "h w r"] | None:
        """The guides of the layer, with the regions on the last axis."""
        guides = (target.guides or {}).get(layer)
        return None if guides is None else jnp.moveaxis(jnp.asarray(guides), 0, -1)

    def part(self, layer: str, features: Array, head: Array | None, over: Any, own: Array) -> Any:
        """Compute what the tile's own positions add to the statistic, for each region."""
        del layer
        weights = [own] if over is None else [own * guide for guide in jnp.moveaxis(over, -1, 0)]
        return weighted(self.statistic, features, weights, Given(head=head))

    def whole(self, layer: str, sums: Any, positions: int, target: StyleTarget) -> Any:
        """Divide the sums by the total weight of the positions."""
        guides = (target.guides or {}).get(layer)
        if guides is None:
            return jax.tree.map(lambda s: s[0] / positions, sums)
        mass = guides.sum((1, 2))
        return jax.tree.map(lambda s: jax.vmap(jnp.divide)(s, mass), sums)

    def loss(self, seen: Seen, target: StyleTarget) -> dict[str, Array]:
        """The style loss of each layer; regions are weighted by their share of the picture."""
        return {layer: self._loss(layer, seen, target) for layer in self.layers}

    def _loss(self, layer: str, seen: Seen, target: StyleTarget) -> Array:
        loss = partial(
            self.statistic.loss,
            normalization=self.normalization,
            width=seen.network.widths[layer],
        )
        guides = (target.guides or {}).get(layer)
        wanted, found, blend = target.statistics[layer], seen.found[layer], seen.blend
        if self.statistic.mixes or blend is None:
            each = jax.vmap(loss) if guides is not None else loss
            losses = each(found, blended(wanted, blend))
        else:
            each = jax.vmap(loss, (None, 0))
            each = jax.vmap(each, (0, None)) if guides is not None else each
            losses = (each(found, wanted) * blend).sum(-1)
        return losses if guides is None else jnp.vdot(guides.mean((1, 2)), losses)


# A run may have several style pictures at each scale.
@jit(static=["term", "tile"], kept=2 * KEPT)
def style_statistics(
    term: Style,
    network: Network,
    style: Float[AnyArray, "h w 3"],
    guides: dict[str, Float[Array, "r _ _"]] | None = None,
    directions: dict[str, Float[Array, "c d"]] | None = None,
    tile: int = 0,
) -> dict[str, Any]:
    """Compute the statistics of a style picture by layer.

    The picture is (h, w, 3), in [0, 1]. With `guides` (`regions.at_layers`) the statistics of its
    regions are computed, with a leading axis of regions.
    """
    # Measured in the same way as the drawn picture, so that equal pictures round alike.
    given = {term.name: StyleTarget({}, guides, directions)}
    found = measured((term,), jnp.asarray(style), network, given, tile=tile)
    return {layer: part.value for layer, part in found[term.name].items()}


def blended(target: Any, blend: Float[AnyArray, "*r k"] | None) -> Any:
    """The weighted mean of stacked targets.

    For Gram matrices and moments, this is the statistic of a picture that shows the styles in these
    shares. For quantiles, it interpolates between the distributions.
    """
    if blend is None:
        return target
    mix = partial(jnp.tensordot, blend, axes=1, precision=lax.Precision.HIGHEST)
    return jax.tree.map(mix, target)


def padded(arrays: Sequence[AnyArray], first: int = 0) -> list[AnyArray]:
    """Fill arrays up with zeros to equal shapes, from axis `first` on."""
    shape = [max(sizes) for sizes in zip(*(a.shape for a in arrays), strict=True)]
    spare = [[n - own for n, own in zip(shape, a.shape, strict=True)] for a in arrays]
    return [
        jnp.pad(a, [(0, n if axis >= first else 0) for axis, n in enumerate(s)])
        if any(s[first:])
        else a
        for a, s in zip(arrays, spare, strict=True)
    ]


def _part(statistic: Statistic, height: int, features: Array, given: Given) -> Any:
    """What a strip of rows adds to the statistic; guides must sum to 1 over all rows."""
    if given.guides is not None:
        return weighted(statistic, features, given.guides, given)
    share = features.shape[0] / height
    return jax.tree.map(lambda s: s * share, measure(statistic, features, given))


def _normalized(given: Given) -> Given:
    if given.guides is None:
        return given
    return given._replace(guides=given.guides / given.guides.sum((1, 2), keepdims=True))

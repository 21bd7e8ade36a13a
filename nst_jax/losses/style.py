"""The style loss: how far a statistic of the picture's features is from the style picture's."""

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
from nst_jax.losses.regions import at_layers, require_all, stacked
from nst_jax.losses.statistics.base import Given, Statistic, measure, weighted
from nst_jax.losses.statistics.gram import Gram
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.networks.base import Network
from nst_jax.options import Normalization
from nst_jax.options import weighted as weighted_layers
from nst_jax.typing import AnyArray

_ROWS: Any = Given(*cast(Any, (1, -1, -1)))  # the axes of their rows


class StyleTarget(NamedTuple):
    """What the picture's style is drawn to.

    Attributes:
        statistics: by layer. Those of several styles, or of several of their regions, are stacked,
            (k, ...); `Seen.blend` says how they mix.
        guides: by layer (r, h, w), if the picture has regions (`regions.at_layers`).
        directions: by layer (c, d), if the statistic projects features.
    """

    statistics: dict[str, Any]
    guides: dict[str, Float[Array, "r _ _"]] | None = None
    directions: dict[str, Float[Array, "c d"]] | None = None


@dataclass(frozen=True)
class Style(Term):
    """Distance of a statistic of the features at some layers (Gatys et al. 2016, eqs. 3 to 5)."""

    layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    statistic: Statistic = field(default_factory=Gram)
    normalization: Normalization = "gatys"
    name: ClassVar[str] = "style"

    @property
    def additive(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the statistic is."""
        return self.statistic.additive

    @classmethod
    def of(cls, options: Any) -> "Term | None":
        """Of the layers that weigh something."""
        layers = weighted_layers(options.style_layers)
        statistic = registry.statistic(options.statistic)
        return cls(layers, statistic, options.normalization) if layers else None

    def target(self, scene: Scene) -> StyleTarget:
        """The statistics of all styles, or of their regions; where the picture's regions lie.

        Raises:
            InputError: a region that is empty at one of the layers.
        """
        directions = self.directions(scene.network, scene.seed)
        statistics = self._of_styles(scene, directions)
        guides = None
        if scene.regions is not None:
            height, width, _ = scene.content.shape
            guides = at_layers(scene.regions.drawn((height, width)), scene.network, self.layers)
            require_all(guides, scene.regions.labels, "content")
        return StyleTarget(statistics, guides, directions)

    def _of_styles(self, scene: Scene, directions: dict[str, Array] | None) -> dict[str, Any]:
        """By layer; stacked where there are several styles, or regions."""
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
        return jax.tree.map(lambda *each: jnp.concatenate(each), *found)

    def directions(self, network: Network, seed: int) -> dict[str, Float[Array, "c d"]] | None:
        """Along which the features of each layer are projected, if the statistic needs that."""
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
        """Guides and directions of the layer."""
        return Given((target.guides or {}).get(layer), (target.directions or {}).get(layer))

    def measure(
        self, layer: str, features: Array, head: Array | None, given: Given
    ) -> tuple[Array, Any]:
        """The statistic."""
        del layer
        given = given._replace(head=head)
        if not self.additive:
            # Sorting is dear: rather keep the order than make it again.
            return features, measure(self.statistic, features, given)
        part = partial(_part, self.statistic, features.shape[0])
        return cast(Any, beside(part, _ROWS, features, _normalized(given)))

    def over(self, layer: str, target: StyleTarget) -> Float[Array, "h w r"] | None:
        """The guides."""
        guides = (target.guides or {}).get(layer)
        return None if guides is None else jnp.moveaxis(jnp.asarray(guides), 0, -1)

    def part(self, layer: str, features: Array, head: Array | None, over: Any, own: Array) -> Any:
        """The statistic by the tile's own positions, or by those of each region."""
        del layer
        weights = [own] if over is None else [own * guide for guide in jnp.moveaxis(over, -1, 0)]
        return weighted(self.statistic, features, weights, Given(head=head))

    def whole(self, layer: str, sums: Any, positions: int, target: StyleTarget) -> Any:
        """The sums divided by the weight of all positions."""
        guides = (target.guides or {}).get(layer)
        if guides is None:
            return jax.tree.map(lambda s: s[0] / positions, sums)
        mass = guides.sum((1, 2))
        return jax.tree.map(lambda s: jax.vmap(jnp.divide)(s, mass), sums)

    def loss(self, seen: Seen, target: StyleTarget) -> dict[str, Array]:
        """For each layer; of regions, the sum by their shares of the picture."""
        return {layer: self._loss(layer, seen, target) for layer in self.layers}

    def _loss(self, layer: str, seen: Seen, target: StyleTarget) -> Array:
        loss = partial(
            self.statistic.loss,
            normalization=self.normalization,
            width=seen.network.widths[layer],
        )
        wanted = blended(target.statistics[layer], seen.blend)
        guides = (target.guides or {}).get(layer)
        if guides is None:
            return loss(seen.found[layer], wanted)
        return jnp.vdot(guides.mean((1, 2)), jax.vmap(loss)(seen.found[layer], wanted))


@partial(jax.jit, static_argnames=("term", "tile"))
def style_statistics(
    term: Style,
    network: Network,
    style: Float[AnyArray, "h w 3"],
    guides: dict[str, Float[Array, "r _ _"]] | None = None,
    directions: dict[str, Float[Array, "c d"]] | None = None,
    tile: int = 0,
) -> dict[str, Any]:
    """The statistics of a style picture, (h, w, 3) in [0, 1], by layer.

    With `guides` (`regions.at_layers`), those of its regions, with a leading axis.
    """
    # As the picture's own will be measured: what is equal then rounds alike.
    given = {term.name: StyleTarget({}, guides, directions)}
    found = measured((term,), jnp.asarray(style), network, given, tile=tile)
    return {layer: part.value for layer, part in found[term.name].items()}


def blended(target: Any, blend: Float[AnyArray, "*r k"] | None) -> Any:
    """The weighted mean of stacked targets.

    Of Gram matrices and moments: what a picture showing these shares would measure. Of quantiles:
    what lies between the two on the line.
    """
    if blend is None:
        return target
    mix = partial(jnp.tensordot, blend, axes=1, precision=lax.Precision.HIGHEST)
    return jax.tree.map(mix, target)


def _part(statistic: Statistic, height: int, features: Array, given: Given) -> Any:
    """What some rows add to `measure` of all, with guides that sum to 1 over all."""
    if given.guides is not None:
        return weighted(statistic, features, given.guides, given)
    share = features.shape[0] / height
    return jax.tree.map(lambda s: s * share, measure(statistic, features, given))


def _normalized(given: Given) -> Given:
    if given.guides is None:
        return given
    return given._replace(guides=given.guides / given.guides.sum((1, 2), keepdims=True))

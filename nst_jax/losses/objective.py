"""The objective: one pure scalar function of (picture, network, targets, weights)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses import regions
from nst_jax.losses.content import Content, content_features
from nst_jax.losses.gradients import unit_pull
from nst_jax.losses.measuring import Found, layers_of, measured
from nst_jax.losses.regions import Kept
from nst_jax.losses.smoothness import TotalVariation
from nst_jax.losses.style import Style, style_statistics
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.networks.base import Network
from nst_jax.typing import AnyArray

Scalar = Float[Array, ""] | float


@dataclass(frozen=True)
class Objective:
    """The static part of an objective: its terms, and how they are measured.

    It is hashable, and `jit` compiles one program for each. What can change without recompiling
    (network weights, targets, loss weights) is an argument of the functions below.

    Attributes:
        terms: the terms, in the order of the sum; their names must differ.
        unit_gradients: scale the gradient of each layer's loss with respect to the layer's
            features, so that its absolute values sum to 1 times the weights. The loss itself stays
            the same. This is neural-style's `-normalize_gradients`.
        tile: side in pixels of the tiles into which larger pictures are cut (`tiling`); 0 for none.
            It changes no value. All terms that measure layers must be `additive`, and
            `unit_gradients` must be off.
    """

    terms: tuple[Term, ...] = (Content(), Style(), TotalVariation())
    unit_gradients: bool = False
    tile: int = 0

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers of the terms, each once, in the order of the terms."""
        return layers_of(self.terms)

    def term(self, name: str) -> Any:
        """The term of that name.

        Raises:
            KeyError: there is no such term.
        """
        return {term.name: term for term in self.terms}[name]


class Targets(NamedTuple):
    """What the picture is compared with.

    Attributes:
        terms: the target of each term by name, from `Term.target`.
        kept: the pixels that stay as they are in the content; None for no such pixels.
    """

    terms: dict[str, Any]
    kept: Kept | None = None


class Weights(NamedTuple):
    """The weights of the objective.

    They are traced, so changing them needs no new program. A sweep adds a leading axis to them and
    uses `vmap`.

    Attributes:
        terms: the weight of each term, by name.
        layers: the weights of layers, by term and layer; a missing layer has weight 1.
        blend: the weights of k styles, which sum to 1: (k,), or (r, k) for r regions. None if there
            is one style and no region.
    """

    terms: dict[str, Scalar]
    layers: dict[str, dict[str, Scalar]]
    blend: Float[AnyArray, "*r k"] | None = None


def targets_of(spec: Objective, scene: Scene, kept: Kept | None = None) -> Targets:
    """Compute the target of each term.

    Raises:
        InputError: a term cannot make its target, for example because a region is empty.
    """
    return Targets({term.name: term.target(scene) for term in spec.terms}, kept)


def content_targets(
    spec: Objective, network: Network, content: Float[AnyArray, "h w 3"]
) -> dict[str, Array]:
    """Compute the target of the term `content`: the features of a picture, by layer.

    The picture is (h, w, 3), in [0, 1].
    """
    return content_features(network, content, spec.term("content").layers, spec.tile)


def style_targets(
    spec: Objective,
    network: Network,
    style: Float[AnyArray, "h w 3"],
    guides: dict[str, Float[Array, "r _ _"]] | None = None,
    directions: dict[str, Float[Array, "c d"]] | None = None,
) -> dict[str, Any]:
    """Compute the `statistics` of a `StyleTarget` from a style picture, by layer.

    The picture is (h, w, 3), in [0, 1]. With `guides` (`regions.at_layers`) the statistics of its
    regions are computed, with a leading axis of regions. The sliced statistic needs the same
    `directions` (`Style.directions`) for both pictures.
    """
    return style_statistics(spec.term("style"), network, style, guides, directions, spec.tile)


def objective(
    spec: Objective,
    image: Float[AnyArray, "h w 3"],
    network: Network,
    targets: Targets,
    weights: Weights,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Compute the weighted sum of all terms for a picture (Gatys et al. 2016, eq. 7).

    Args:
        spec: the terms; static.
        image: RGB in [0, 1], (h, w, 3).
        network: the feature extractor.
        targets: the targets, from `targets_of`.
        weights: the weights of terms and layers.

    Returns:
        The total, and a dict of weighted values: `total`, each term by name, and each layer by
        name. For a layer that several terms use, it holds their sum.
    """
    image = regions.composed(image, targets.kept)
    found = measured(
        spec.terms,
        image,
        network,
        targets.terms,
        unit_gradients=spec.unit_gradients,
        tile=spec.tile,
    )
    zero = jnp.zeros((), jnp.float32)
    terms: dict[str, Array] = {}
    layers = dict.fromkeys(spec.layers, zero)
    for term in spec.terms:
        seen = Seen(image, _values(found[term.name]), network, weights.blend)
        loss = term.loss(seen, targets.terms.get(term.name))
        weight = weights.terms[term.name]
        if not isinstance(loss, Mapping):
            terms[term.name] = jnp.asarray(weight) * loss
            continue
        shares = weights.layers.get(term.name, {})
        each = {
            layer: weight * shares.get(layer, 1.0) * _pulled(one, found[term.name].get(layer))
            for layer, one in loss.items()
        }
        terms[term.name] = sum(each.values(), zero)
        layers |= {layer: layers[layer] + each[layer] for layer in each}
    total = sum(terms.values(), zero)
    return total, {"total": total, **terms, **layers}


def _values(found: Mapping[str, Found]) -> dict[str, Any]:
    return {layer: part.value for layer, part in found.items()}


def _pulled(loss: Array, found: Found | None) -> Array:
    return loss if found is None or found.handle is None else unit_pull(loss, found.handle)

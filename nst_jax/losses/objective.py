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
    """The static part of an objective: its terms, and how they are measured; hashable.

    jit compiles once for each. Everything that may change without recompiling (network weights,
    targets, loss weights) is an argument of the functions below.

    Attributes:
        terms: of the sum, in its order; no two of one name.
        unit_gradients: each layer's loss gets a gradient of absolute sum 1, times its weights, with
            respect to the layer's features, as neural-style's `-normalize_gradients`; the loss
            stays.
        tile: side in pixels of the tiles of larger pictures (`tiling`), 0 for none. It changes no
            value, and is for terms that are `additive`, without `unit_gradients`.
    """

    terms: tuple[Term, ...] = (Content(), Style(), TotalVariation())
    unit_gradients: bool = False
    tile: int = 0

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers, each once, in the order of the terms."""
        return layers_of(self.terms)

    def term(self, name: str) -> Any:
        """The term of that name; a KeyError without one."""
        return {term.name: term for term in self.terms}[name]


class Targets(NamedTuple):
    """What the picture is drawn to: by term what `Term.target` gives; what of it stays as it is."""

    terms: dict[str, Any]
    kept: Kept | None = None


class Weights(NamedTuple):
    """Weights by term, and by term and layer: traced; a leading axis under `vmap` makes a sweep.

    A layer that is not there weighs 1. `blend` holds the weights of several styles, summing to 1,
    (k,), or for each region of the picture, (r, k); None where there is one style and no region.
    """

    terms: dict[str, Scalar]
    layers: dict[str, dict[str, Scalar]]
    blend: Float[AnyArray, "*r k"] | None = None


def targets_of(spec: Objective, scene: Scene, kept: Kept | None = None) -> Targets:
    """What each term compares with, for a run.

    Raises:
        InputError: what the terms raise, such as a region that is empty.
    """
    return Targets({term.name: term.target(scene) for term in spec.terms}, kept)


def content_targets(
    spec: Objective, network: Network, content: Float[AnyArray, "h w 3"]
) -> dict[str, Array]:
    """The target of the term `content`: features of a picture, (h, w, 3) in [0, 1], by layer."""
    return content_features(network, content, spec.term("content").layers, spec.tile)


def style_targets(
    spec: Objective,
    network: Network,
    style: Float[AnyArray, "h w 3"],
    guides: dict[str, Float[Array, "r _ _"]] | None = None,
    directions: dict[str, Float[Array, "c d"]] | None = None,
) -> dict[str, Any]:
    """The `statistics` of a `StyleTarget`: of a picture, (h, w, 3) in [0, 1], by layer.

    With `guides` (`regions.at_layers`), those of its regions, with a leading axis. The sliced
    statistic needs the same `directions` (`Style.directions`) for both pictures.
    """
    return style_statistics(spec.term("style"), network, style, guides, directions, spec.tile)


def objective(
    spec: Objective,
    image: Float[AnyArray, "h w 3"],
    network: Network,
    targets: Targets,
    weights: Weights,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The weighted sum of the terms of a picture (Gatys et al. 2016, eq. 7).

    Args:
        spec: terms; static.
        image: (h, w, 3), RGB in [0, 1].
        network: the feature extractor.
        targets: from `targets_of`.
        weights: of the terms and of the layers.

    Returns:
        The total, and everything as it enters the total: `total`, each term by name, and each
        layer by name (a layer that several terms use has their sum).
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

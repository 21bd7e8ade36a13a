"""Measure a picture for the terms of an objective, as a whole or tile by tile."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from jax.tree_util import Partial
from jaxtyping import Array, Float

from nst_jax.losses import tiling
from nst_jax.losses.gradients import unit_branch
from nst_jax.losses.term import Term
from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected

Terms = tuple[Term, ...]


class Found(NamedTuple):
    """What a term measured at a layer.

    Attributes:
        value: the result of the term's `measure`, or of `whole` if there are tiles.
        handle: the handle for `unit_pull` if gradients are normalised.
    """

    value: Any
    handle: Array | None = None


def layers_of(terms: Iterable[Term]) -> tuple[str, ...]:
    """All layers of the terms, each once."""
    return tuple(dict.fromkeys(layer for term in terms for layer in term.layers))


def measured(
    terms: Terms,
    image: Float[Array, "h w 3"],
    network: Network,
    targets: Mapping[str, Any],
    *,
    unit_gradients: bool = False,
    tile: int = 0,
) -> dict[str, dict[str, Found]]:
    """Measure all terms in one pass through the network; see `objective.Objective`.

    Args:
        terms: the terms; static.
        image: RGB in [0, 1], (h, w, 3).
        network: the feature extractor.
        targets: the target of each term, by name.
        unit_gradients: whether to normalise the gradients.
        tile: side in pixels of the tiles; 0 for none.

    Returns:
        What was found, by name of the term and by layer.
    """
    height, width, _ = image.shape
    layers = layers_of(terms)
    layout = tiling.layout(tile, network, layers, height, width)
    if not layers:
        found = {}
    elif layout is None:
        found = _at_once(terms, unit_gradients, image, network, targets)
    else:
        found = _in_tiles(terms, layout, image, network, targets)
    return {term.name: {layer: found[layer][term.name] for layer in term.layers} for term in terms}


def _at_once(
    terms: Terms, unit_gradients: bool, image: Array, network: Network, targets: Mapping[str, Any]
) -> dict[str, dict[str, Found]]:
    given = {
        layer: {t.name: t.given(layer, targets.get(t.name)) for t in _of(terms, layer)}
        for layer in layers_of(terms)
    }
    tap = Partial(partial(_tap, terms, unit_gradients), given)
    return network(image, layers_of(terms), tap)


def _of(terms: Terms, layer: str) -> list[Term]:
    return [term for term in terms if layer in term.layers]


def _tap(
    terms: Terms,
    unit_gradients: bool,
    given: Mapping[str, Mapping[str, Any]],
    layer: str,
    features: Array,
    head: Array | None = None,
) -> tuple[Array, dict[str, Found]]:
    """Measure a layer for each term; also return the features for the rest of the network."""
    if head is not None and unit_gradients:
        # Normalise the gradient of the features themselves, not of the activations before the head.
        whole = projected(features, head)
        return features, _tap(terms, unit_gradients, given, layer, whole)[1]
    found: dict[str, Found] = {}
    for term in _of(terms, layer):
        own, handle = features, None
        if unit_gradients:
            features, own, handle = unit_branch(features)
        further, value = term.measure(layer, own, head, given[layer][term.name])
        features = features if unit_gradients else further
        found[term.name] = Found(value, handle)
    return features, found


def _in_tiles(
    terms: Terms,
    layout: tiling.Layout,
    image: Array,
    network: Network,
    targets: Mapping[str, Any],
) -> dict[str, dict[str, Found]]:
    height, width, _ = image.shape
    maps = {
        layer: {t.name: t.over(layer, targets.get(t.name)) for t in _of(terms, layer)}
        for layer in layout.layers
    }
    sums: Any = tiling.summed(layout, partial(_parts, terms), image, network, maps)
    return {
        layer: {
            t.name: Found(
                t.whole(
                    layer,
                    sums[layer][t.name],
                    (height // stride) * (width // stride),
                    targets.get(t.name),
                )
            )
            for t in _of(terms, layer)
        }
        for layer, stride in layout.strides
    }


def _parts(
    terms: Terms,
    layer: str,
    features: Array,
    head: Array | None,
    maps: Mapping[str, Any],
    own: Float[Array, "h w"],
) -> dict[str, Any]:
    """What one tile adds to the sums of each term."""
    return {t.name: t.part(layer, features, head, maps[t.name], own) for t in _of(terms, layer)}

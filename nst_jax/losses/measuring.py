"""What the terms of an objective measure of a picture, at once or tile by tile."""

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
    """What a term measured at a layer; a handle for `unit_pull` if gradients are normalised."""

    value: Any
    handle: Array | None = None


def layers_of(terms: Iterable[Term]) -> tuple[str, ...]:
    """All layers of some terms, each once."""
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
    """By term and layer, of one pass through the network; see `objective.Objective`."""
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
    """Of a layer's features: those to go on with, and what each term measures."""
    if head is not None and unit_gradients:
        # The gradients of sum 1 are those of the features proper.
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
    """What a tile adds to each term's sums."""
    return {t.name: t.part(layer, features, head, maps[t.name], own) for t in _of(terms, layer)}

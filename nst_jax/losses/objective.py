"""The objective: one pure scalar function of (picture, network, targets, weights)."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float

from nst_jax.losses import losses, regions, statistics, tiling
from nst_jax.losses.gradients import beside, unit_branch, unit_pull
from nst_jax.losses.regions import Kept
from nst_jax.losses.statistics import Given
from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.options import ADDITIVE, Normalization, Statistic
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Objective:
    """The static part of an objective: which layers, which statistic and normalisation (`losses`).

    `unit_gradients` gives each layer's loss a gradient of absolute sum 1, times its weights, with
    respect to the layer's features, as neural-style's `-normalize_gradients`; the loss stays.
    `tile` is the side in pixels of the tiles of larger pictures (`tiling`), 0 for none; it changes
    no value, and is for statistics of `choices.ADDITIVE`, without `unit_gradients`.

    Hashable, so that jit compiles once for each. Everything that may change without recompiling
    (network weights, targets, loss weights) is an argument of the functions below.
    """

    content_layers: tuple[str, ...] = ("relu4_2",)
    style_layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    normalization: Normalization = "gatys"
    statistic: Statistic = "gram"
    unit_gradients: bool = False
    tile: int = 0

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers, each once, content first."""
        return tuple(dict.fromkeys(self.content_layers + self.style_layers))


class Targets(NamedTuple):
    """What the picture is drawn to, per layer: content features (h, w, c), a style's statistic.

    Gram matrices are (c, c); for other statistics see `statistics.measure`. Those of several
    styles, or of several of their regions, are stacked, (k, ...); `Weights.blend` says how they
    mix. `guides` (r, h, w) are there if the picture has regions (`regions.at_layers`), `kept` if
    some of it stays as it is, `directions` (c, d) for the sliced statistic.
    """

    content: dict[str, Array]
    style: dict[str, Any]
    guides: dict[str, Float[Array, "r _ _"]] | None = None
    kept: Kept | None = None
    directions: dict[str, Float[Array, "c d"]] | None = None

    def given(self, layer: str) -> Given:
        """What the statistic of a layer needs besides features."""
        return Given((self.guides or {}).get(layer), (self.directions or {}).get(layer))


class Weights(NamedTuple):
    """Weights of the terms: traced; a leading axis under `vmap` makes a sweep.

    `blend` holds the weights of several styles, summing to 1, (k,), or for each region of the
    picture, (r, k); None where there is one style and no region.
    """

    content: Float[Array, ""] | float
    style: Float[Array, ""] | float
    tv: Float[Array, ""] | float
    content_layers: dict[str, Float[Array, ""] | float]
    style_layers: dict[str, Float[Array, ""] | float]
    blend: Float[AnyArray, "*r k"] | None = None


def content_targets(
    spec: Objective, network: Network, content: Float[AnyArray, "h w 3"]
) -> dict[str, Array]:
    """Features of the content picture, (h, w, 3) in [0, 1], at the content layers."""
    height, width, _ = content.shape
    layout = tiling.layout(spec.tile, network, spec.content_layers, height, width)
    if layout is not None:
        return tiling.gathered(layout, jnp.asarray(content), network)
    return network(content, spec.content_layers) if spec.content_layers else {}


def style_targets(
    spec: Objective,
    network: Network,
    style: Float[AnyArray, "h w 3"],
    guides: dict[str, Float[Array, "r _ _"]] | None = None,
    directions: dict[str, Float[Array, "c d"]] | None = None,
) -> dict[str, Any]:
    """The statistics of the style picture, (h, w, 3) in [0, 1], at the style layers.

    With `guides` (`regions.at_layers`), those of its regions, with a leading axis. The sliced
    statistic needs the same `directions` for both pictures.
    """
    if not spec.style_layers:
        return {}
    height, width, _ = style.shape
    layout = tiling.layout(spec.tile, network, spec.style_layers, height, width)
    if layout is not None:
        spec = replace(spec, content_layers=())
        parts = _tiled(spec, layout, jnp.asarray(style), network, {}, guides)
        return {k: part.style for k, part in parts.items()}
    # As the picture's own will be measured: what is equal then rounds alike.
    alone = replace(spec, content_layers=(), unit_gradients=False)
    targets = Targets({}, {}, guides, None, directions)
    found = _whole(alone, jnp.asarray(style), network, targets)
    return {layer: part.style for layer, part in found.items()}


def random_directions(
    spec: Objective, network: Network, seed: int
) -> dict[str, Float[Array, "c c"]] | None:
    """Orthogonal directions, as many as a layer has channels, for the sliced statistic."""
    if spec.statistic != "sliced":
        return None
    side = max((network.strides[layer] for layer in spec.style_layers), default=1)
    image = jax.ShapeDtypeStruct((side, side, 3), jnp.float32)
    found = jax.eval_shape(lambda x: network(x, spec.style_layers), image)
    key = jax.random.key(seed)
    return {
        layer: jax.random.orthogonal(jax.random.fold_in(key, n), found[layer].shape[-1])
        for n, layer in enumerate(spec.style_layers)
    }


def blended(target: Any, blend: Float[AnyArray, "*r k"] | None) -> Any:
    """The weighted mean of stacked targets.

    Of Gram matrices and moments: what a picture showing these shares would measure. Of quantiles:
    what lies between the two on the line.
    """
    if blend is None:
        return target
    return jax.tree.map(
        lambda each: jnp.tensordot(blend, each, axes=1, precision=lax.Precision.HIGHEST), target
    )


def objective(
    spec: Objective,
    image: Float[AnyArray, "h w 3"],
    network: Network,
    targets: Targets,
    weights: Weights,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Weighted content, style and total variation losses of a picture (Gatys et al. 2016, eq. 7).

    Args:
        spec: layers and normalisation; static.
        image: (h, w, 3), RGB in [0, 1].
        network: the feature extractor.
        targets: from `content_targets` and `style_targets`.
        weights: of the terms and of the layers.

    Returns:
        The total, and every term as it enters the total: `total`, `content`, `style`, `tv`, and
        each layer by name (a layer used for both content and style has the sum of the two).
    """
    image = regions.composed(image, targets.kept)
    height, width, _ = image.shape
    layout = tiling.layout(spec.tile, network, spec.layers, height, width)
    if layout is None:
        found = _whole(spec, image, network, targets)
    else:
        found = _tiled(spec, layout, image, network, targets.content, targets.guides)
    content = {
        layer: weights.content
        * weights.content_layers[layer]
        * _pulled(
            losses.scaled_error(
                found[layer].error,
                _positions(network, layer, height, width),
                network.widths[layer],
                spec.normalization,
            ),
            found[layer].error_handle,
        )
        for layer in spec.content_layers
    }
    style = {
        layer: weights.style
        * weights.style_layers[layer]
        * _pulled(
            _style_loss(
                spec,
                found[layer].style,
                blended(targets.style[layer], weights.blend),
                targets.given(layer).guides,
                network.widths[layer],
            ),
            found[layer].style_handle,
        )
        for layer in spec.style_layers
    }
    zero = jnp.zeros((), jnp.float32)
    terms: dict[str, Array] = {
        "content": sum(content.values(), zero),
        "style": sum(style.values(), zero),
        "tv": jnp.asarray(weights.tv) * losses.total_variation(image, spec.normalization),
    }
    total = terms["content"] + terms["style"] + terms["tv"]
    by_layer: dict[str, Array] = {k: content.get(k, zero) + style.get(k, zero) for k in spec.layers}
    return total, {"total": total, **terms, **by_layer}


class _Found(NamedTuple):
    """What a layer has for the losses.

    `error` is the sum of squared differences to the content's features, `style` the statistic; the
    handles are there if gradients are normalised.
    """

    error: Any = None
    style: Any = None
    error_handle: Array | None = None
    style_handle: Array | None = None


def _whole(spec: Objective, image: Array, network: Network, targets: Targets) -> dict[str, _Found]:
    """What each layer has, of all positions at once."""
    given = {layer: (targets.content.get(layer), targets.given(layer)) for layer in spec.layers}
    tap = Partial(partial(_tap, spec), given)
    return network(image, spec.layers, tap) if spec.layers else {}


def _tap(
    spec: Objective,
    given: dict[str, tuple[Any, Given]],
    layer: str,
    features: Array,
    head: Array | None = None,
) -> tuple[Array, _Found]:
    """Of a layer's features: those to go on with, and what the losses need."""
    if head is not None and spec.unit_gradients:
        # The gradients of sum 1 are those of the features proper.
        return features, _tap(spec, given, layer, projected(features, head))[1]
    error = error_handle = style = style_handle = None
    target, more = given[layer]
    more = more._replace(head=head)
    if layer in spec.content_layers:
        features, own, error_handle = _branch(spec, features)
        error = losses.squared_error(projected(own, head), target)
    if layer in spec.style_layers:
        further, own, style_handle = _branch(spec, features)
        if spec.statistic not in ADDITIVE:
            # Sorting is dear: rather keep the order than make it again.
            features, style = further, statistics.measure(spec.statistic, own, more)
        else:
            part = partial(_part, spec.statistic, own.shape[0])
            both: Any = beside(part, _ROWS, own, _normalized(more))
            features, style = further if spec.unit_gradients else both[0], both[1]
    return features, _Found(error, style, error_handle, style_handle)


_ROWS: Any = Given(*cast(Any, (1, -1, -1)))  # the axes of their rows


def _part(statistic: Statistic, height: int, features: Array, given: Given) -> Any:
    """What some rows add to `statistics.measure` of all, with guides that sum to 1 over all."""
    if given.guides is not None:
        return statistics.weighted(statistic, features, given.guides, given)
    share = features.shape[0] / height
    return jax.tree.map(lambda s: s * share, statistics.measure(statistic, features, given))


def _normalized(given: Given) -> Given:
    if given.guides is None:
        return given
    return given._replace(guides=given.guides / given.guides.sum((1, 2), keepdims=True))


def _tiled(
    spec: Objective,
    layout: tiling.Layout,
    image: Array,
    network: Network,
    content: dict[str, Array],
    guides: dict[str, Array] | None,
) -> dict[str, _Found]:
    """What each layer has, summed over the tiles."""
    targets = {k: content[k] for k in spec.content_layers}
    maps = {k: tiling.Maps(targets.get(k), (guides or {}).get(k)) for k in spec.layers}
    sums: dict[str, _Found] = tiling.summed(layout, partial(_measure, spec), image, network, maps)
    height, width, _ = image.shape
    found = {}
    for layer, part in sums.items():
        whole = maps[layer].guides
        if whole is None:
            mass = _positions(network, layer, height, width)
            mean = jax.tree.map(lambda s, mass=mass: s[0] / mass, part.style)
        else:
            mass = whole.sum((1, 2))
            mean = jax.tree.map(lambda s, mass=mass: jax.vmap(jnp.divide)(s, mass), part.style)
        found[layer] = part._replace(style=mean)
    return found


def _measure(
    spec: Objective,
    layer: str,
    features: Array,
    head: Array | None,
    maps: tiling.Maps,
    own: Float[Array, "h w"],
) -> _Found:
    """A tile's part of these sums."""
    error = style = None
    if maps.target is not None:
        error = losses.squared_error(projected(features, head), maps.target, own)
    if layer in spec.style_layers:
        weights = [own] if maps.guides is None else [own * guide for guide in maps.guides]
        style = statistics.weighted(spec.statistic, features, weights, Given(head=head))
    return _Found(error, style)


def _positions(network: Network, layer: str, height: int, width: int) -> int:
    stride = network.strides[layer]
    return (height // stride) * (width // stride)


def _branch(spec: Objective, features: Array) -> tuple[Array, Array, Array | None]:
    return unit_branch(features) if spec.unit_gradients else (features, features, None)


def _pulled(loss: Array, handle: Array | None) -> Array:
    return loss if handle is None else unit_pull(loss, handle)


def _style_loss(
    spec: Objective, found: Any, target: Any, guides: AnyArray | None, width: int
) -> Float[Array, ""]:
    """The loss of one layer; of regions, the sum by their shares of the picture."""
    loss = partial(
        losses.statistic_loss, spec.statistic, normalization=spec.normalization, width=width
    )
    if guides is None:
        return loss(found, target)
    return jnp.vdot(guides.mean((1, 2)), jax.vmap(loss)(found, target))

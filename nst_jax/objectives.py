"""The objective: one pure scalar function of (picture, network, targets, weights)."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float

from nst_jax import losses, regions, statistics
from nst_jax.choices import Normalization
from nst_jax.networks.vgg import Network
from nst_jax.ordering import beside
from nst_jax.regions import Kept
from nst_jax.typing import AnyArray


@dataclass(frozen=True)
class Objective:
    """The static part of an objective: which layers, which normalisation (`losses`).

    Hashable, so that jit compiles once for each. Everything that may change without recompiling
    (network weights, targets, loss weights) is an argument of the functions below.
    """

    content_layers: tuple[str, ...] = ("relu4_2",)
    style_layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    normalization: Normalization = "gatys"

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers, each once, content first."""
        return tuple(dict.fromkeys(self.content_layers + self.style_layers))


class Targets(NamedTuple):
    """What the picture is drawn to, per layer: content features (h, w, c), Gram matrices (c, c).

    The matrices of several styles, or of several of their regions, are stacked, (k, c, c);
    `Weights.blend` says how they mix. `guides` (r, h, w) are there if the picture has regions
    (`regions.at_layers`), `kept` if some of it stays as it is.
    """

    content: dict[str, Array]
    style: dict[str, Array]
    guides: dict[str, Float[Array, "r _ _"]] | None = None
    kept: Kept | None = None


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
    return network(content, spec.content_layers) if spec.content_layers else {}


def style_targets(
    spec: Objective,
    network: Network,
    style: Float[AnyArray, "h w 3"],
    guides: dict[str, Float[Array, "r _ _"]] | None = None,
) -> dict[str, Float[Array, "*r _ _"]]:
    """Gram matrices of the style picture, (h, w, 3) in [0, 1], at the style layers.

    With `guides` (`regions.at_layers`), those of its regions, (r, c, c).
    """
    if not spec.style_layers:
        return {}
    found = network(style, spec.style_layers)
    return {k: statistics.in_regions(f, (guides or {}).get(k)) for k, f in found.items()}


def blended(target: Array, blend: Float[AnyArray, "*r k"] | None) -> Array:
    """The weighted mean of stacked targets: what a picture showing these shares would measure."""
    if blend is None:
        return target
    return jnp.tensordot(blend, target, axes=1, precision=lax.Precision.HIGHEST)


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
    tap = Partial(partial(_tap, spec), targets.guides)
    found = network(image, spec.layers, tap) if spec.layers else {}
    content = {
        layer: weights.content
        * weights.content_layers[layer]
        * losses.content_loss(
            found[layer][0],
            targets.content[layer],
            spec.normalization,
            width=network.widths[layer],
        )
        for layer in spec.content_layers
    }
    style = {
        layer: weights.style
        * weights.style_layers[layer]
        * _style_loss(
            spec,
            found[layer][1],
            blended(targets.style[layer], weights.blend),
            (targets.guides or {}).get(layer),
            network.widths[layer],
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


def _tap(
    spec: Objective, guides: dict[str, Array] | None, layer: str, features: Array
) -> tuple[Array, tuple[Array, Array | None]]:
    """Of a layer's features: those to go on with, and themselves with their statistics."""
    if layer not in spec.style_layers:
        return features, (features, None)
    both: Any = beside(statistics.in_regions, features, (guides or {}).get(layer))
    return both[0], both


def _style_loss(
    spec: Objective, found: Array, target: Array, guides: Array | None, width: int
) -> Float[Array, ""]:
    """The loss of one layer; of regions, the sum by their shares of the picture."""
    loss = partial(losses.style_loss, normalization=spec.normalization, width=width)
    if guides is None:
        return loss(found, target)
    return jnp.vdot(guides.mean((1, 2)), jax.vmap(loss)(found, target))

"""A loss in shares, with which all pairs of pictures pull alike."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.losses.content import content_loss
from nst_jax.losses.objective import Objective, Targets, Weights, objective
from nst_jax.losses.statistics.gram import style_loss
from nst_jax.losses.style import StyleTarget
from nst_jax.networks.base import Network

_EACH = 0.1  # weight of each layer by itself
_FLOOR = 0.01  # shares of a layer's style loss below which it has next to no weight
_TINY = 1e-12  # added where a loss is divided by another that may be 0


def relative(
    spec: Objective,
    network: Network,
    weights: Weights,
    image: Float[Array, "h w 3"],
    content: Mapping[str, Any],
    style: Mapping[str, Any],
) -> dict[str, Array]:
    """The logarithm of a relative objective, `total`, and its terms.

    Content and style loss are shares of what they would be for a picture without any features, so
    that a pale style counts as much as a vivid one. Nearly all of the style loss is relu4_1's.
    Therefore the logarithm of each style layer's own share is added, with a small weight, but for
    layers of the content.

    Args:
        spec: content, style by Gram matrices, and other terms.
        network: the loss network.
        weights: weights of the terms and layers.
        image: the drawn picture.
        content: content targets by layer.
        style: Gram matrices by layer.
    """
    targets = Targets({"content": content, "style": StyleTarget(dict(style))})
    found = objective(spec, image, network, targets, weights)[1]
    # Of features that are all zero.
    blank = {
        "content": {k: content_loss(0 * v, v, width=network.widths[k]) for k, v in content.items()},
        "style": {k: style_loss(0 * v, v, width=network.widths[k]) for k, v in style.items()},
    }
    blank = {
        name: {k: weights.terms[name] * weights.layers[name][k] * v for k, v in layers.items()}
        for name, layers in blank.items()
    }
    terms = found | {
        name: weights.terms[name] * found[name] / (sum(layers.values()) + _TINY)
        for name, layers in blank.items()
    }
    total = jnp.log(sum(terms[term.name] for term in spec.terms))
    for layer, whole in blank["style"].items():
        if layer in content:  # what was found there has the content loss, too
            continue
        terms[layer] = found[layer] / (whole + _TINY)
        total += _EACH * jnp.log(terms[layer] + _FLOOR)
    return terms | {"total": total}

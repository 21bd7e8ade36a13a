"""Make the terms of the objective and their weights from the settings."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.losses import registry
from nst_jax.losses.measuring import layers_of
from nst_jax.losses.objective import Weights
from nst_jax.losses.registry import TERMS
from nst_jax.losses.term import Term
from nst_jax.stylizing.objects import require_found
from nst_jax.stylizing.settings import Settings


def terms_of(settings: Settings, also: Collection[str] = ()) -> tuple[Term, ...]:
    """The terms of the objective whose weight is not zero.

    Terms that are part of every program, and those named in `also`, are included at any weight.

    Raises:
        InputError: a term, statistic or optimiser is `Lost`.
    """
    require_found((*settings.terms, settings.statistic, settings.optimizer))
    wanted = (*settings.weighing, *also)
    names = [name for name, entry in TERMS.items() if entry.always or name in wanted]
    known = (registry.term(name).of(settings) for name in names)
    own = (term for term, weight in settings.terms.items() if weight)
    return (*(term for term in known if term is not None), *own)


def last_statistic(settings: Settings) -> Any:
    """The statistic of the last pass at the end size; None if there is no such pass."""
    if "style" not in settings.weighing:
        return None
    return getattr(registry.statistic(settings.statistic), "last", None)


def layers(settings: Settings) -> tuple[str, ...]:
    """All layers that the terms measure, each once."""
    return layers_of(terms_of(settings))


def weights_of(settings: Settings, terms: Sequence[Term], blend: Any) -> Weights:
    """The weights of terms and layers as float32 arrays.

    JAX converts arrays from numpy without compiling anything. Python numbers have a weak type, for
    which the loop would be compiled a second time.
    """
    shares: dict[str, Mapping[str, float]] = {
        term.name: settings.layers_of(term.name) or {} for term in terms
    }
    weights = Weights(
        {term.name: settings.weight(term.name) for term in terms},
        {
            term.name: {layer: shares[term.name].get(layer, 1.0) for layer in term.layers}
            for term in terms
        },
        blend,
    )
    return jax.tree.map(lambda w: jnp.asarray(np.asarray(w, np.float32), jnp.float32), weights)


def blend_weights(settings: Settings, styles: int) -> Float[np.ndarray, " k"] | None:
    """The weights of the styles, normalised to sum 1; None for a single style.

    Raises:
        InputError: `style_blend` has weights for another number of styles.
    """
    given = settings.style_blend or (1.0,) * styles
    if len(given) != styles:
        raise InputError(
            f"style_blend has {len(given)} weights, but the number of style pictures is {styles}: "
            "give one weight for each."
        )
    if styles == 1:
        return None
    return np.asarray(given, np.float32) / np.float32(sum(given))

"""From settings to the terms of an objective and their weights."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nst_jax.losses import registry
from nst_jax.losses.measuring import layers_of
from nst_jax.losses.objective import Weights
from nst_jax.losses.registry import TERMS
from nst_jax.losses.term import Term
from nst_jax.stylizing.objects import require_found
from nst_jax.stylizing.settings import Settings


def terms_of(settings: Settings, also: Collection[str] = ()) -> tuple[Term, ...]:
    """The terms that weigh something; those of every program and those called `also` in any case.

    Raises:
        InputError: a term or statistic of which a file kept the name alone.
    """
    require_found((*settings.terms, settings.statistic, settings.optimizer))
    wanted = (*settings.weighing, *also)
    names = [name for name, entry in TERMS.items() if entry.always or name in wanted]
    known = (registry.term(name).of(settings) for name in names)
    own = (term for term, weight in settings.terms.items() if weight)
    return (*(term for term in known if term is not None), *own)


def layers(settings: Settings) -> tuple[str, ...]:
    """All layers that are measured, each once."""
    return layers_of(terms_of(settings))


def weights_of(settings: Settings, terms: Sequence[Term], blend: Any) -> Weights:
    """The weights of terms and layers as arrays.

    float32 from numpy: JAX takes these up without compiling anything, where Python numbers, of
    weak type, would compile the loop a second time.
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

"""The terms of an objective and the statistics of a style, by name. No JAX.

Weights, schedules, columns of traces and tables, and options on the command line follow from these
names; what does the work is loaded on first use.
"""

import importlib
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A term of the registry.

    Attributes:
        place: where its class is.
        about: what options say of it.
        weight: in the preset `gatys`.
        always: whether it is part of every program, so that a weight of zero is data like any
            other; the rest is left out where it weighs nothing.
    """

    place: str
    about: str
    weight: float = 0.0
    always: bool = False


TERMS: dict[str, Entry] = {
    "content": Entry("nst_jax.losses.content:Content", "content loss", 1.0, True),
    "style": Entry("nst_jax.losses.style:Style", "style loss", 1e3, True),
    "tv": Entry("nst_jax.losses.smoothness:TotalVariation", "total variation", always=True),
    "range": Entry("nst_jax.losses.range:Range", "penalty on values outside [0, 1]"),
}

STATISTICS: dict[str, str] = {
    "gram": "nst_jax.losses.statistics.gram:Gram",
    "moments": "nst_jax.losses.statistics.moments:MeanDeviation",
    "wasserstein": "nst_jax.losses.statistics.wasserstein:Wasserstein",
    "sliced": "nst_jax.losses.statistics.quantiles:Sliced",
    "histogram": "nst_jax.losses.statistics.quantiles:Histogram",
}


def term(name: str) -> Any:
    """The class of a term."""
    return _loaded(TERMS[name].place)


def statistic(given: Any) -> Any:
    """The statistic of that name; an object that is one already."""
    return _loaded(STATISTICS[given])() if isinstance(given, str) else given


def _loaded(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)

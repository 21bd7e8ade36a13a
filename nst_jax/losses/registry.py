"""The terms of an objective and the statistics of style, by name.

These names determine the weights, the schedules, the columns of traces and tables, and the options
on the command line. The module does not import JAX: the classes are loaded on first use.
"""

import importlib
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A term in the registry.

    Attributes:
        place: its class, as `module:name`.
        about: its description in the help texts of options.
        weight: its weight in the preset `gatys`.
        always: whether it is part of every program, even at weight zero, so that its weight can
            change without recompiling. Other terms are left out if their weight is zero.
        alone: whether it is an objective by itself. A term that only holds others in check is not.
        films: whether it needs earlier frames of a film, which trainings lack.
        renews: whether its target is renewed during a run; trainings do not renew targets.
    """

    place: str
    about: str
    weight: float = 0.0
    always: bool = False
    alone: bool = True
    films: bool = False
    renews: bool = False


TERMS: dict[str, Entry] = {
    "content": Entry("nst_jax.losses.content:Content", "content loss", 1.0, True),
    "style": Entry("nst_jax.losses.style:Style", "style loss", 1e3, True),
    "tv": Entry("nst_jax.losses.smoothness:TotalVariation", "total variation", always=True),
    "range": Entry("nst_jax.losses.range:Range", "penalty on values outside [0, 1]", alone=False),
    "similarity": Entry(
        "nst_jax.losses.similarity:SelfSimilarity",
        "distance of what is alike from what is alike in the content",
        renews=True,
    ),
    "temporal": Entry(
        "nst_jax.losses.temporal:Temporal",
        "distance from earlier frames of a film",
        alone=False,
        films=True,
    ),
}

STATISTICS: dict[str, str] = {
    "gram": "nst_jax.losses.statistics.gram:Gram",
    "moments": "nst_jax.losses.statistics.moments:MeanDeviation",
    "wasserstein": "nst_jax.losses.statistics.wasserstein:Wasserstein",
    "sliced": "nst_jax.losses.statistics.quantiles:Sliced",
    "histogram": "nst_jax.losses.statistics.quantiles:Histogram",
    "mrf": "nst_jax.losses.statistics.mrf:MarkovField",
    "remd": "nst_jax.losses.statistics.remd:RelaxedTransport",
    "neighbours": "nst_jax.losses.statistics.neighbours:Neighbours",
}
# Those that compare all layers together, and renew their targets (`Statistic.joint`).
JOINT = ("neighbours", "remd")


def term(name: str) -> Any:
    """Load the class of a term."""
    return _loaded(TERMS[name].place)


def statistic(given: Any) -> Any:
    """Load the statistic of that name; return an object as it is."""
    return _loaded(STATISTICS[given])() if isinstance(given, str) else given


def is_joint(given: Any) -> bool:
    """Whether a statistic, by name or as an object, compares all layers together."""
    return given in JOINT if isinstance(given, str) else getattr(given, "joint", False)


def _loaded(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)

"""The settings of a stylization. JAX is not imported, since the command line reads this."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nst_jax.errors import InputError
from nst_jax.losses.registry import STATISTICS, TERMS
from nst_jax.options import (
    Init,
    Method,
    Schedule,
    in_range,
    parse_choices,
    parse_layers,
    parse_numbers,
    parse_schedule,
    unknown,
    weighted,
)
from nst_jax.stylizing.consistency import require_consistent
from nst_jax.stylizing.declarations import HISTORY, Options
from nst_jax.stylizing.objects import Lost, parse_terms, require_optimizer, require_statistic

INITS: tuple[str, ...] = get_args(Init)
MODELS = ("anystyle",)  # the values of `init` that name a model, which draws the start in one pass
PICTURE = "picture"  # the value of `init` if the start is a picture without a file name

# Options that are data of the compiled program or its start, so that a sweep over them compiles
# once. Layers and terms of weight zero are left out of the program; which ones, is not data.
TRACED = (
    "preset",
    *(f"{name}_weight" for name in TERMS),
    "content_layers",
    "style_layers",
    "style_blend",
    "terms",
    "learning_rate",
    "init",
    "init_noise",
    "noise_scale",
    "seed",
)


@dataclass(frozen=True, kw_only=True)
class Settings(Options):
    """All settings that determine a result, in addition to the pictures and the network's weights.

    The defaults are those of the preset `gatys`. Layers are given by name, or as a mapping from
    name to weight. Values are checked on construction.

    Raises:
        InputError: a value is out of its range, a choice is unknown, options contradict each other,
            or an object lacks an attribute.
    """

    def __post_init__(self):
        """Convert layers and terms to one form, and check every value."""
        put = object.__setattr__
        for name in ("content_layers", "style_layers"):
            put(self, name, parse_layers(getattr(self, name), name))
        for name in ("style_scale", "style_blend"):
            put(self, name, parse_numbers(getattr(self, name), name))
        put(self, "region_styles", parse_choices(self.region_styles))
        named, objects = parse_terms(self.terms)
        put(self, "terms", objects)
        for name, weight in named.items():
            put(self, f"{name}_weight", weight)
        for f in fields(self):
            put(self, f.name, self._checked(f.name))
        require_consistent(self)

    def _checked(self, name: str) -> Any:
        value: Any = getattr(self, name)
        hint: Any = _HINTS[name]
        if hint in (str, bool) and not isinstance(value, hint):
            kind = "a text" if hint is str else "True or False"
            raise InputError(f"{name} is {value!r}, but must be {kind}.")
        if name in _OBJECTS and not isinstance(value, str):
            _OBJECTS[name](value)
        elif name in CHOICES and value not in CHOICES[name]:
            raise InputError(unknown(name, value, CHOICES[name]))
        if name.endswith("_schedule"):
            self.scheduled(name.removesuffix("_schedule"))
        if name == "init" and _is_unknown_init(self.init):
            raise InputError(f"{unknown(name, value, INITS)[:-1]}, or a picture file.")
        limits = self.__dataclass_fields__[name].metadata["limits"]
        if not limits:
            return value
        kinds = (hint, *get_args(hint))
        kind = Integral if int in kinds else Real
        return in_range(value, name, kind, *limits, optional=type(None) in kinds)

    def scheduled(self, option: str) -> Schedule | None:
        """The schedule of an option; None if it is constant.

        Raises:
            InputError: the text is not a schedule, or the schedule of a weight does not end at 1.
        """
        name = f"{option}_schedule"
        text = getattr(self, name, "constant")
        schedule = parse_schedule(text, name)
        if schedule and schedule.end != 1 and option.endswith("_weight"):
            raise InputError(
                f"{name} is '{text}', but must end at 1: {option} is the weight at the end, where "
                "results are judged; START says how many times that it is at the start."
            )
        return schedule

    def weight(self, term: str) -> float:
        """The weight of a term by its name, in the registry or in `terms`; 0 if it has none."""
        if term in TERMS:
            return getattr(self, f"{term}_weight")
        return next((weight for own, weight in self.terms.items() if own.name == term), 0.0)

    def layers_of(self, term: str) -> Mapping[str, float] | None:
        """The layers of a term with their weights; None if it has no option for layers."""
        return getattr(self, f"{term}_layers", None)

    @property
    def weighing(self) -> tuple[str, ...]:
        """The registry's terms with a weight above 0, for some layer too if they have layers."""
        return tuple(
            name
            for name in TERMS
            for layers in [self.layers_of(name)]
            if self.weight(name) and (layers is None or any(layers.values()))
        )

    @property
    def is_lbfgs(self) -> bool:
        """Whether the optimiser is a kind of L-BFGS; all others are of first order."""
        return isinstance(self.optimizer, str) and self.optimizer.startswith("lbfgs")

    @property
    def pairs(self) -> int:
        """The most curvature pairs that L-BFGS keeps if they fit into memory; otherwise 0."""
        return min(self.history or HISTORY, self.iterations) if self.is_lbfgs else 0

    @property
    def scale(self) -> float:
        """The optimiser sees pictures in the range from 0 to this value."""
        return self.units if isinstance(self.optimizer, str) else 1.0

    def program(self) -> tuple[Any, ...]:
        """All that the compiled program depends on, as a hashable value: all but `TRACED`."""
        layers = (weighted(self.layers_of(name) or {}) for name in ("content", "style"))
        static = (getattr(self, f.name) for f in fields(self) if f.name not in TRACED)
        weighing = tuple(name for name in self.weighing if not TERMS[name].always)
        return (weighing, tuple(self.terms), *layers, *static)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, as embedded in a result; objects become their names."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {
            "content_layers": dict(self.content_layers),
            "style_layers": dict(self.style_layers),
            "region_styles": self.region_styles and dict(self.region_styles),
            "terms": {term.name: weight for term, weight in self.terms.items()},
            **{name: _named(plain[name]) for name in _OBJECTS},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Settings":
        """Make settings from plain values; names that stand for objects become `Lost`."""
        found, terms = dict(plain), plain.get("terms") or {}
        if not isinstance(terms, Mapping):
            raise InputError(f"terms is {terms!r}, but must be a mapping from names to weights.")
        for name in _OBJECTS:
            if name in found and found[name] not in CHOICES[name]:
                found[name] = Lost(str(found[name]))
        lost = {Lost(name): weight for name, weight in terms.items()}
        found.pop("terms", None)
        return replace(cls(**found), terms=lost)


_HINTS = get_type_hints(Settings)
# Options of which a single value is already a list or a mapping.
LISTS = tuple(
    name
    for name, hint in _HINTS.items()
    if any(get_origin(kind) in (tuple, Mapping) for kind in (hint, *get_args(hint)))
)
# Options that are a choice of names. They come from the annotations; the two that also accept an
# object are added.
CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(hint) for name, hint in _HINTS.items() if get_origin(hint) is Literal
} | {"statistic": tuple(STATISTICS), "optimizer": get_args(Method)}
# Options that also accept an object, with the function that checks it.
_OBJECTS = {"statistic": require_statistic, "optimizer": require_optimizer}


def _is_unknown_init(name: str) -> bool:
    """Whether the name is neither a known start nor a file; a file has a suffix or a folder."""
    is_file = os.path.splitext(name)[1] or os.path.basename(name) != name
    return name not in (*INITS, PICTURE) and not is_file


def _named(given: Any) -> str:
    """The name of an object in a record."""
    return given if isinstance(given, str) else getattr(given, "name", type(given).__name__)

"""The settings of a stylization. JAX is not imported, since the command line reads this."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nst_jax.errors import InputError
from nst_jax.losses.registry import STATISTICS, TERMS
from nst_jax.options import (
    WEIGHT,
    Color,
    ColorSpace,
    Init,
    Method,
    Normalization,
    Padding,
    Pooling,
    Precision,
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
from nst_jax.stylizing.objects import Lost, parse_terms, require_optimizer, require_statistic

GATYS_STYLE_LAYERS = {f"relu{block}_1": 1.0 for block in range(1, 6)}
HISTORY = 100
INITS: tuple[str, ...] = get_args(Init)
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


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


def _schedule(option: str) -> Any:
    end = "1" if option.endswith("_weight") else "END"
    return _option("constant", f"{option} over time: constant or KIND:START:{end}[:PART]")


def _layers(default: Mapping[str, float], help: str) -> Any:
    return field(default_factory=lambda: dict(default), metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class _Course:
    """The options for the preset, the network, the sizes and the length of a run."""

    preset: str = _option("default", "named bundle of settings; the other options change it")
    network: str = _option(
        "auto",
        "vgg19, vgg16, vgg19-lite, a weight file, or auto: vgg19 if it is here or can be fetched",
    )
    size: int | None = _option(
        512, "long side of the result in pixels; 'none' keeps the size of the content"
    )
    style_size: int | None = _option(
        None, "long side of the style picture; 'none' is the same as size"
    )
    style_scale: tuple[float, ...] | None = _option(
        None,
        "long side of each style picture relative to the content's, one number or one for each",
    )
    style_blend: tuple[float, ...] | None = _option(
        None, "weights of several styles, whose statistics are averaged; 'none' is equal weights"
    )
    region_styles: Mapping[str, int] | None = _option(
        None, "the style of each content region: LABEL:NUMBER,...; 0 keeps the content there"
    )
    iterations: int = _option(
        500, "function evaluations at the end size (what other tools call iterations)"
    )
    seconds: float | None = _option(None, "time limit in seconds, compilation included")
    min_size: int | None = _option(
        None, "long side of the smallest scale, coarse to fine; 'none' draws at the end size only"
    )
    coarse_iterations: int = _option(
        200, "function evaluations at each scale before the last, and of the draft at the end size"
    )
    draft: bool = _option(
        False,
        "vgg19-lite draws all scales first, and the network only the last once more; without "
        "effect if it cannot stand in for the network (other feature maps, pooling not max)",
    )
    tolerance: float = _option(
        0.0,
        "stop when the best loss falls by less than this share within 'patience' evaluations",
    )
    patience: int = _option(50, "evaluations over which 'tolerance' is measured")


# Made from the registry: a weight and a schedule for each term.
_Weights: Any = make_dataclass(
    "_Weights",
    [
        *(
            (f"{name}_weight", float, _option(term.weight, f"weight of the {term.about}"))
            for name, term in TERMS.items()
        ),
        *((f"{name}_weight_schedule", str, _schedule(f"{name}_weight")) for name in TERMS),
    ],
    bases=(_Course,),
    frozen=True,
    kw_only=True,
)


@dataclass(frozen=True, kw_only=True)
class Settings(_Weights):
    """All settings that determine a result, in addition to the pictures and the network's weights.

    The defaults are those of the preset `gatys`. Layers are given by name, or as a mapping from
    name to weight. Values are checked on construction.

    Raises:
        InputError: a value is out of its range, a choice is unknown, options contradict each other,
            or an object lacks an attribute.
    """

    content_layers: Mapping[str, float] = _layers(
        {"relu4_2": 1.0}, "content layers: NAME[:WEIGHT],..."
    )
    style_layers: Mapping[str, float] = _layers(
        GATYS_STYLE_LAYERS, "style layers: NAME[:WEIGHT],..."
    )
    terms: Mapping[Any, float] = _option(
        None, "more terms of the objective, with weights: NAME[:WEIGHT],..., or objects of your own"
    )
    statistic: Any = _option(
        "gram", "what of the features is the style; all but gram need a smaller style_weight"
    )
    normalize_gradients: bool = _option(
        False, "scale the gradient of each layer's loss to absolute sum 1, times its weights"
    )
    normalization: Normalization = _option("gatys", "whose formulas the losses follow")
    pooling: Pooling = _option("max", "pooling of the network")
    padding: Padding = _option("zero", "border of the first convolution")
    optimizer: Any = _option(
        "lbfgs", "lbfgs takes unit steps, lbfgs-zoom searches along lines, sgd has momentum"
    )
    learning_rate: float | None = _option(
        None,
        "for pictures in [0, 1]; 'none' is 1 for lbfgs, 0.02 for adam, 1e-12 a pixel for sgd",
    )
    learning_rate_schedule: str = _schedule("learning_rate")
    history: int | None = _option(
        None, f"curvature pairs that L-BFGS keeps; 'none' is {HISTORY}, or what memory has room for"
    )
    precondition: float = _option(
        0.0,
        "L-BFGS in a metric that moves coarse structure more: exponent of 1/frequency, 0 for none",
    )
    momentum: float = _option(0.9, "momentum of sgd")
    average: float = _option(
        0.0,
        "for adam and sgd: decay of a running mean of the pictures, which is the result; 0 is none",
    )
    units: float = _option(
        255.0, "the optimizer sees pictures in 0..units; one of your own in 0..1"
    )
    init: str = _option("content", "start: content, noise, blend, style, or a picture file")
    init_noise: float = _option(0.5, "share of white noise in the start, if init is 'blend'")
    noise_scale: float = _option(0.25, "standard deviation of the noise, for pictures in [0, 1]")
    seed: int = _option(0, "seed of the noise, and of random directions")
    color: Color = _option(
        "none",
        "whose colours: 'luminance' stylizes lightness only, 'luminance-after' takes lightness "
        "from the result, 'match-...' first gives the style the colours of the content",
    )
    color_space: ColorSpace = _option("rgb", "in which lightness is taken, or colours are matched")
    precision: Precision = _option("float32", "precision of the network's activations")
    remat: bool = _option(False, "recompute activations in the backward pass to save memory")
    tile: int | None = _option(
        None,
        "side of the tiles in pixels for large pictures; the result is the same, in less memory. "
        "0 never uses tiles, 'none' uses them if memory is short",
    )

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
        limits = WEIGHT if name.endswith("_weight") else _RANGES.get(name)
        if limits is None:
            return value
        return in_range(value, name, *limits, optional=name in _OPTIONAL)

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
        found = dict(plain)
        for name in _OBJECTS:
            if name in found and found[name] not in CHOICES[name]:
                found[name] = Lost(str(found[name]))
        lost = {Lost(name): weight for name, weight in (found.pop("terms", None) or {}).items()}
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
_OPTIONAL = [
    "size",
    "style_size",
    "learning_rate",
    "seconds",
    "min_size",
    "history",
    "tile",
]
_RANGES: dict[str, tuple[type, float, float]] = {
    "size": (Integral, 1, 100_000),
    "style_size": (Integral, 1, 100_000),
    "iterations": (Integral, 1, 10_000_000),
    "seconds": (Real, 0, 10**9),
    "tolerance": (Real, 0, 1),
    "min_size": (Integral, 1, 100_000),
    "coarse_iterations": (Integral, 1, 10_000_000),
    "patience": (Integral, 1, 10_000_000),
    "learning_rate": (Real, 1e-30, 1e30),
    "history": (Integral, 1, 10_000),
    "tile": (Integral, 0, 100_000),
    "precondition": (Real, 0, 4),
    "momentum": (Real, 0, 1),
    "average": (Real, 0, 0.999999),
    "units": (Real, 1e-3, 1e6),
    "init_noise": (Real, 0, 1),
    "noise_scale": (Real, 0, 1),
    "seed": (Integral, 0, 2**32 - 1),
}


def _is_unknown_init(name: str) -> bool:
    """Whether the name is neither a known start nor a file; a file has a suffix or a folder."""
    is_file = os.path.splitext(name)[1] or os.path.basename(name) != name
    return name not in (*INITS, PICTURE) and not is_file


def _named(given: Any) -> str:
    """The name of an object in a record."""
    return given if isinstance(given, str) else getattr(given, "name", type(given).__name__)

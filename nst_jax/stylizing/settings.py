"""Settings of a stylization. No JAX: the command line reads this."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nst_jax.errors import InputError
from nst_jax.options import (
    ADDITIVE,
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
    Statistic,
    in_range,
    parse_choices,
    parse_layers,
    parse_numbers,
    parse_schedule,
    unknown,
)

GATYS_STYLE_LAYERS = {f"relu{block}_1": 1.0 for block in range(1, 6)}
HISTORY = 100
INITS: tuple[str, ...] = get_args(Init)
PICTURE = "picture"  # what `init` says when the start was given as a picture without a name


# Data of the compiled program, or of its start: a sweep over these compiles once. Layers that weigh
# nothing are left out of the program, so which do is not data.
TRACED = (
    "preset",
    "content_weight",
    "style_weight",
    "tv_weight",
    "content_layers",
    "style_layers",
    "style_blend",
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
class Settings:
    """Everything that determines a result, apart from the pictures and the network's weights.

    The defaults are the preset `gatys`. Layers are given as names, or as a mapping from name to
    weight. Checked on construction.

    Raises:
        InputError: a value out of its range, an unknown choice, options that contradict.
    """

    preset: str = _option("default", "named bundle of settings that the other options vary")
    network: str = _option(
        "auto", "vgg19, vgg16, vgg19-lite, a weight file, or auto: vgg19 if it can be had"
    )
    size: int | None = _option(512, "long side of the result in pixels; 'none' keeps the content's")
    style_size: int | None = _option(
        None, "long side of the style picture; 'none' is the same as size"
    )
    style_scale: tuple[float, ...] | None = _option(
        None,
        "long side of each style picture relative to the content's, one number or one for each",
    )
    style_blend: tuple[float, ...] | None = _option(
        None, "weights of several styles; their statistics are averaged. 'none' is equal weights"
    )
    region_styles: Mapping[str, int] | None = _option(
        None, "which style each content region takes: LABEL:NUMBER,...; 0 keeps the content there"
    )
    iterations: int = _option(500, "function evaluations at the end size, as in every peer")
    seconds: float | None = _option(None, "end the run after so many seconds, compilation included")
    min_size: int | None = _option(
        None, "coarse to fine: long side of the smallest scale; 'none' draws at the end size alone"
    )
    coarse_iterations: int = _option(
        200, "function evaluations at each scale below the end size, and of the draft there"
    )
    draft: bool = _option(
        False,
        "vgg19-lite draws all scales first, the end size too; without effect where it cannot stand "
        "in for the network: other feature maps, or pooling that is not max",
    )
    tolerance: float = _option(
        0.0,
        "end the run when the best loss falls by less than this share in 'patience' evaluations",
    )
    patience: int = _option(50, "evaluations over which 'tolerance' looks")
    content_weight: float = _option(1.0, "weight of the content loss")
    style_weight: float = _option(1e3, "weight of the style loss")
    tv_weight: float = _option(0.0, "weight of the total variation")
    content_weight_schedule: str = _schedule("content_weight")
    style_weight_schedule: str = _schedule("style_weight")
    tv_weight_schedule: str = _schedule("tv_weight")
    content_layers: Mapping[str, float] = _layers(
        {"relu4_2": 1.0}, "content layers: NAME[:WEIGHT],..."
    )
    style_layers: Mapping[str, float] = _layers(
        GATYS_STYLE_LAYERS, "style layers: NAME[:WEIGHT],..."
    )
    statistic: Statistic = _option(
        "gram", "what of the features is style; all but gram want a smaller style_weight"
    )
    normalize_gradients: bool = _option(
        False, "each layer's gradient has absolute sum 1, times its weights"
    )
    normalization: Normalization = _option("gatys", "whose formulas the losses are")
    pooling: Pooling = _option("max", "pooling of the network")
    padding: Padding = _option("zero", "border of the first convolution")
    optimizer: Method = _option(
        "lbfgs", "lbfgs takes unit steps, lbfgs-zoom searches them, sgd has momentum"
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
        0.0, "L-BFGS's steps are multiplied by f^-this in the Fourier domain; 1 is a good start"
    )
    momentum: float = _option(0.9, "of sgd")
    average: float = _option(
        0.0, "adam, sgd: the result is an average of all pictures, with weights that fall by this"
    )
    units: float = _option(255.0, "the optimiser sees pictures in 0..units")
    init: str = _option("content", "start: content, noise, blend, style, or a picture file")
    init_noise: float = _option(0.5, "share of white noise when init is 'blend'")
    noise_scale: float = _option(0.25, "standard deviation of the noise, for pictures in [0, 1]")
    seed: int = _option(0, "seed of the noise")
    color: Color = _option(
        "none",
        "whose colours: 'luminance' stylizes lightness alone, 'luminance-after' takes it from the "
        "result, 'match-' gives the style the content's colours first",
    )
    color_space: ColorSpace = _option("rgb", "where lightness is taken, or colours are matched")
    precision: Precision = _option("float32", "of the network's activations")
    remat: bool = _option(False, "recompute activations in the backward pass to save memory")
    tile: int | None = _option(
        None,
        "compute in tiles of about so many pixels a side, with the same result in less memory; "
        "0 never does, 'none' where memory is short",
    )

    def __post_init__(self):
        """Bring layers into one form and check every value."""
        for name in ("content_layers", "style_layers"):
            object.__setattr__(self, name, parse_layers(getattr(self, name), name))
        for name in ("style_scale", "style_blend"):
            object.__setattr__(self, name, parse_numbers(getattr(self, name), name))
        object.__setattr__(self, "region_styles", parse_choices(self.region_styles))
        for f in fields(self):
            object.__setattr__(self, f.name, self._checked(f.name))
        content = self.content_weight and any(self.content_layers.values())
        style = self.style_weight and any(self.style_layers.values())
        if not (content or style or self.tv_weight):
            raise InputError(
                "All weights are zero: give content_weight, style_weight or tv_weight a positive "
                "value, and one of its layers too."
            )
        if self.style_blend is not None and not sum(self.style_blend):
            raise InputError("style_blend is all zeros: give at least one style a weight above 0.")
        if self.style_scale is not None and self.style_size is not None:
            raise InputError(
                "style_size and style_scale contradict each other: give the style's long side in "
                "pixels, or relative to the content's."
            )
        if self.precision == "bfloat16" and self.optimizer.startswith("lbfgs"):
            raise InputError(
                "precision 'bfloat16' is too coarse for L-BFGS's curvature pairs: use optimizer "
                "'adam', or precision 'float32' or 'tf32'."
            )
        if self.tile:
            if self.statistic not in ADDITIVE:
                raise InputError(
                    f"tile computes in parts, but statistic '{self.statistic}' sorts the whole "
                    f"picture: leave out tile, or use statistic {', '.join(ADDITIVE)}."
                )
            if self.normalize_gradients:
                raise InputError(
                    "tile computes in parts, but normalize_gradients needs the whole gradient: "
                    "leave out one of them."
                )
        if self.optimizer == "lbfgs-zoom" and self.normalize_gradients:
            raise InputError(
                "optimizer 'lbfgs-zoom' searches along the loss, which normalized gradients do not "
                "descend: leave out normalize_gradients, or use optimizer 'adam' or 'lbfgs'."
            )
        if self.optimizer == "lbfgs-zoom" and (
            self.learning_rate is not None or self.scheduled("learning_rate")
        ):
            raise InputError(
                "optimizer 'lbfgs-zoom' searches its own step lengths: leave out learning_rate and "
                "learning_rate_schedule, or use optimizer 'lbfgs'."
            )
        if self.average and self.optimizer.startswith("lbfgs"):
            raise InputError(
                f"average is of no use to optimizer '{self.optimizer}', which does not wander "
                "about its minimum: leave it out, or use optimizer 'adam'."
            )
        schedules = [self.scheduled(f"{term}_weight") for term in ("content", "style", "tv")]
        if self.tolerance and any(schedules):
            raise InputError(
                "tolerance stops a run when its loss no longer falls, but under a schedule of "
                "weights it may rise on the way: leave out tolerance or the schedule."
            )

    def _checked(self, name: str) -> Any:
        value: Any = getattr(self, name)
        hint: Any = _HINTS[name]
        if hint in (str, bool) and not isinstance(value, hint):
            kind = "a text" if hint is str else "True or False"
            raise InputError(f"{name} is {value!r}, but must be {kind}.")
        if name in CHOICES and value not in CHOICES[name]:
            raise InputError(unknown(name, value, CHOICES[name]))
        if name.endswith("_schedule"):
            self.scheduled(name.removesuffix("_schedule"))
        if name == "init" and _is_unknown_init(self.init):
            raise InputError(f"{unknown(name, value, INITS)[:-1]}, or a picture file.")
        if name not in _RANGES:
            return value
        return in_range(value, name, *_RANGES[name], optional=name in _OPTIONAL)

    def scheduled(self, option: str) -> Schedule | None:
        """The schedule of an option, None if it is constant.

        Raises:
            InputError: another form; a weight whose schedule does not end at the weight itself.
        """
        name = f"{option}_schedule"
        text = getattr(self, name)
        schedule = parse_schedule(text, name)
        if schedule and schedule.end != 1 and option.endswith("_weight"):
            raise InputError(
                f"{name} is '{text}', but must end at 1: {option} is the weight at the end, where "
                "results are judged; START says how many times that it is at the start."
            )
        return schedule

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers of some weight, each once, content first."""
        weights = (*self.content_layers.items(), *self.style_layers.items())
        return tuple(dict.fromkeys(layer for layer, weight in weights if weight))

    @property
    def pairs(self) -> int:
        """Curvature pairs that L-BFGS comes to keep, memory permitting; 0 for other optimizers."""
        if not self.optimizer.startswith("lbfgs"):
            return 0
        return min(self.history or HISTORY, self.iterations)

    def program(self) -> tuple[Any, ...]:
        """What a compiled program depends on, as one hashable value: all but `TRACED`."""
        layers = (
            tuple(k for k, w in named.items() if w)
            for named in (self.content_layers, self.style_layers)
        )
        static = (getattr(self, f.name) for f in fields(self) if f.name not in TRACED)
        return (*layers, *static)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as kept with a result."""
        return dataclasses.asdict(self)


_HINTS = get_type_hints(Settings)
# Options whose one value is a list.
LISTS = tuple(
    name
    for name, hint in _HINTS.items()
    if any(get_origin(kind) in (tuple, Mapping) for kind in (hint, *get_args(hint)))
)
# From the annotations: the options that are a choice of names.
CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(hint) for name, hint in _HINTS.items() if get_origin(hint) is Literal
}
_OPTIONAL = ("size", "style_size", "learning_rate", "seconds", "min_size", "history", "tile")
_RANGES: dict[str, tuple[type, float, float]] = {
    "size": (Integral, 1, 100_000),
    "style_size": (Integral, 1, 100_000),
    "iterations": (Integral, 1, 10_000_000),
    "seconds": (Real, 0, 10**9),
    "tolerance": (Real, 0, 1),
    "min_size": (Integral, 1, 100_000),
    "coarse_iterations": (Integral, 1, 10_000_000),
    "patience": (Integral, 1, 10_000_000),
    "content_weight": WEIGHT,
    "style_weight": WEIGHT,
    "tv_weight": WEIGHT,
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
    """A bare word that names no start; anything with a suffix or a folder is a file."""
    is_file = os.path.splitext(name)[1] or os.path.basename(name) != name
    return name not in (*INITS, PICTURE) and not is_file

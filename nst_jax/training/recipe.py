"""The settings of a training, and their checks. No JAX here: the command line imports this."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from nst_jax.errors import InputError
from nst_jax.losses.registry import TERMS
from nst_jax.options import WEIGHT, in_range, parse_layers, unknown
from nst_jax.stylizing.declarations import GATYS_STYLE_LAYERS

Kind = Literal["transformer", "predicted", "adain", "wct", "swap"]
Size = Literal["small", "medium", "johnson"]
OptimizerName = Literal["adam", "muon"]
Precision = Literal["float32", "bfloat16"]


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


OTHERS = tuple(
    k for k, v in TERMS.items() if k not in ("content", "style") and not (v.films or v.renews)
)
_Weights: Any = make_dataclass(
    "_Weights",
    [
        (f"{name}_weight", float, _option(TERMS[name].weight, f"weight of the {TERMS[name].about}"))
        for name in OTHERS
    ],
    frozen=True,
    kw_only=True,
)


@dataclass(frozen=True, kw_only=True)
class Recipe(_Weights):
    """All settings of a training, apart from the pictures. They are checked on construction.

    Raises:
        InputError: a value is out of its range, or a choice is unknown.
    """

    kind: Kind = _option(
        "transformer", "a network for the given styles, or for any (predicted, adain, wct, swap)"
    )
    variant: Size = _option(
        "small", "size of a transformer: johnson is the original, small and medium are for CPUs"
    )
    blocks: int = _option(5, "residual blocks of a transformer")
    network: str = _option("auto", "loss network, and encoder of adain, wct and swap")
    steps: int = _option(10_000, "updates of the parameters")
    batch: int = _option(4, "crops of each step")
    crop: int = _option(256, "side of a crop in pixels, a multiple of 16")
    style_size: int = _option(512, "long side of the style pictures in pixels")
    content_weight: float = _option(1.0, "weight of the content loss")
    style_weight: float | None = _option(
        None, "weight of the style loss (1000; 10 for predicted, 1 for the others)"
    )
    content_layers: Mapping[str, float] | None = _option(
        None, "content layers: NAME[:WEIGHT],...; for adain relu4_1"
    )
    style_layers: Mapping[str, float] | None = _option(
        None, "style layers: NAME[:WEIGHT],...; for adain up to relu4_1"
    )
    coherence_weight: float = _option(
        0.0, "weight of coherence between frames; above 0 a transformer is one for films"
    )
    optimizer: OptimizerName = _option(
        "adam", "adam, or muon for kernels and adam for all other parameters"
    )
    learning_rate: float | None = _option(
        None,
        "1e-3, or 1e-4 for adain, wct and swap; the last third of the steps lowers it to zero",
    )
    average: float = _option(
        0.999, "decay of the running average of the parameters, which becomes the model"
    )
    precision: Precision = _option("float32", "of the activations; parameters stay float32")
    seed: int = _option(0, "seed of the first parameters, and of the crops and styles of each step")
    licence: str = _option("unknown", "name of the model's licence, kept in its file")

    def __post_init__(self):
        """Fill in the defaults that depend on the kind, and check every value."""
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(unknown(name, getattr(self, name), choices))
        style = dict(GATYS_STYLE_LAYERS)
        fill: dict[str, Any] = {
            "style_weight": 1e3,
            "learning_rate": 1e-3,
            "content_layers": {"relu4_2": 1.0},
            "style_layers": style,
        }
        if self.kind == "predicted":
            fill["style_weight"] = 10.0  # content and style are shares there
        elif self.kind != "transformer":
            style.pop("relu5_1")
            # Decoders have no normalisation, and soon saturate at a larger learning rate.
            fill |= {"style_weight": 1.0, "learning_rate": 1e-4, "content_layers": {"relu4_1": 1.0}}
        for name, value in fill.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("content_layers", "style_layers"):
            object.__setattr__(self, name, parse_layers(getattr(self, name), name))
        for name, what in (("network", "a name or a weight file"), ("licence", "a name")):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name} is {getattr(self, name)!r}, but must be {what}.")
        for name, values in _RANGES.items():
            object.__setattr__(self, name, in_range(getattr(self, name), name, *values))
        if self.crop % 16:
            raise InputError(
                f"crop is {self.crop}, but must be a multiple of 16: the loss network halves four "
                "times."
            )
        if self.coherence_weight and (self.kind != "transformer" or self.crop < 48):
            raise InputError(
                "Coherence is learned by a transformer, from crops of at least 48 pixels: choose "
                "these, or leave coherence_weight out."
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, as a model file stores them."""
        return dataclasses.asdict(self)


CHOICES: dict[str, tuple[str, ...]] = {
    "kind": get_args(Kind),
    "variant": get_args(Size),
    "optimizer": get_args(OptimizerName),
    "precision": get_args(Precision),
}
_RANGES: dict[str, tuple[type, float, float]] = {
    "steps": (Integral, 1, 100_000_000),
    "blocks": (Integral, 0, 100),
    "batch": (Integral, 1, 65_536),
    "crop": (Integral, 16, 4096),
    "style_size": (Integral, 16, 8192),
    "content_weight": WEIGHT,
    "style_weight": WEIGHT,
    "coherence_weight": WEIGHT,
    **{f"{name}_weight": WEIGHT for name in OTHERS},
    "learning_rate": (Real, 1e-12, 1e3),
    "average": (Real, 0, 0.999999),
    "seed": (Integral, 0, 2**32 - 1),
}

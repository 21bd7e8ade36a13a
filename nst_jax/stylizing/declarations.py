"""The options of a stylization: defaults, help texts and limits. JAX is not imported."""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any

from nst_jax.losses.registry import TERMS
from nst_jax.options import (
    WEIGHT,
    Color,
    ColorSpace,
    Normalization,
    Padding,
    Pooling,
    Precision,
)

GATYS_STYLE_LAYERS = {f"relu{block}_1": 1.0 for block in range(1, 6)}
HISTORY = 100


def flag(name: str) -> str:
    """The flag of an option on the command line."""
    return "--" + name.replace("_", "-")


def _option(default: Any, help: str, *limits: float) -> Any:
    """A setting with its help text, and for a number with its least and its greatest value."""
    return field(default=default, metadata={"help": help, "limits": limits})


def _schedule(option: str) -> Any:
    end = "1" if option.endswith("_weight") else "END"
    return _option("constant", f"{option} over time: constant or KIND:START:{end}[:PART]")


def _layers(default: Mapping[str, float], help: str) -> Any:
    return field(default_factory=lambda: dict(default), metadata={"help": help, "limits": ()})


@dataclass(frozen=True, kw_only=True)
class _Course:
    """The options for the preset, the network, the sizes and the length of a run."""

    preset: str = _option("default", "named bundle of settings; the other options change it")
    network: str = _option(
        "auto",
        "vgg19, vgg16, vgg19-lite, a weight file, or auto: vgg19 if it is here or can be fetched",
    )
    size: int | None = _option(
        512, "long side of the result in pixels; 'none' keeps the size of the content", 1, 100_000
    )
    style_size: int | None = _option(
        None, "long side of the style picture; 'none' is the same as size", 1, 100_000
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
        500,
        "function evaluations at the end size (what other tools call iterations); 0 enlarges the "
        "scale before, or keeps the start",
        0,
        10_000_000,
    )
    seconds: float | None = _option(
        None,
        "the best picture in so many seconds; where other options set the course, a time limit",
        0,
        10**9,
    )
    min_size: int | None = _option(
        None,
        "long side of the smallest scale, coarse to fine; 'none' draws at the end size only",
        1,
        100_000,
    )
    scale_step: float = _option(
        2**0.5, "ratio of the sizes of neighbouring scales, coarse to fine", 1.1, 8
    )
    coarse_iterations: int = _option(
        200,
        "function evaluations at each scale before the last, and of the draft at the end size",
        1,
        10_000_000,
    )
    draft: bool = _option(
        False,
        "vgg19-lite draws all scales first, and the network only the last once more; without "
        "effect if it cannot stand in for the network (other feature maps, pooling not max)",
    )
    tolerance: float = _option(
        0.0,
        "stop when the best loss falls by less than this share within 'patience' evaluations",
        0,
        1,
    )
    patience: int = _option(50, "evaluations over which 'tolerance' is measured", 1, 10_000_000)


# Made from the registry: a weight and a schedule for each term.
_Weights: Any = make_dataclass(
    "_Weights",
    [
        *(
            (
                f"{name}_weight",
                float,
                _option(term.weight, f"weight of the {term.about}", *WEIGHT[1:]),
            )
            for name, term in TERMS.items()
        ),
        *((f"{name}_weight_schedule", str, _schedule(f"{name}_weight")) for name in TERMS),
    ],
    bases=(_Course,),
    frozen=True,
    kw_only=True,
)


@dataclass(frozen=True, kw_only=True)
class Options(_Weights):
    """All options of a stylization with the values of the preset `gatys`; nothing is checked."""

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
        "for pictures in [0, 1]; 'none' is 1 for lbfgs, 0.02 for adam and rmsprop, 1e-12 a pixel "
        "for sgd",
        1e-30,
        1e30,
    )
    learning_rate_schedule: str = _schedule("learning_rate")
    history: int | None = _option(
        None,
        f"curvature pairs that L-BFGS keeps; 'none' is {HISTORY}, or what memory has room for",
        1,
        10_000,
    )
    first_step: float | None = _option(
        None,
        "root mean square of L-BFGS's first step at each scale, for pictures in [0, 1]; 'none' "
        "begins with a norm of 1, which takes ten evaluations to grow",
        1e-6,
        1,
    )
    precondition: float = _option(
        0.0,
        "L-BFGS in a metric that moves coarse structure more: exponent of 1/frequency, 0 for none",
        0,
        4,
    )
    momentum: float = _option(0.9, "momentum of sgd", 0, 1)
    pyramid: int = _option(
        0,
        "for adam, rmsprop and sgd: levels of a Laplacian pyramid that they see in place of "
        "pixels, so that they move coarse structure more; 0 for pixels",
        0,
        32,
    )
    average: float = _option(
        0.0,
        "for adam, rmsprop and sgd: decay of a running mean of the pictures, which is the result; "
        "0 is none",
        0,
        0.999999,
    )
    units: float = _option(
        255.0, "the optimizer sees pictures in 0..units; one of your own in 0..1", 1e-3, 1e6
    )
    init: str = _option(
        "content",
        "start: content, noise, blend, style, a picture file, or anystyle: one pass of that model, "
        "which also draws again what was enlarged to the end size",
    )
    init_noise: float = _option(0.5, "share of white noise in the start, if init is 'blend'", 0, 1)
    noise_scale: float = _option(
        0.25, "standard deviation of the noise, for pictures in [0, 1]", 0, 1
    )
    seed: int = _option(0, "seed of the noise, and of random directions", 0, 2**32 - 1)
    color: Color = _option(
        "none",
        "whose colours: 'luminance' stylizes lightness only, 'luminance-after' takes lightness "
        "from the result, 'palette-after' too, with the content's hues moved to the style's, "
        "'match-...' first gives the style the colours of the content",
    )
    color_space: ColorSpace = _option("rgb", "in which lightness is taken, or colours are matched")
    precision: Precision = _option("float32", "precision of the network's activations")
    remat: bool = _option(False, "recompute activations in the backward pass to save memory")
    tile: int | None = _option(
        None,
        "side of the tiles in pixels for large pictures; the result is the same, in less memory. "
        "0 never uses tiles, 'none' uses them if memory is short",
        0,
        100_000,
    )

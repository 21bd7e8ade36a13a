"""Presets: named bundles of settings. JAX is not imported, since the command line reads this."""

from dataclasses import fields, replace
from typing import Any

from nst_jax.errors import InputError
from nst_jax.options import unknown
from nst_jax.stylizing.declarations import GATYS_STYLE_LAYERS
from nst_jax.stylizing.settings import Settings

# The objective of NNST. It has no conv5, since that costs time and changes little.
_NNST: dict[str, Any] = {
    "statistic": "neighbours",
    "style_layers": dict.fromkeys(
        (f"relu{b}_{i}" for b, n in enumerate((2, 2, 3, 3), 1) for i in range(1, n + 1)), 1.0
    ),
    "content_weight": 0.0,
    "style_weight": 1.0,
    "min_size": 64,
    "scale_step": 2.0,
    "units": 1.0,
    "color": "palette-after",
    "color_space": "oklab",
}

# Presets named after a paper or another implementation stay faithful to it. `default` may change.
PRESETS: dict[str, Settings] = {
    # Gatys' objective, minimised in less time; docs/performance.md has the seconds. Values out of
    # range cost, since clipping them at the end raises the style loss; docs/controls.md says by
    # how much.
    "default": Settings(
        preset="default",
        draft=True,
        min_size=360,
        coarse_iterations=150,
        iterations=200,
        precondition=1.0,
        range_weight=1e5,
    ),
    # What `seconds` plans for about 5 s on two CPU cores at 512 px.
    "quick": Settings(
        preset="quick",
        network="vgg19-lite",
        init="anystyle",
        min_size=None,
        iterations=15,
        first_step=0.012,
        precondition=1.0,
        range_weight=1e5,
    ),
    "gatys": Settings(preset="gatys"),
    "paper": Settings(
        preset="paper",
        normalization="paper",
        style_layers=dict.fromkeys(GATYS_STYLE_LAYERS, 0.2),
        pooling="average",
        init="noise",
    ),
    "neural-style": Settings(
        preset="neural-style",
        normalization="neural-style",
        content_weight=5.0,
        style_weight=1e2,
        tv_weight=1e-3,
        iterations=1000,
        init="noise",
        noise_scale=1e-3 / 255,
    ),
    # crowsonkb's. Its network sees pictures in units of their deviation (255 x 0.226), so squares
    # of its features are 1/3318 of ours. All weights are relative to a style weight of 1.
    "wasserstein": Settings(
        preset="wasserstein",
        statistic="wasserstein",
        style_layers={f"relu{b}_1": 4.0 ** (5 - b) / 341 for b in range(1, 6)},
        content_weight=0.02,
        style_weight=1.0,
        tv_weight=0.2,
        padding="replicate",
        optimizer="adam",
        iterations=1000,
    ),
    # The code of Li & Wand 2016. Under this normalization the loss of patches is a sum, as theirs.
    "cnnmrf": Settings(
        preset="cnnmrf",
        statistic="mrf",
        normalization="neural-style",
        size=384,
        min_size=96,
        scale_step=2.0,
        coarse_iterations=100,
        iterations=100,
        history=25,
        content_layers={"relu4_1": 1.0},
        style_layers={"relu3_1": 1.0, "relu4_1": 1.0},
        content_weight=20.0,
        style_weight=1e-4,
        tv_weight=1e-3,
    ),
    # The code of Kolkin et al. 2019. There the content counts twice as much at each smaller scale;
    # here the term does that.
    "strotss": Settings(
        preset="strotss",
        statistic="remd",
        style_layers=dict.fromkeys(
            (
                *(f"relu{b}_{i}" for b in (1, 2) for i in (1, 2)),
                *("relu3_1", "relu3_2", "relu3_3", "relu4_3", "relu5_3"),
            ),
            1.0,
        ),
        content_weight=0.0,
        style_weight=1.0,
        similarity_weight=1.0,
        min_size=64,
        scale_step=2.0,
        coarse_iterations=250,
        iterations=250,
        optimizer="rmsprop",
        learning_rate=2e-3,
        pyramid=5,
        units=1.0,
    ),
    # NNST's objective, minimised in less time. Cosines let contrast grow without end; the penalty
    # keeps values in range, as Adam's few small steps do in the authors' code.
    "neighbours": Settings(
        preset="neighbours",
        **_NNST,
        range_weight=3e-3,
        coarse_iterations=40,
        iterations=40,
        history=20,
        first_step=0.02,
        precondition=1.0,
    ),
    # The code of Kolkin et al. 2022, whose network is VGG16.
    "nnst": Settings(
        preset="nnst",
        **_NNST,
        coarse_iterations=200,
        iterations=200,
        optimizer="adam",
        learning_rate=2e-3,
        pyramid=8,
    ),
}


def resolve(preset: str = "default", **options: Any) -> Settings:
    """The settings of a preset, with the given options replaced.

    Raises:
        InputError: a preset or option is unknown (the message suggests similar names), or a value
            is out of its range.
    """
    if preset not in PRESETS:
        raise InputError(unknown("preset", preset, PRESETS))
    known = [f.name for f in fields(Settings)]
    for name in options:
        if name not in known:
            raise InputError(unknown("option", name, known))
    return replace(PRESETS[preset], **options)

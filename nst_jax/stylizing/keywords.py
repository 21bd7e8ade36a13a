"""The options of `stylize`, typed, so that editors complete them: made by
`scripts/docs/make_keywords.py`.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import optax

from nst_jax.losses.statistics.base import Statistic
from nst_jax.losses.term import Term
from nst_jax.pictures.sources import PictureSource


class Keywords(TypedDict, total=False):
    """The fields of `Settings` and `Outputs`."""

    size: int | None
    style_size: int | None
    style_scale: str | float | Sequence[float] | None
    style_blend: str | float | Sequence[float] | None
    region_styles: str | Mapping[Any, int] | None
    iterations: int
    seconds: float | None
    min_size: int | None
    scale_step: float
    coarse_iterations: int
    draft: bool
    tolerance: float
    patience: int
    content_weight: float
    style_weight: float
    tv_weight: float
    range_weight: float
    similarity_weight: float
    temporal_weight: float
    content_weight_schedule: str
    style_weight_schedule: str
    tv_weight_schedule: str
    range_weight_schedule: str
    similarity_weight_schedule: str
    temporal_weight_schedule: str
    content_layers: str | Sequence[str] | Mapping[str, float]
    style_layers: str | Sequence[str] | Mapping[str, float]
    terms: str | Term | Sequence[str | Term] | Mapping[Any, float]
    statistic: (
        Literal[
            "gram", "moments", "wasserstein", "sliced", "histogram", "mrf", "remd", "neighbours"
        ]
        | Statistic
    )
    normalize_gradients: bool
    normalization: Literal["gatys", "paper", "neural-style"]
    pooling: Literal["max", "average", "average-rescaled"]
    padding: Literal["zero", "reflect", "replicate"]
    optimizer: (
        Literal["lbfgs", "lbfgs-zoom", "adam", "rmsprop", "sgd"] | optax.GradientTransformation
    )
    learning_rate: float | None
    learning_rate_schedule: str
    history: int | None
    first_step: float | None
    precondition: float
    momentum: float
    pyramid: int
    average: float
    units: float
    init: str | PictureSource
    init_noise: float
    noise_scale: float
    seed: int
    color: Literal[
        "none",
        "luminance",
        "luminance-after",
        "palette-after",
        "match-symmetric",
        "match-pca",
        "match-cholesky",
        "match-histogram",
        "match-sliced",
    ]
    color_space: Literal["rgb", "oklab"]
    precision: Literal["float32", "tf32", "bfloat16"]
    remat: bool
    tile: int | None
    checkpoint: str | os.PathLike | None
    checkpoint_every: int
    resume: bool
    frames: str | os.PathLike | None
    animation: str | os.PathLike | None
    frames_every: int
    trace: str | os.PathLike | None

"""The choices that have names, in one place; no JAX, since the command line lists them."""

from typing import Literal

Pooling = Literal["max", "average", "average-rescaled"]
Padding = Literal["zero", "reflect", "replicate"]
Precision = Literal["float32", "tf32", "bfloat16"]
Statistic = Literal["gram", "moments", "wasserstein", "sliced", "histogram"]
# Of these the parts of a picture add up to the whole's.
ADDITIVE: tuple[Statistic, ...] = ("gram", "moments", "wasserstein")
Normalization = Literal["gatys", "paper", "neural-style"]
Method = Literal["lbfgs", "lbfgs-zoom", "adam", "sgd"]
Course = Literal["linear", "cosine", "exponential"]
Init = Literal["content", "noise", "blend", "style"]
ColorMatch = Literal["symmetric", "pca", "cholesky", "histogram", "sliced"]
ColorSpace = Literal["rgb", "oklab"]
Color = Literal[
    "none",
    "luminance",
    "luminance-after",
    "match-symmetric",
    "match-pca",
    "match-cholesky",
    "match-histogram",
    "match-sliced",
]

"""Style transfer for any style: move the content's features to those of the style.

AdaIN (Huang & Belongie 2017) transfers means and deviations; WCT (Li et al. 2017) transfers means
and covariances; style swap (Chen & Schmidt 2016) replaces each patch by the style's nearest.
`whitened` is the transform of WCT for a decoder that was trained for AdaIN: it has learned from
styles to put in colours and strokes.

`LEVELS` are the layers where models are trained to do this. A decoder for each level turns its
features back into a picture.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.linalg import dot, roots
from nst_jax.losses.statistics.gram import gram
from nst_jax.losses.statistics.mrf import SIDE, Field, nearest_patches
from nst_jax.models import stages
from nst_jax.models.layers import instance_moments, normalize
from nst_jax.models.stages import Parameters, Stage
from nst_jax.networks.base import Network
from nst_jax.patches.fields import voted
from nst_jax.typing import AnyArray

Method = Literal["adain", "wct", "whitened", "swap"]
METHODS: tuple[str, ...] = get_args(Method)
LEVELS: dict[str, tuple[str, ...]] = {
    "adain": ("relu4_1",),
    "wct": ("relu4_1", "relu3_1", "relu2_1", "relu1_1"),
    "swap": ("relu3_1",),
}
# Factors that give features about unit deviation before a decoder, for VGG19 and vgg19-lite.
SCALES = {"relu4_1": 0.0015, "relu3_1": 0.006, "relu2_1": 0.007, "relu1_1": 0.03}
# Share of the largest eigenvalue; directions with less variance are noise and are left out.
_LEAST = 1e-5
# The damping of `whitened`. It fades directions with little variance instead of leaving them out,
# so that nothing jumps from one frame of a film to the next, and a flat picture stays flat.
_DAMPING = 2e-5


class Statistics(NamedTuple):
    """Statistics of a style's feature maps.

    Attributes:
        mean: means, (c,).
        spread: variances (c,) for AdaIN, or the root of the covariance matrix (c, c) for whitening.
    """

    mean: Float[AnyArray, " c"]
    spread: Float[AnyArray, " c"] | Float[AnyArray, "c c"]


def measure(
    method: Method,
    features: Float[AnyArray, "h w c"],
    weights: Float[AnyArray, "h w"] | None = None,
) -> Statistics | Field:
    """What a method needs of a style picture's features at one level, in float32.

    For style swap these are the features themselves, otherwise statistics. Positions have weights,
    with any sum above 0; None for equal weights.
    """
    features = jnp.asarray(features, jnp.float32)
    if method == "swap":
        shape = features.shape[:2]
        weights = jnp.ones(shape, jnp.float32) if weights is None else jnp.asarray(weights)
        return Field(features, weights / weights.sum())
    return statistics(method, features, weights)


def statistics(
    method: Method,
    features: Float[AnyArray, "h w c"],
    weights: Float[AnyArray, "h w"] | None = None,
) -> Statistics:
    """Compute the statistics of features for AdaIN or whitening; see `measure`."""
    features = jnp.asarray(features, jnp.float32)
    if weights is not None:
        weights = jnp.asarray(weights / weights.sum())
        mean = jnp.einsum("hw,hwc->c", weights, features, precision="highest")
        centred = features - mean[None, None]
        if method == "adain":
            return Statistics(mean, (weights[..., None] * jnp.square(centred)).sum((0, 1)))
        return Statistics(mean, _root(gram(centred, weights)))
    if method == "adain":
        mean, variance = instance_moments(features[None])
        return Statistics(mean[0], variance[0])
    mean = features.mean((0, 1))
    return Statistics(mean, _root(gram(features - mean[None, None])))


def _root(covariance: Float[Array, "c c"]) -> Float[Array, "c c"]:
    return roots(covariance, share=_LEAST)[0]


def transfer(
    method: Method,
    features: Float[AnyArray, "h w c"],
    styles: Sequence[Statistics | Field],
    shares: Float[AnyArray, "*hw k"],
    strength: Float[AnyArray, ""] | float = 1.0,
) -> Float[Array, "h w c"]:
    """Move features to one or several styles.

    Args:
        method: one of `METHODS`.
        features: features of the content picture.
        styles: each style, from `measure`.
        shares: weights of the styles, summing to 1: for the picture, (k,), or for each position,
            (h, w, k).
        strength: from 0 (the content's features) to 1 (alpha in both papers).
    """
    features = jnp.asarray(features, jnp.float32)
    function: Any = {
        "adain": adain,
        "wct": whiten_and_color,
        "whitened": partial(whiten_and_color, damping=_DAMPING),
        "swap": swap,
    }[method]
    mixed = jnp.zeros_like(features)
    for k, style in enumerate(styles):
        share = jnp.asarray(shares)[..., k]
        mixed += share.reshape(share.shape + (1,) * (3 - share.ndim)) * function(features, style)
    return jnp.asarray(strength * mixed + (1 - strength) * features)


def adain(features: Float[AnyArray, "h w c"], style: Statistics) -> Float[Array, "h w c"]:
    """Adaptive instance normalisation (Huang & Belongie 2017, eq. 8)."""
    features = jnp.asarray(features)
    moments = instance_moments(features[None])
    deviation = jnp.sqrt(jnp.asarray(style.spread))
    found = normalize(features[None], moments, deviation[None], jnp.asarray(style.mean)[None])
    return jnp.asarray(found[0])


def whiten_and_color(
    features: Float[AnyArray, "h w c"], style: Statistics, *, damping: float = 0.0
) -> Float[Array, "h w c"]:
    """Whitening and colouring transform (Li et al. 2017, eqs. 1 and 2), both symmetric (ZCA).

    Before whitening, each channel's variance grows by `damping` times the mean square length of the
    features. With 0, directions with next to no variance are left out instead.
    """
    features = jnp.asarray(features, jnp.float32)
    mean = features.mean((0, 1))[None, None]
    centred = features - mean
    covariance = gram(centred)
    if damping:
        squares = jnp.trace(covariance) + jnp.square(mean).sum()
        ridge = damping * squares * jnp.eye(features.shape[-1])
        _, white = roots(covariance + ridge)
    else:
        _, white = roots(covariance, share=_LEAST)
    return dot(centred, dot(white, jnp.asarray(style.spread))) + jnp.asarray(style.mean)[None, None]


def swap(features: Float[AnyArray, "h w c"], style: Field) -> Float[Array, "h w c"]:
    """Style swap: replace patches by those of the style that are nearest by cosine.

    Chen & Schmidt 2016, section 3.1. Patches of 3 x 3 positions overlap at every position; each
    position gets the mean of all that cover it.
    """
    content = Field(jnp.asarray(features, jnp.float32), jnp.ones(features.shape[:2], jnp.float32))
    return voted(style.features, nearest_patches(content, style), SIDE)


def encode(
    network: Network, images: Float[AnyArray, "b h w 3"], level: str
) -> Float[Array, "b h2 w2 c"]:
    """Compute the features of several pictures at one level."""
    return jax.vmap(lambda image: network(image, (level,))[level])(jnp.asarray(images))


def decoder(level: str, channels: int, full: bool) -> tuple[Stage, ...]:
    """The stages of a decoder from a level's features, with `channels` channels, to a picture.

    If `full`, the decoder mirrors VGG19, as that of Huang and Belongie. Otherwise it is narrow, for
    the embedded network, and ends like the small transformer: its last convolution runs at half the
    size and includes the nearest-neighbour upsampling.
    """
    # For each size the widths of its convolutions; the first of them comes after upsampling.
    widths = {4: (256,), 3: (256, 256, 256, 128), 2: (128, 64), 1: (64,)}
    if not full:
        widths = {4: (128,), 3: (64, 64), 2: (32, 32), 1: (16,)}
    depth, found, inputs = int(level[4]), [], channels
    last = 1 if full or depth == 1 else 2
    for size in range(depth, last - 1, -1):
        for i, outputs in enumerate(widths[size]):
            doubles = i == 0 and size < depth
            name = f"{level}.{'abcd'[i]}{size}"
            found.append(
                Stage(name, "plain", 3, inputs, outputs, doubles=doubles, normalized=False)
            )
            inputs = outputs
    name = f"{level}.out"
    kind, side = ("plain", 3) if last == 1 else ("unpacked", 9)
    found.append(Stage(name, kind, side, inputs, 3, normalized=False, linear=True))
    return tuple(found)


def decode(
    decoder: tuple[Stage, ...], parameters: Parameters, features: Float[AnyArray, "b h w c"]
) -> Float[Array, "b h2 w2 3"]:
    """Decode features of a level to pictures, float32 in (0, 1)."""
    dtype = parameters[f"{decoder[0].name}.kernel"].dtype
    level, _, _ = decoder[0].name.partition(".")
    x = (jnp.asarray(features, jnp.float32) * SCALES[level]).astype(dtype)
    nothing = jnp.zeros((len(x), 1))  # no styles to blend: the style is in the features
    x, _ = stages.run(decoder, parameters, x, nothing, [None] * len(decoder))
    return jax.nn.sigmoid(x.astype(jnp.float32))

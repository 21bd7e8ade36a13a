"""Control of colour: whose colours a stylization has.

After Gatys, Bethge, Hertzmann & Shechtman 2016, "Preserving color in neural artistic style
transfer" (arXiv:1606.05897): the content's lightness alone is stylized (luminance-only
transfer), or the style's colours are matched to the content's first (colour histogram matching);
and as in the peers, of a finished result the lightness alone is taken. Pure functions of RGB
pictures in [0, 1], for `jit` and `vmap`.
"""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.linalg import dot, roots
from nst_jax.options import Color, ColorMatch, ColorSpace
from nst_jax.pictures.colorspace import from_oklab, join, join_in_gamut, split, to_oklab
from nst_jax.typing import AnyArray

# A direction in which colours vary by less than 8 bits can say is one in which they do not vary.
_LEAST_DEVIATION = 1 / 255
_ROTATIONS = 16
_SAMPLE = 2**14


def prepared_content(
    content: Float[AnyArray, "h w 3"], color: Color, space: ColorSpace = "rgb"
) -> Float[Array, "h w 3"]:
    """The content picture as the losses are to see it: for `luminance` grey, otherwise as it is."""
    if color == "luminance":
        return as_rgb(grey(content, space))
    return jnp.asarray(content)


def prepared_style(
    style: Float[AnyArray, "h w 3"],
    content: Float[AnyArray, "h2 w2 3"],
    color: Color,
    space: ColorSpace = "rgb",
) -> Float[Array, "h w 3"]:
    """A style picture as the losses are to see it.

    For `luminance` grey, its lightness with the mean and deviation of the content's, as Gatys et
    al. have it; for `match-...` by `match_colors`; otherwise as it is.
    """
    match color:
        case "luminance":
            return as_rgb(_grey_beside(style, content, space))
        case "none" | "luminance-after":
            return jnp.asarray(style)
    return match_colors(style, content, cast(ColorMatch, color.removeprefix("match-")), space)


def restored(
    result: Float[AnyArray, "h w 3"],
    content: Float[AnyArray, "h w 3"],
    color: Color,
    space: ColorSpace = "rgb",
) -> Float[Array, "h w 3"]:
    """A result with the content's chroma if `color` is about lightness; otherwise as it is."""
    if color in ("luminance", "luminance-after"):
        return with_lightness(content, result, space)
    return jnp.asarray(result)


@partial(jax.jit, static_argnames="space")
def grey(picture: Float[AnyArray, "h w 3"], space: ColorSpace = "rgb") -> Float[Array, "h w 1"]:
    """The greys in [0, 1], encoded as sRGB, that are as light as a picture's colours."""
    return _grey(split(picture, space)[0], space)


def as_rgb(picture: Float[Array, "h w c"]) -> Float[Array, "h w 3"]:
    """A picture of one channel as a grey one of three; one of three as it is."""
    return jnp.broadcast_to(picture, (*picture.shape[:2], 3))


@partial(jax.jit, static_argnames="space")
def with_lightness(
    colors: Float[AnyArray, "h w 3"],
    light: Float[AnyArray, "h w 3"],
    space: ColorSpace = "rgb",
) -> Float[Array, "h w 3"]:
    """A picture with the chroma of one and the lightness of another.

    Where no colour within [0, 1] has both, chroma gives way (`colorspace.join_in_gamut`).
    """
    return join_in_gamut(split(light, space)[0], split(colors, space)[1], space)


@partial(jax.jit, static_argnames=("method", "space"))
def match_colors(
    picture: Float[AnyArray, "h w 3"],
    reference: Float[AnyArray, "h2 w2 3"],
    method: ColorMatch = "symmetric",
    space: ColorSpace = "rgb",
) -> Float[Array, "h w 3"]:
    """A picture with the distribution of colours of another.

    Args:
        picture: RGB in [0, 1].
        reference: likewise, of any size.
        method: `symmetric`, `pca` or `cholesky` (`match_linear`), `histogram` (`match_histogram`)
            or `sliced` (`match_sliced`).
        space: in which to match.

    Returns:
        RGB, clipped to [0, 1].
    """
    if space == "oklab":
        matched = _match(to_oklab(picture), to_oklab(reference), method)
        return jnp.clip(from_oklab(matched), 0, 1)
    return jnp.clip(_match(picture, reference, method), 0, 1)


def match_linear(
    picture: Float[AnyArray, "h w c"],
    reference: Float[AnyArray, "h2 w2 c"],
    method: ColorMatch = "symmetric",
) -> Float[Array, "h w c"]:
    """The affine map of the channels that brings mean and covariance to those of a reference.

    With the symmetric roots P and R of the two covariances it is A = R Q P^-1, and the method is a
    choice of the rotation Q: `pca` has none (A_IA of Gatys et al. 2016, after image analogies);
    `cholesky` makes A triangular (their A_chol; the first channel leads); `symmetric` makes A
    symmetric, which of all moves colours least: the linear Monge-Kantorovich map (Pitie &
    Kokaram 2007).

    Directions in which the picture does not vary (deviation below 1/255: grey or constant
    pictures) cannot be stretched: what is left is transported as well as an affine map can, so
    that a grey picture gets the reference's typical colour for each lightness, and a constant
    one the mean.
    """
    values, _ = _centred(picture)
    others, mean = _centred(reference)
    own, wanted = (dot(v.T, v) / len(v) for v in (values, others))
    P, inverse = roots(own, least=_LEAST_DEVIATION)
    R, _ = roots(wanted)
    match method:
        case "pca":
            Q = jnp.eye(len(P), dtype=P.dtype)
        case "cholesky":
            Q = dot(_triangular(R), _triangular(P).T)
        case _:
            U, shared, Vt = jnp.linalg.svd(dot(R, P))
            Q = dot(U * (shared >= _LEAST_DEVIATION**2)[None], Vt)
    A = dot(dot(R, Q), inverse)
    return (dot(values, A.T) + mean).reshape(picture.shape)


def match_histogram(
    picture: Float[AnyArray, "h w c"], reference: Float[AnyArray, "h2 w2 c"]
) -> Float[Array, "h w c"]:
    """Each channel through the increasing curve that gives it the reference's histogram.

    Equal values stay equal: they share the quantile in the middle of theirs.
    """
    values, others = _flat(picture), _flat(reference)
    return _match_channels(values, values, others).reshape(picture.shape)


def match_sliced(
    picture: Float[AnyArray, "h w c"], reference: Float[AnyArray, "h2 w2 c"]
) -> Float[Array, "h w c"]:
    """The joint distribution of channels: histograms along the axes of many rotations.

    Pitie, Kokaram & Dahyot 2007 ("Automated colour grading"), with fixed rotations, the same in
    each call. The curves are learnt from 16,384 pixels if there are more.
    """
    channels = picture.shape[-1]
    rotations = jax.random.orthogonal(jax.random.key(0), channels, (_ROTATIONS,))
    others = _sample(_flat(reference))

    def turn(values, rotation):
        seen, target = dot(values, rotation), dot(others, rotation)
        return dot(_match_channels(seen, _sample(seen), target), rotation.T), None

    matched, _ = lax.scan(turn, _flat(picture), rotations)
    return matched.reshape(picture.shape)


def _match(picture: AnyArray, reference: AnyArray, method: ColorMatch) -> Array:
    if method == "histogram":
        return match_histogram(picture, reference)
    if method == "sliced":
        return match_sliced(picture, reference)
    return match_linear(picture, reference, method)


@partial(jax.jit, static_argnames="space")
def _grey_beside(style: AnyArray, content: AnyArray, space: ColorSpace) -> Float[Array, "h w 1"]:
    """A style's greys, their lightness with the mean and deviation of the content's."""
    light = match_linear(split(style, space)[0], split(content, space)[0])
    return _grey(light, space)


def _grey(lightness: Float[Array, "h w 1"], space: ColorSpace) -> Float[Array, "h w 1"]:
    light = jnp.clip(lightness, 0, 1)
    none = jnp.zeros((*light.shape[:2], 2 if space == "oklab" else 1), light.dtype)
    return jnp.clip(join(light, none, space)[..., :1], 0, 1)


def _flat(picture: AnyArray) -> Float[Array, "n c"]:
    return jnp.asarray(picture).reshape(-1, picture.shape[-1])


def _sample(values: Float[Array, "n c"]) -> Float[Array, "k c"]:
    """At random, since pictures have periods; the same for pictures of one size."""
    n = len(values)
    if n <= _SAMPLE:
        return values
    return values[jax.random.randint(jax.random.key(0), (_SAMPLE,), 0, n)]


def _centred(picture: AnyArray) -> tuple[Float[Array, "n c"], Float[Array, "1 c"]]:
    values = _flat(picture)
    mean = values.mean(axis=0, keepdims=True)
    return values - mean, mean


def _triangular(symmetric: Float[Array, "c c"]) -> Float[Array, "c c"]:
    """The rotation that makes a symmetric root lower triangular, with a positive diagonal."""
    Q, R = jnp.linalg.qr(symmetric)
    return Q * jnp.where(jnp.diagonal(R) < 0, -1, 1)[None]


@partial(jax.vmap, in_axes=1, out_axes=1)
def _match_channels(values: Array, sample: Array, reference: Array) -> Array:
    """Channel by channel, the curve that takes the quantiles of a sample to a reference's."""
    ordered, target = jnp.sort(sample), jnp.sort(reference)
    n, m = len(ordered), len(target)
    below, upto = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    place = jnp.clip((below + upto) * (m / (2 * n)) - 0.5, 0, m - 1)
    floor = jnp.floor(place).astype(jnp.int32)
    low, high = target[floor], target[jnp.minimum(floor + 1, m - 1)]
    return low + (place - floor) * (high - low)

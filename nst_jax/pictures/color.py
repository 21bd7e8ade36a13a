"""Colour control: whether a stylization has the colours of the content or of the style.

Two methods are those of Gatys, Bethge, Hertzmann & Shechtman 2016, "Preserving color in neural
artistic style transfer" (arXiv:1606.05897): only the content's lightness is stylized
(luminance-only transfer), or the style's colours are first matched to the content's (colour
histogram matching). A third, found in other implementations, takes only the lightness of a
finished result. All functions here are pure functions of RGB pictures in [0, 1] and work under
`jit` and `vmap`.
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
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

# Colours that vary by less than one 8-bit step in a direction count as constant in it.
_LEAST_DEVIATION = 1 / 255
_ROTATIONS = 16
_SAMPLE = 2**14


def prepared_content(
    content: Float[AnyArray, "h w 3"], color: Color, space: ColorSpace = "rgb"
) -> Float[Array, "h w 3"]:
    """The content picture as the losses see it: grey for `luminance`, otherwise unchanged."""
    if color == "luminance":
        return as_rgb(grey(content, space))
    return jnp.asarray(content)


def prepared_style(
    style: Float[AnyArray, "h w 3"],
    content: Float[AnyArray, "h2 w2 3"],
    color: Color,
    space: ColorSpace = "rgb",
) -> Float[Array, "h w 3"]:
    """A style picture as the losses see it.

    For `luminance` the picture is grey, and its lightness has the mean and deviation of the
    content's, as in Gatys et al. For `match-...` its colours come from `match_colors`. Otherwise
    it is unchanged.
    """
    match color:
        case "luminance":
            return as_rgb(_grey_beside(style, content, space))
        case "none" | "luminance-after" | "palette-after":
            return jnp.asarray(style)
    return match_colors(style, content, cast(ColorMatch, color.removeprefix("match-")), space)


def restored(
    result: Float[AnyArray, "h w 3"],
    content: Float[AnyArray, "h w 3"],
    color: Color,
    space: ColorSpace = "rgb",
) -> Float[Array, "h w 3"]:
    """The final result: for the two `luminance` modes with the content's chroma, else unchanged."""
    if color in ("luminance", "luminance-after"):
        return with_lightness(content, result, space)
    return jnp.asarray(result)


@jit(static=["space"])
def grey(picture: Float[AnyArray, "h w 3"], space: ColorSpace = "rgb") -> Float[Array, "h w 1"]:
    """A grey picture with the lightness of a picture: sRGB-encoded values in [0, 1]."""
    return _grey(split(picture, space)[0], space)


def as_rgb(picture: Float[Array, "h w c"]) -> Float[Array, "h w 3"]:
    """A one-channel picture repeated to three channels; a three-channel picture unchanged."""
    return jnp.broadcast_to(picture, (*picture.shape[:2], 3))


@jit(static=["space"])
def with_lightness(
    colors: Float[AnyArray, "h w 3"],
    light: Float[AnyArray, "h w 3"],
    space: ColorSpace = "rgb",
) -> Float[Array, "h w 3"]:
    """Combine the chroma of `colors` with the lightness of `light`.

    Where no colour within [0, 1] has both, chroma is reduced (`colorspace.join_in_gamut`).

    Args:
        colors: RGB in [0, 1].
        light: RGB in [0, 1], of the same size.
        space: the colour space that separates lightness from chroma.

    Returns:
        RGB in [0, 1].
    """
    return join_in_gamut(split(light, space)[0], split(colors, space)[1], space)


@jit(static=["method", "space"])
def match_colors(
    picture: Float[AnyArray, "h w 3"],
    reference: Float[AnyArray, "h2 w2 3"],
    method: ColorMatch = "symmetric",
    space: ColorSpace = "rgb",
) -> Float[Array, "h w 3"]:
    """Give a picture the colour distribution of another.

    Args:
        picture: RGB in [0, 1].
        reference: RGB in [0, 1], of any size.
        method: `symmetric`, `pca` or `cholesky` (`match_linear`), `histogram` (`match_histogram`)
            or `sliced` (`match_sliced`).
        space: the colour space in which to match.

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
    """Map the channels affinely so that their mean and covariance become the reference's.

    Let P and R be the symmetric square roots of the picture's and the reference's covariance. The
    map is A = R Q P^-1, and the method chooses the rotation Q:

    - `pca`: Q is the identity (A_IA of Gatys et al. 2016, after image analogies).
    - `cholesky`: Q makes A triangular, so that the first channel leads (their A_chol).
    - `symmetric`: Q makes A symmetric. Of all choices this moves colours least: it is the linear
      Monge-Kantorovich map (Pitie & Kokaram 2007).

    Directions in which the picture does not vary (deviation below 1/255, as in grey or constant
    pictures) cannot be stretched. The other directions are still mapped as well as an affine map
    can: a grey picture gets the reference's typical colour for each lightness, and a constant
    picture gets the reference's mean.
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
    """Map each channel by the increasing curve that gives it the reference's histogram.

    Equal values stay equal: they all map to the middle of their range of quantiles.
    """
    values, others = _flat(picture), _flat(reference)
    return _match_channels(values, values, others).reshape(picture.shape)


def match_sliced(
    picture: Float[AnyArray, "h w c"], reference: Float[AnyArray, "h2 w2 c"]
) -> Float[Array, "h w c"]:
    """Match the joint distribution of the channels: histograms along the axes of many rotations.

    The method is that of Pitie, Kokaram & Dahyot 2007 ("Automated colour grading"), with rotations
    that are the same in every call. The curves are fitted to at most 16,384 pixels, drawn at random
    with a fixed seed.
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


@jit(static=["space"])
def _grey_beside(style: AnyArray, content: AnyArray, space: ColorSpace) -> Float[Array, "h w 1"]:
    """The style in grey, with the mean and deviation of the content's lightness."""
    light = match_linear(split(style, space)[0], split(content, space)[0])
    return _grey(light, space)


def _grey(lightness: Float[Array, "h w 1"], space: ColorSpace) -> Float[Array, "h w 1"]:
    light = jnp.clip(lightness, 0, 1)
    none = jnp.zeros((*light.shape[:2], 2 if space == "oklab" else 1), light.dtype)
    return jnp.clip(join(light, none, space)[..., :1], 0, 1)


def _flat(picture: AnyArray) -> Float[Array, "n c"]:
    return jnp.asarray(picture).reshape(-1, picture.shape[-1])


def _sample(values: Float[Array, "n c"]) -> Float[Array, "k c"]:
    """Draw pixels at random, because a regular grid may meet a picture's own period.

    The seed is fixed: pictures of one size get the same pixels.
    """
    n = len(values)
    if n <= _SAMPLE:
        return values
    return values[jax.random.randint(jax.random.key(0), (_SAMPLE,), 0, n, jnp.int32)]


def _centred(picture: AnyArray) -> tuple[Float[Array, "n c"], Float[Array, "1 c"]]:
    values = _flat(picture)
    mean = values.mean(axis=0, keepdims=True)
    return values - mean, mean


def _triangular(symmetric: Float[Array, "c c"]) -> Float[Array, "c c"]:
    """The rotation Q for which `symmetric @ Q` is lower triangular with a positive diagonal."""
    Q, R = jnp.linalg.qr(symmetric)
    return Q * jnp.where(jnp.diagonal(R) < 0, -1, 1)[None]


@partial(jax.vmap, in_axes=1, out_axes=1)
def _match_channels(values: Array, sample: Array, reference: Array) -> Array:
    """For each channel, map `values` by the curve from a sample's quantiles to the reference's."""
    ordered, target = jnp.sort(sample), jnp.sort(reference)
    n, m = len(ordered), len(target)
    below, upto = (jnp.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    place = jnp.clip((below + upto) * (m / (2 * n)) - 0.5, 0, m - 1)
    floor = jnp.floor(place).astype(jnp.int32)
    low, high = target[floor], target[jnp.minimum(floor + 1, m - 1)]
    return low + (place - floor) * (high - low)

"""The losses: arrays in, a scalar out; they know neither layer names nor weights.

Three conventions, each written once. With N feature maps, M positions, features F of the picture
and P of the content, Gram matrices G and A over positions (`statistics.gram`):

============  =======================  ==============================  ======================
name          content                  style, one layer                total variation
============  =======================  ==============================  ======================
gatys         mean (F - P)^2           1/N^2 mean (G - A)^2            mean d^2
paper         1/2 sum (F - P)^2        1/(4 N^2 M^2) sum (MG - MA)^2   1/2 sum d^2
neural-style  mean (F - P)^2           mean (G/N - A/N)^2              1/2 sum d^2
============  =======================  ==============================  ======================

`gatys` is his PyTorch code, whose style weights are 1e3/N^2; it has no total variation, so the
resolution-independent mean stands there. `paper` is Gatys, Ecker & Bethge 2015/2016, eqs. 1 and 4.
`neural-style` is jcjohnson's Lua code. d are the differences of neighbouring pixels in 0..255.
The weights of one convention turn into another's: paper style = N^2/4 x neural-style's (so alpha
and beta mean something else), paper content = (N M / 2) x the mean (so it grows with the size).

The style losses of the other statistics are squared Wasserstein-2 distances, divided by N: of each
feature map's Gaussian (`moments`), of all maps' Gaussian (`wasserstein`), of each map's values
(`histogram`), of the values along random directions (`sliced`). Like the content loss they are of
second order in the features, where the Gram matrices' is of fourth.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.linalg import dot, trace_of_root
from nst_jax.losses.statistics import Moments
from nst_jax.options import Normalization, Statistic
from nst_jax.typing import AnyArray

_FLOOR, _ROUNDING, _TINY = 1e-3, 1e-6, 1e-6


def content_loss(
    features: Float[AnyArray, "h w c"],
    target: Float[AnyArray, "h w c"],
    normalization: Normalization = "gatys",
    *,
    width: int | None = None,
) -> Float[Array, ""]:
    """Distance of two pictures' features at one layer (Gatys et al. 2016, eq. 1; see the module).

    Args:
        features: of the picture, (h, w, c).
        target: of the content picture, the same shape.
        normalization: `"gatys"`, `"paper"` or `"neural-style"`.
        width: N in the formulas; c if not given. A network that projects its feature maps gives
            the unprojected number.

    Returns:
        A float32 scalar.
    """
    h, w, c = features.shape
    return scaled_error(squared_error(features, target), h * w, width or c, normalization)


def squared_error(
    features: Float[AnyArray, "h w c"],
    target: Float[AnyArray, "h w c"],
    weights: Float[AnyArray, "h w"] | None = None,
) -> Float[Array, ""]:
    """The sum of squared differences, in float32; by weights of the positions."""
    squares = jnp.square(features.astype(jnp.float32) - target.astype(jnp.float32))
    return (squares if weights is None else squares * weights[..., None]).sum()


def scaled_error(
    total: Float[Array, ""], positions: int, width: int, normalization: Normalization
) -> Float[Array, ""]:
    """The content loss of a picture whose squared differences sum to `total`."""
    return total / 2 if normalization == "paper" else total / (positions * width)


def style_loss(
    gram: Float[AnyArray, "c c"],
    target: Float[AnyArray, "c c"],
    normalization: Normalization = "gatys",
    *,
    width: int | None = None,
) -> Float[Array, ""]:
    """Distance of two Gram matrices at one layer (Gatys et al. 2016, eq. 4; see the module).

    Args:
        gram: of the picture, over positions (`statistics.gram`), (c, c).
        target: of the style picture, the same shape.
        normalization: `"gatys"`, `"paper"` or `"neural-style"`.
        width: as for `content_loss`.

    Returns:
        A float32 scalar. For pictures of unequal size, `paper` takes M from the picture.
    """
    n = width or gram.shape[-1]
    total = jnp.square(gram - target).sum()
    match normalization:
        case "gatys":
            return total / n**2 / n**2
        case "neural-style":
            return jnp.square((gram - target) / n).sum() / n**2
        case "paper":
            return total / (4 * n**2)


def moments_loss(found: Moments, target: Moments, *, width: int | None = None) -> Float[Array, ""]:
    """Distance of the means and standard deviations of feature maps at one layer.

    1/N sum (mu - nu)^2 + (sigma - tau)^2: the loss of batch statistics of Li et al. 2017,
    "Demystifying Neural Style Transfer"; AdaIN's style loss with squares for norms.
    """
    means = jnp.square(found.mean - target.mean)
    deviations = jnp.square(_deviation(found) - _deviation(target))
    return (means + deviations).sum() / (width or found.mean.size)


def wasserstein_loss(
    found: Moments, target: Moments, *, width: int | None = None
) -> Float[Array, ""]:
    """Squared Wasserstein-2 distance of two Gaussians at one layer, divided by N.

    |mu - nu|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), with the covariances A and B. The inner root
    has the trace of the root of L^T B L, where A = L L^T (Cholesky): no root of A is needed.
    """
    a, b = _covariance(target), _covariance(found)
    factor = jnp.linalg.cholesky(a)
    cross = trace_of_root(dot(factor.T, dot(b, factor)))
    total = jnp.square(found.mean - target.mean).sum() + jnp.trace(a) + jnp.trace(b) - 2 * cross
    return total / (width or found.mean.size)


def quantile_loss(
    found: Float[AnyArray, "d q"], target: Float[AnyArray, "d q"], *, width: int | None = None
) -> Float[Array, ""]:
    """Squared Wasserstein-2 distances of values along d directions, summed, divided by N.

    The optimal transport of values on a line pairs their quantiles. Along the feature maps it is
    the histogram loss of Risser et al. 2017; along random directions the sliced distance
    (Heitz et al. 2021), here along as many orthogonal ones as there are maps.
    """
    return jnp.square(found - target).mean(1).sum() / (width or found.shape[0])


def statistic_loss(
    statistic: Statistic,
    found: Any,
    target: Any,
    normalization: Normalization = "gatys",
    *,
    width: int | None = None,
) -> Float[Array, ""]:
    """Distance of two `statistics.measure` of the same kind at one layer.

    Args:
        statistic: its name.
        found: of the picture, without regions.
        target: of the style picture.
        normalization: of Gram matrices; the others have one form.
        width: as for `content_loss`.
    """
    match statistic:
        case "gram":
            return style_loss(found, target, normalization, width=width)
        case "moments":
            return moments_loss(found, target, width=width)
        case "wasserstein":
            return wasserstein_loss(found, target, width=width)
        case "sliced" | "histogram":
            return quantile_loss(found, target, width=width)


def _deviation(found: Moments) -> Array:
    """Never zero: the floor is what rounding leaves of it, and keeps the root differentiable."""
    variance = jnp.maximum(found.second - jnp.square(found.mean), 0)
    return jnp.sqrt(variance + _ROUNDING * found.second + _TINY)


def _covariance(found: Moments) -> Array:
    """With a floor under its eigenvalues that rounding cannot undercut, here or in products."""
    size = found.mean.size
    covariance = found.second - jnp.outer(found.mean, found.mean)
    floor = _FLOOR * jnp.sqrt(jnp.square(covariance).sum() + _TINY)
    floor += _ROUNDING * jnp.trace(found.second) + _TINY
    return covariance + floor * jnp.eye(size)


def total_variation(
    image: Float[AnyArray, "h w 3"], normalization: Normalization = "gatys"
) -> Float[Array, ""]:
    """Squared differences of neighbouring pixels, in units of 0..255.

    Args:
        image: RGB in [0, 1].
        normalization: `"gatys"`: the mean over both directions' differences, independent of the
            size; otherwise 1/2 the sum over pixels that have both neighbours (jcjohnson).

    Returns:
        A float32 scalar.
    """
    image = image * 255
    down, right = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    if normalization == "gatys":
        return (jnp.square(down).sum() + jnp.square(right).sum()) / (down.size + right.size)
    return (jnp.square(down[:, :-1]).sum() + jnp.square(right[:-1]).sum()) / 2

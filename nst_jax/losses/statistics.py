"""Statistics of feature maps: arrays in, arrays out."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.linalg import einsum
from nst_jax.networks.layers import projected
from nst_jax.options import Statistic
from nst_jax.typing import AnyArray

_PARTS = 256


@jax.custom_vjp
def gram(
    features: Float[AnyArray, "h w c"], weights: Float[AnyArray, "h w"] | None = None
) -> Float[Array, "c c"]:
    """Gram matrix over positions, `F^T F / (h w)`, float32 whatever the features' dtype.

    The inner products of feature maps of Gatys et al. 2016, eq. 3, divided by the number of
    positions, so that pictures of different sizes compare. The losses' normalisations start here.

    Args:
        features: F, one row of c values for each position.
        weights: of the positions, summing to 1; equal if not given. Not differentiated.
    """
    flat = features.reshape(-1, features.shape[-1])
    if weights is None:
        return einsum("pi,pj->ij", flat, flat) / flat.shape[0]
    return einsum("pi,pj->ij", flat, flat * weights.reshape(-1, 1))


def _gram_forward(features, weights):
    return gram(features, weights), (features, weights)


def _gram_backward(kept, g):
    # One product with the symmetrised cotangent, where automatic differentiation makes two.
    features, weights = kept
    h, w, _ = features.shape
    if weights is None:
        symmetric = ((g + g.T) / (h * w)).astype(features.dtype)
        return einsum("hwi,ij->hwj", features, symmetric).astype(features.dtype), None
    gradient = einsum("hwi,ij->hwj", features, (g + g.T).astype(features.dtype))
    return (gradient * weights[..., None]).astype(features.dtype), jnp.zeros_like(weights)


gram.defvjp(_gram_forward, _gram_backward)


class Moments(NamedTuple):
    """Means of the feature maps (c,), and of their squares (c,) or products (c, c).

    Raw moments, since these are sums over positions and mix as pictures side by side do.
    """

    mean: Float[Array, "*r c"]
    second: Float[Array, "*r _"] | Float[Array, "*r _ _"]


def moments(
    features: Float[AnyArray, "h w c"], weights: Float[AnyArray, "h w"] | None = None
) -> Moments:
    """Mean and mean square of each feature map, float32; `weights` as for `gram`."""
    flat = jnp.asarray(features, jnp.float32).reshape(-1, features.shape[-1])
    if weights is None:
        return Moments(flat.mean(0), jnp.square(flat).mean(0))
    shares = weights.reshape(-1, 1)
    return Moments((flat * shares).sum(0), (jnp.square(flat) * shares).sum(0))


def products(
    features: Float[AnyArray, "h w c"], weights: Float[AnyArray, "h w"] | None = None
) -> Moments:
    """Mean of the feature maps, and of all their products: the Gram matrix; float32."""
    flat = jnp.asarray(features, jnp.float32)
    mean = flat.mean((0, 1)) if weights is None else jnp.einsum("hwi,hw->i", flat, weights)
    return Moments(mean, gram(features, weights))


def quantiles(
    features: Float[AnyArray, "h w c"],
    weights: Float[AnyArray, "h w"] | None = None,
    directions: Float[AnyArray, "c d"] | None = None,
) -> Float[Array, "d q"]:
    """Quantile functions of the features along directions, as means of 256 equal parts.

    Sorted values in so many parts are exact however many positions there are, so pictures of other
    sizes compare; 256 is the number of bins in Risser et al. 2017.

    Args:
        features: F.
        weights: of the positions, as for `gram`.
        directions: unit vectors; each feature map by itself if not given.
    """
    flat = jnp.asarray(features, jnp.float32).reshape(-1, features.shape[-1])
    values = flat.T if directions is None else einsum("pi,id->dp", flat, directions)
    positions = values.shape[1]
    if weights is None:
        values = jnp.sort(values)
        shares = jnp.full((1, positions), 1 / positions, jnp.float32)
    else:
        order = jnp.argsort(values)
        values = jnp.take_along_axis(values, order, axis=1)
        shares = lax.stop_gradient(weights).reshape(-1)[order]
    # Centred, so that the running sums stay small and keep their digits.
    mean = lax.stop_gradient((values * shares).sum(1, keepdims=True))
    mass, sums = (
        jnp.pad(jnp.cumsum(a, axis=1), ((0, 0), (1, 0))) for a in (shares, (values - mean) * shares)
    )
    ends = jnp.linspace(0, 1, _PARTS + 1)
    at_ends = jax.vmap(lambda m, s: jnp.interp(ends, m, s), (None if weights is None else 0, 0))
    return mean + jnp.diff(at_ends(mass[0] if weights is None else mass, sums)) * _PARTS


class Given(NamedTuple):
    """What a statistic of one layer needs besides features.

    `guides` (r, h, w) say by how much each position counts in each region (`regions.at_layers`),
    `directions` (c, d) along which features are projected. With a `head` (i, c) the features are
    activations (h, w, i) times this.
    """

    guides: Float[AnyArray, "r h w"] | None = None
    directions: Float[AnyArray, "c d"] | None = None
    head: Float[AnyArray, "i c"] | None = None


def measure(statistic: Statistic, features: Float[AnyArray, "h w c"], given: Given) -> Any:
    """A statistic of all positions, or of each guided region, with a leading axis.

    Args:
        statistic: `"gram"`: `gram`; `"moments"`: `moments`; `"wasserstein"`: `products`;
            `"histogram"` and `"sliced"`: `quantiles` of the feature maps, or along directions.
        features: F, or activations.
        given: guides, directions and head.
    """
    if given.guides is None:
        return _function(statistic, given)(features, None)
    weights = [guide / guide.sum() for guide in given.guides]
    return weighted(statistic, features, weights, given)


def weighted(
    statistic: Statistic,
    features: Float[AnyArray, "h w c"],
    weights: Iterable[Float[AnyArray, "h w"]],
    given: Given,
) -> Any:
    """A statistic by each of several weights of the positions, with a leading axis.

    Those of `choices.ADDITIVE` are linear in the weights: those of a picture's parts add up to the
    whole's.
    """
    function = _function(statistic, given)
    each = [function(features, one) for one in weights]
    return jax.tree.map(lambda *values: jnp.stack(values), *each)


def _function(statistic: Statistic, given: Given) -> Callable[..., Any]:
    sorting = partial(quantiles, directions=given.directions)
    function: Callable[..., Any] = {
        "gram": gram,
        "moments": moments,
        "wasserstein": products,
        "histogram": sorting,
        "sliced": sorting,
    }[statistic]
    head = given.head
    if head is None:
        return function
    if function is gram:
        # (F R)^T F R = R^T (F^T F) R, with the head's products no longer one for each position.
        return lambda x, weights: einsum(
            "ia,ib->ab", head, einsum("ij,jb->ib", gram(x, weights), head)
        )
    return lambda x, weights: function(projected(x, head), weights)

"""The style term of STROTSS (Kolkin et al. 2019): a relaxed earth mover's distance of features."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax.linalg import dot
from nst_jax.losses.columns import Pair, guides_of, pairs_of, weights_of
from nst_jax.losses.points import at_points, drawn_points, strides_of, unit_of
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.networks.base import Network
from nst_jax.patches.nearest import unit
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

# The authors' axes of colour: one of grey, and two across it.
_AXES = np.array(
    [
        [0.577350, 0.577350, 0.577350],
        [-0.577350, 0.788675, -0.211325],
        [-0.577350, -0.211325, 0.788675],
    ],
    np.float32,
)
_LEAST = 1e-5
# Long side at which colours weigh as much as all other features; half as long, half as much.
_LONG = 1024


class Moments(NamedTuple):
    """Mean and covariance of features."""

    mean: Float[Array, " d"]
    covariance: Float[Array, "d d"]


class Transported(NamedTuple):
    """The target of `Transport`, for p pairs of a region and a source of style.

    Attributes:
        samples: features of the style, RGB first.
        moments: their means and covariances.
        unit: the size of the style's features, by which features are divided.
        points: the pixels of the picture that are compared.
        weights: the weight of each pixel in each pair.
        pairs: the numbers of region and source.
        palette: the weight of colours.
        strides: those of the layers.
        key: for the next points.
    """

    samples: Float[Array, "p m d"]
    moments: Moments
    unit: Float[Array, " p"]
    points: Int[Array, "p n 2"]
    weights: Float[Array, "p h w"]
    pairs: Int[Array, "p 2"]
    palette: Float[Array, ""]
    strides: dict[str, Int[Array, ""]]
    key: Array


@dataclass(frozen=True)
class Transport(Term):
    """Features at random pixels, all layers and the colour as one vector.

    Attributes:
        count: how many pixels of the picture are compared.
        samples: how many of a style they are compared with.
        renew_every: evaluations until other pixels are drawn.
    """

    count: int = 1024
    samples: int = 5000
    renew_every: int = 1  # pyright: ignore[reportIncompatibleVariableOverride]
    name: ClassVar[str] = "style"
    copies: ClassVar[float] = 1.0

    def target(self, scene: Scene) -> Transported:
        """Draw samples of the styles, and pixels of the picture.

        Raises:
            InputError: a region is empty.
        """
        pairs, key = pairs_of(scene), jax.random.key(scene.seed)
        (weights,) = guides_of(scene, pairs, {"its full size": 1}).values()
        each = [self._of(scene, pair, jax.random.fold_in(key, n)) for n, pair in enumerate(pairs)]
        found, units = (jnp.stack(parts) for parts in zip(*each, strict=True))
        long = max(scene.content.shape)
        numbers = jnp.asarray(np.array([pair[:2] for pair in pairs], np.int32))
        bare = Transported(
            found,
            jax.vmap(moments)(found),
            units,
            jnp.zeros((len(pairs), self.count, 2), jnp.int32),
            weights,
            numbers,
            jnp.asarray(min(long / _LONG, 1.0), jnp.float32),
            strides_of(scene.network, self.layers),
            jax.random.key_data(key),
        )
        return _renewed(bare)

    def _of(self, scene: Scene, pair: Pair, key: Array) -> tuple[Array, Array]:
        style = scene.styles[pair.style]
        mask = np.ones(style.shape[:2], np.float32) if pair.mask is None else pair.mask
        data = jax.random.key_data(key)
        return _sampled(scene.network, style, mask, data, self.layers, self.samples)

    def renewed(
        self, scene: Scene, target: Transported, picture: Float[Array, "h w 3"]
    ) -> Transported:
        """Draw other pixels."""
        del scene, picture
        return _renewed(target)

    def given(self, layer: str, target: Transported) -> tuple[Array, Array]:
        """The pixels, and the layer's stride."""
        return target.points, target.strides[layer]

    def measure(
        self, layer: str, features: Array, head: Array | None, given: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """The features at the pixels of each pair."""
        del layer
        points, stride = given
        return features, jax.vmap(lambda p: at_points(features, p, stride, head))(points)

    def loss(self, seen: Seen, target: Transported) -> Array:
        """The sum of the distance, the moments' and the colours'; see `transport_loss`."""
        picture = jnp.asarray(seen.picture)
        colors = jax.vmap(lambda p: picture[p[:, 0], p[:, 1]])(target.points)
        sizes = target.unit[:, None, None]
        ours = jnp.concatenate([colors, *(seen.found[layer] / sizes for layer in self.layers)], -1)
        each = jax.vmap(lambda o, s, m: transport_loss(o, s, m, target.palette))(
            ours, target.samples, target.moments
        )
        shares = target.weights.mean((1, 2)) * weights_of(target.pairs, seen.blend)
        return jnp.vdot(shares, each)


def moments(vectors: Float[AnyArray, "n d"]) -> Moments:
    """Mean and covariance of vectors."""
    vectors = jnp.asarray(vectors)
    mean = vectors.mean(0)
    left = vectors - mean[None]
    return Moments(mean, dot(left.T, left) / vectors.shape[0])


def transport_loss(
    ours: Float[AnyArray, "n d"],
    theirs: Float[AnyArray, "m d"],
    wanted: Moments,
    palette: float | Float[Array, ""],
) -> Float[Array, ""]:
    """The style loss of STROTSS: distance of features, of their moments, and of colours.

    Args:
        ours: features, RGB first.
        theirs: features of the style.
        wanted: their moments.
        palette: the weight of colours.
    """
    own = moments(ours)
    apart = jnp.abs(own.mean - wanted.mean).mean()
    apart += jnp.abs(own.covariance - wanted.covariance).mean()
    one, other = (dot(x[:, :3], _AXES.T) for x in (ours, theirs))
    colors = relaxed(cosine_distances(one, other) + distances(one, other))
    return relaxed(cosine_distances(ours, theirs)) + apart + palette * colors


def relaxed(costs: Float[Array, "n m"]) -> Float[Array, ""]:
    """The relaxed earth mover's distance: every one goes to its nearest, from the worse side."""
    return jnp.maximum(costs.min(1).mean(), costs.min(0).mean())


def cosine_distances(a: Float[AnyArray, "n d"], b: Float[AnyArray, "m d"]) -> Float[Array, "n m"]:
    """1 - cos of all pairs."""
    return 1 - dot(unit(jnp.asarray(a)), unit(jnp.asarray(b)).T)


def distances(a: Float[AnyArray, "n d"], b: Float[AnyArray, "m d"]) -> Float[Array, "n m"]:
    """Euclidean distances of all pairs, divided by the root of d."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    squares = jnp.square(a).sum(1)[:, None] + jnp.square(b).sum(1)[None] - 2 * dot(a, b.T)
    return jnp.sqrt(jnp.clip(squares, _LEAST, 1 / _LEAST) / a.shape[1])


@jit(static=["layers", "count"])
def _sampled(
    network: Network,
    picture: Float[AnyArray, "h w 3"],
    mask: Float[AnyArray, "h w"],
    key: AnyArray,
    layers: tuple[str, ...],
    count: int,
) -> tuple[Float[Array, "count d"], Float[Array, ""]]:
    """Features of a style at random pixels, RGB first, and the unit by which they are divided."""
    picture = jnp.asarray(picture)
    points = drawn_points(jax.random.wrap_key_data(jnp.asarray(key)), jnp.asarray(mask), count)

    def tap(layer: str, features: Any, head: Any = None) -> tuple[Any, Array]:
        return features, at_points(features, points, network.strides[layer], head)

    found = network(picture, layers, tap)
    colors = picture[points[:, 0], points[:, 1]]
    size = unit_of([found[layer] for layer in layers])
    return jnp.concatenate([colors, *(found[layer] / size for layer in layers)], -1), size


@jit()
def _renewed(target: Transported) -> Transported:
    key, own = jax.random.split(jax.random.wrap_key_data(target.key))
    keys = jax.random.split(own, target.points.shape[0])
    draw = jax.vmap(lambda k, w: drawn_points(k, w, target.points.shape[1]))
    points = draw(keys, target.weights)
    return target._replace(points=points, key=jax.random.key_data(key))

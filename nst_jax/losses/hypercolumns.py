"""The style term of NNST's first pass: hypercolumns, each drawn to its nearest in the style.

Kolkin et al. 2022, "Neural Neighbor Style Transfer". Which column of the style is nearest is
decided before, and stays until targets are renewed: within that time the objective is fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax.linalg import dot
from nst_jax.losses.columns import (
    STRIDE,
    Pair,
    columns,
    guides_of,
    pairs_of,
    part_of,
    split,
    turned,
    weights_of,
)
from nst_jax.losses.regions import weights_at
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.patches.nearest import nearest, principal, unit
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

# Long vectors are compared along so many principal axes.
_AXES = 256
_SAMPLE = 4096  # of the vectors that determine the axes
_LEAST = 1e-8


class Chosen(NamedTuple):
    """The target of `Hypercolumns`, for p pairs of a region and a source of style.

    Attributes:
        wanted: by layer, the part of a unit vector to which each position is drawn.
        guides: the weight of each position in each pair.
        pairs: the numbers of region and source.
    """

    wanted: dict[str, Float[Array, "p h w _"]]
    guides: Float[Array, "p h w"]
    pairs: Int[Array, "p 2"]


@dataclass(frozen=True)
class Hypercolumns(Term):
    """Hypercolumns, each drawn to one of the style's by the cosine.

    Attributes:
        alpha: see `Neighbours`.
        turns: see `Neighbours`.
        renew_every: see `Neighbours`.
    """

    alpha: float = 0.75
    turns: int = 4
    renew_every: int = 200  # pyright: ignore[reportIncompatibleVariableOverride]
    name: ClassVar[str] = "style"
    copies: ClassVar[float] = 1.0

    def target(self, scene: Scene) -> Chosen:
        """Choose the nearest for the content.

        Raises:
            InputError: a region is empty.
        """
        pairs = pairs_of(scene)
        guides = guides_of(scene, pairs, {"a quarter of its size": STRIDE})
        (found,) = guides.values()
        numbers = jnp.asarray(np.array([pair[:2] for pair in pairs], np.int32))
        return Chosen(self._wanted(scene, pairs, found, scene.content), found, numbers)

    def renewed(self, scene: Scene, target: Chosen, picture: Float[Array, "h w 3"]) -> Chosen:
        """Choose the nearest for a mixture of the content and the picture with its fine detail."""
        mixture = mixed(picture, scene.content, self.alpha)
        return target._replace(wanted=self._wanted(scene, pairs_of(scene), target.guides, mixture))

    def _wanted(
        self, scene: Scene, pairs: Sequence[Pair], guides: Array, picture: Any
    ) -> dict[str, Array]:
        ours = columns(scene.network, picture, self.layers)
        theirs = [
            [columns(scene.network, one, self.layers) for one in turned(style, self.turns)]
            for style in scene.styles
        ]
        found = []
        for pair, guide in zip(pairs, guides, strict=True):
            height, width, _ = scene.styles[pair.style].shape
            mask = np.ones((height, width), np.float32) if pair.mask is None else pair.mask
            masks = turned(mask, self.turns)
            found.append(nearest_of(ours, guide, theirs[pair.style], masks))
        return split(found, self.layers, scene.network)

    def given(self, layer: str, target: Chosen) -> Array:
        """What positions of the layer are drawn to."""
        return target.wanted[layer]

    def measure(
        self, layer: str, features: Array, head: Array | None, given: Array
    ) -> tuple[Array, Any]:
        """The layer's part of the products with what is wanted, and of the squared norms."""
        del layer
        _, rows, across, _ = given.shape
        own = part_of(features, head, rows, across)
        # On CPUs a product with a vector is much faster than a sum along the last axis.
        ones = jnp.ones(own.shape[-1], jnp.float32)
        return features, (dot(own[None] * given, ones), dot(jnp.square(own), ones)[None])

    def loss(self, seen: Seen, target: Chosen) -> Array:
        """The mean of 1 - cos."""
        widths = seen.network.widths
        shares = [seen.found[layer] for layer in self.layers]
        product = sum(s[0] / widths[k] for k, s in zip(self.layers, shares, strict=True))
        square = sum(s[1] / widths[k] ** 2 for k, s in zip(self.layers, shares, strict=True))
        cosine = product / jnp.sqrt(jnp.maximum(square, _LEAST))
        each = (target.guides * (1 - cosine)).mean((1, 2))
        return jnp.vdot(weights_of(target.pairs, seen.blend), each)


@jit()
def mixed(
    picture: Float[AnyArray, "h w 3"], content: Float[AnyArray, "h w 3"], alpha: float | Array
) -> Float[Array, "h w 3"]:
    """The picture for which the nearest are chosen: mostly the content at a high alpha.

    The rest is the picture, less its finest band of detail and with that of the content.
    """
    picture, content = jnp.asarray(picture), jnp.asarray(content)
    detailed = _coarse(picture) + content - _coarse(content)
    return (1 - alpha) * detailed + alpha * content


def _coarse(picture: Array) -> Array:
    """The picture without the finest band of its Laplacian pyramid."""
    height, width, channels = picture.shape
    half = (max(height // 2, 1), max(width // 2, 1), channels)
    small = jax.image.resize(picture, half, "linear", antialias=False)
    return jax.image.resize(small, picture.shape, "linear")


def nearest_of(
    ours: Float[Array, "n d"],
    guide: Float[AnyArray, "h w"],
    theirs: Sequence[Float[Array, "m d"]],
    masks: Sequence[Float[AnyArray, "_ _"]],
) -> Float[Array, "h w d"]:
    """For each column the nearest of a style, by the cosine of what is left of their means.

    Args:
        ours: the columns of a picture.
        guide: the weight of each of them in the mean.
        theirs: the style's columns, in each of its turns.
        masks: where they may be chosen, and count in the mean, by pixel.

    Returns:
        The columns of the style, as unit vectors.
    """
    weights = [weights_at(mask[None], STRIDE).reshape(-1) for mask in masks]
    centred, middle, axes = _prepared(ours, guide, tuple(theirs), tuple(weights))
    found = None
    # One turn after the other, all by the same program.
    for vectors, free in zip(theirs, weights, strict=True):
        found = _nearer(centred, vectors, middle, axes, free, found)
    assert found is not None
    return _units(found.vectors, guide)


class _Found(NamedTuple):
    """The nearest so far, and how far they are."""

    distance: Float[Array, " n"]
    vectors: Float[Array, "n d"]


@jit()
def _prepared(
    ours: Array, guide: AnyArray, theirs: tuple[Array, ...], weights: tuple[Array, ...]
) -> tuple[Array, Array, Array | None]:
    """The columns less their mean, the mean of the style's, and axes along which to compare."""
    own = jnp.asarray(guide).reshape(-1)
    free = [(w > 0).astype(jnp.float32) for w in weights]
    total = sum((w @ v for v, w in zip(theirs, free, strict=True)), jnp.zeros(ours.shape[1]))
    middle = (total / sum(w.sum() for w in free))[None]
    few = ours.shape[1] <= _AXES
    some = theirs[0][:: max(theirs[0].shape[0] // _SAMPLE, 1)]
    axes = None if few else principal(unit(some - middle), _AXES)
    return unit(ours - (own @ ours / own.sum())[None]), middle, axes


@jit()
def _nearer(
    ours: Array,
    vectors: Array,
    middle: Array,
    axes: Array | None,
    free: Array,
    found: _Found | None,
) -> _Found:
    """Compare with one more set of vectors."""
    penalty = jnp.where(free > 0, 0, jnp.inf).astype(jnp.float32)
    theirs = unit(vectors - middle)
    short = (ours, theirs) if axes is None else (dot(ours, axes), dot(theirs, axes))
    index = nearest(*short, penalty=penalty).indices[:, 0]
    distance = jnp.where(free[index] > 0, 1 - (ours * theirs[index]).sum(1), jnp.inf)
    if found is None:
        return _Found(distance, vectors[index])
    nearer = distance < found.distance
    return _Found(
        jnp.where(nearer, distance, found.distance),
        jnp.where(nearer[:, None], vectors[index], found.vectors),
    )


@jit()
def _units(vectors: Array, guide: AnyArray) -> Array:
    return unit(vectors).reshape(*guide.shape, -1)

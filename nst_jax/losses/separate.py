"""The style term of NNST's last pass: each layer by itself, drawn to its nearest in the style.

Kolkin et al. 2022 compare a grid of positions, and choose the nearest before every step. Here they
stay the same until targets are renewed, so that the objective is fixed within that time; and those
of the style are a sample, drawn once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from nst_jax.losses.columns import Pair, guides_of, pairs_of, turned, weights_of
from nst_jax.losses.regions import weights_at
from nst_jax.losses.style import padded
from nst_jax.losses.term import Scene, Seen, Term
from nst_jax.networks.base import Network
from nst_jax.networks.layers import projected
from nst_jax.patches.nearest import nearest, unit
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

# The longest side of the grid of positions that are compared in one layer, and the features of each
# turn of a style that these are compared with.
_SIDE = 64
_SAMPLES = 2048


class Drawn(NamedTuple):
    """The target of `SeparateLayers`, for p pairs of a region and a source of style; by layer.

    Attributes:
        wanted: the unit vector to which each of some positions is drawn.
        guides: the weight of each of these positions in each pair.
        offsets: where the grid of these positions begins.
        samples: unit vectors of the style from which is chosen.
        allowed: which of them belong to the source.
        whole: the weights of all positions of the picture.
        pairs: the numbers of region and source.
        key: for the next offsets.
    """

    wanted: dict[str, Float[Array, "p _ _ _"]]
    guides: dict[str, Float[Array, "p _ _"]]
    offsets: dict[str, Int[Array, "2"]]
    samples: dict[str, Float[Array, "p _ _"]]
    allowed: dict[str, Bool[Array, "p _"]]
    whole: dict[str, Float[Array, "p _ _"]]
    pairs: Int[Array, "p 2"]
    key: Array


@dataclass(frozen=True)
class SeparateLayers(Term):
    """Features of each layer, drawn to those of the style by the centred cosine.

    A grid of positions is compared. It moves, at random, when targets are renewed.

    Attributes:
        turns: see `Neighbours`.
        renew_every: evaluations until the nearest are chosen anew.
    """

    turns: int = 4
    renew_every: int = 10  # pyright: ignore[reportIncompatibleVariableOverride]
    name: ClassVar[str] = "style"
    copies: ClassVar[float] = 1.0

    def target(self, scene: Scene) -> Drawn:
        """Draw samples of the style, and choose the nearest for the content.

        Raises:
            InputError: a region is empty at one of the layers.
        """
        pairs, key = pairs_of(scene), jax.random.key_data(jax.random.key(scene.seed))
        strides = {layer: scene.network.strides[layer] for layer in self.layers}
        whole = guides_of(scene, pairs, strides)
        samples, allowed = self._samples(scene, pairs)
        numbers = jnp.asarray(np.array([pair[:2] for pair in pairs], np.int32))
        bare = Drawn({}, {}, {}, samples, allowed, whole, numbers, key)
        return self.renewed(scene, bare, jnp.asarray(scene.content))

    def _samples(self, scene: Scene, pairs: Sequence[Pair]) -> tuple[dict, dict]:
        found = []
        for number, pair in enumerate(pairs):
            style = np.asarray(scene.styles[pair.style])
            mask = np.ones(style.shape[:2], np.float32) if pair.mask is None else pair.mask
            views = zip(turned(style, self.turns), turned(mask, self.turns), strict=True)
            keys = jax.random.split(
                jax.random.fold_in(jax.random.key(scene.seed), number), self.turns
            )
            found.append(
                [
                    _sampled(scene.network, *view, jax.random.key_data(key), self.layers)
                    for view, key in zip(views, keys, strict=True)
                ]
            )
        return _joined(found)

    def renewed(self, scene: Scene, target: Drawn, picture: Float[Array, "h w 3"]) -> Drawn:
        """Move the grid, and choose the nearest for the picture."""
        return _renewed(self.layers, scene.network, target, jnp.asarray(picture))

    def given(self, layer: str, target: Drawn) -> tuple[Array, Array, Array]:
        """What positions of the layer are drawn to, their weights, and where their grid begins."""
        return target.wanted[layer], target.guides[layer], target.offsets[layer]

    def measure(
        self, layer: str, features: Array, head: Array | None, given: tuple[Array, Array, Array]
    ) -> tuple[Array, Array]:
        """The mean of 1 - cos over the positions of each pair."""
        del layer
        wanted, guides, offset = given
        own = projected(_on_grid(features, offset), head).astype(jnp.float32)

        def of_pair(wanted: Array, guide: Array) -> Array:
            flat = _centred(own.reshape(-1, own.shape[-1]), guide.reshape(-1))
            cosine = (flat * wanted.reshape(flat.shape)).sum(-1)
            return (guide.reshape(-1) * (1 - cosine)).mean()

        return features, jax.vmap(of_pair)(wanted, guides)

    def loss(self, seen: Seen, target: Drawn) -> dict[str, Array]:
        """The loss of each layer; regions are weighted by their share of the picture."""
        weights = weights_of(target.pairs, seen.blend)
        return {layer: jnp.vdot(weights, seen.found[layer]) for layer in self.layers}


def _centred(vectors: Array, weights: Array) -> Array:
    """What is left of the weighted mean, as unit vectors."""
    middle = weights @ vectors / jnp.maximum(weights.sum(), 1e-12)
    return unit(vectors - middle[None])


def _step(height: int, width: int) -> int:
    return max(max(height, width) // _SIDE, 1)


def _on_grid(features: Array, offset: Array) -> Array:
    """The features on a grid with about `_SIDE` positions on the long side."""
    height, width, channels = features.shape
    step = _step(height, width)
    rows, across = max(height // step, 1), max(width // step, 1)
    sides = (min(step * (rows - 1) + 1, height), min(step * (across - 1) + 1, width), channels)
    begin = (offset[0], offset[1], jnp.zeros((), offset.dtype))
    return lax.dynamic_slice(features, begin, sides)[::step, ::step]


@jit(static=["layers"])
def _sampled(
    network: Network,
    picture: Float[AnyArray, "h w 3"],
    mask: Float[AnyArray, "h w"],
    key: AnyArray,
    layers: tuple[str, ...],
) -> dict[str, tuple[Array, Array]]:
    """Features of each layer at up to `_SAMPLES` random positions, and whether the mask has them.

    Positions outside of the mask come last.
    """

    def tap(layer: str, features: Any, head: Any = None) -> tuple[Any, tuple[Array, Array]]:
        weights = weights_at(jnp.asarray(mask)[None], network.strides[layer]).reshape(-1)
        own = jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(key)), layers.index(layer))
        scores = jnp.log(weights) + jax.random.gumbel(own, weights.shape, jnp.float32)
        _, places = lax.top_k(scores, min(_SAMPLES, len(weights)))
        flat = features.reshape(-1, features.shape[-1])
        found = projected(flat[places][None], head)[0].astype(jnp.float32)
        return features, (found, weights[places] > 0)

    return network(jnp.asarray(picture), layers, tap)


@jit()
def _joined(found: list[list[dict[str, tuple[Array, Array]]]]) -> tuple[dict, dict]:
    """Join the samples of each source, as unit vectors less their mean, and stack the sources."""
    samples, allowed = {}, {}
    for layer in found[0][0]:
        joined = [
            [jnp.concatenate([view[layer][part] for view in views]) for part in range(2)]
            for views in found
        ]
        vectors = [_centred(v, free.astype(jnp.float32)) for v, free in joined]
        samples[layer] = jnp.stack(padded(vectors))
        allowed[layer] = jnp.stack(padded([free for _, free in joined]))
    return samples, allowed


@jit(static=["layers"])
def _renewed(layers: tuple[str, ...], network: Network, target: Drawn, picture: Array) -> Drawn:
    key, own = jax.random.split(jax.random.wrap_key_data(target.key))

    def tap(layer: str, features: Any, head: Any = None) -> tuple[Any, Any]:
        step = _step(*features.shape[:2])
        least = jax.random.fold_in(own, layers.index(layer))
        offset = jax.random.randint(least, (2,), 0, step, jnp.int32)
        offset = jnp.minimum(offset, jnp.asarray(features.shape[:2], jnp.int32) - 1)
        grid = projected(_on_grid(features, offset), head).astype(jnp.float32)
        guides = jnp.moveaxis(_on_grid(jnp.moveaxis(target.whole[layer], 0, -1), offset), -1, 0)
        flat = grid.reshape(-1, grid.shape[-1])

        def of_pair(pair: tuple[Array, Array, Array]) -> Array:
            guide, samples, allowed = pair
            penalty = jnp.where(allowed, 0, jnp.inf).astype(jnp.float32)
            ours = _centred(flat, guide.reshape(-1))
            index = nearest(ours, samples, metric="cosine", penalty=penalty).indices[:, 0]
            return samples[index].reshape(grid.shape)

        wanted = lax.map(of_pair, (guides, target.samples[layer], target.allowed[layer]))
        return features, (wanted, guides, offset)

    found = network(picture, layers, tap)
    wanted, guides, offsets = ({layer: found[layer][part] for layer in layers} for part in range(3))
    return target._replace(
        wanted=wanted, guides=guides, offsets=offsets, key=jax.random.key_data(key)
    )

"""Train transformers for films, from still photographs alone.

A crop becomes a short film by smooth random motion, which is known exactly, with noise and changes
of light. Each frame is drawn with the last result warped to it and the mask of where that can be
trusted, and may not differ from it there (Ruder, Dosovitskiy & Brox 2018, "Artistic style transfer
for videos and spherical images", section 5). The first frame is drawn from nothing.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nst_jax.models import transformer
from nst_jax.models.stages import Parameters
from nst_jax.motion.warping import warp
from nst_jax.training.recipe import Recipe
from nst_jax.training.tasks import Crops, Frozen, StylizersLoss, Task

FRAMES = 3
MARGIN = 16  # pixels of a crop on each side from which things come into sight
_CELLS = 8  # along a side of the grids that motion and holes are drawn on
_SHIFT, _BEND, _WAVE = 10.0, 3.0, 1.0  # pixels from one frame to the next
_STILL = 0.25  # share of the films without motion, where noise alone makes strokes flicker
_HOLES = 1.2  # deviations above which nothing is carried, about a tenth of the pixels
_NOISE, _LIGHT = 0.03, 0.02
_UNITS = 255.0  # differences are measured in 0..255, as features are


class _Seen(NamedTuple):
    """The frames of films, and how each comes from the one before it.

    Attributes:
        clean: the frames, (t, b, h, w, 3).
        noisy: the same as a camera sees them.
        flow: to the frame before, (t, b, h, w, 2).
        trusted: where something is carried, (t, b, h, w, 1).
    """

    clean: Array
    noisy: Array
    flow: Array
    trusted: Array


@dataclass(frozen=True)
class CoherenceLoss:
    """The loss of a transformer for films: that of its stylizer, and the coherence of frames.

    Coherence is the mean squared difference from the last result, warped, where something is
    carried, in 0..255. The gradient goes through the later frame alone, so that frames are not
    drawn to suit what is to come.
    """

    stylizer: StylizersLoss

    def __call__(
        self, parameters: Parameters, frozen: Any, batch: Any
    ) -> tuple[Array, dict[str, Array]]:
        """Compute the loss of a batch: crops with their styles, motion, holes and seeds."""
        (crops, blend, among), (motion, holes, seeds) = batch
        spec, precision = self.stylizer.architecture, jnp.dtype(self.stylizer.precision)
        cast_ = {name: jnp.asarray(value, precision) for name, value in parameters.items()}
        seen = jax.tree.map(
            lambda x: jnp.moveaxis(x, 1, 0), jax.vmap(_film)(crops, motion, holes, seeds)
        )

        def drawn(last: Array, now: _Seen) -> tuple[Array, tuple[Array, Array]]:
            warped, inside = jax.vmap(warp)(last, now.flow)
            trusted = now.trusted * inside[..., None]
            image = jnp.concatenate([now.noisy, warped * trusted, trusted], -1)
            result = transformer.transform(spec, cast_, image, blend)
            apart = (trusted * jnp.square(result - warped)).mean()
            return lax.stop_gradient(result), (result, apart)

        _, (results, apart) = lax.scan(drawn, jnp.zeros_like(seen.clean[0]), cast(Any, seen))
        flat, clean = (x.reshape(-1, *x.shape[2:]) for x in (results, seen.clean))
        every = jnp.tile(among, (FRAMES, 1))
        total, terms = self.stylizer.measured(flat, clean, every, frozen.stylizer)
        coherence = frozen.weight * _UNITS**2 * apart[1:].mean()
        return total + coherence, terms | {"total": total + coherence, "coherence": coherence}


class _Frozen(NamedTuple):
    stylizer: Frozen
    weight: Array


def films(recipe: Recipe, task: Task) -> Task:
    """The task of training a transformer for films, from that of one for pictures.

    Args:
        recipe: settings, with `coherence_weight`.
        task: from `tasks.stylizers`, with an architecture that has `carried`.
    """

    def batch(step: int, crops: Crops) -> Any:
        rng = np.random.default_rng([recipe.seed, step, 2])
        return task.batch(step, crops), _random(rng, len(crops))

    frozen = _Frozen(task.frozen, jnp.float32(recipe.coherence_weight))
    return task._replace(loss=CoherenceLoss(cast(Any, task.loss)), frozen=frozen, batch=batch)


def _random(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Motion and holes on coarse grids, for each film and frame, and a seed for each film."""
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, _CELLS)] * 2), -1)
    steps = (count, FRAMES, _CELLS, _CELLS)
    motion = rng.uniform(-_SHIFT, _SHIFT, (count, 1, 1, 1, 2))
    motion = (
        motion + np.einsum("nij,yxj->nyxi", rng.normal(0, _BEND, (count, 2, 2)), places)[:, None]
    )
    motion = motion + rng.normal(0, _WAVE, (*steps, 2))
    motion = motion * (rng.random((count, 1, 1, 1, 1)) > _STILL)
    holes = rng.normal(size=(*steps, 1))
    seeds = rng.integers(0, 2**31, count)
    return motion.astype(np.float32), holes.astype(np.float32), seeds.astype(np.uint32)


def _film(
    crop: Float[Array, "s s 3"],
    motion: Float[Array, "t n n 2"],
    holes: Float[Array, "t n n 1"],
    seed: Array,
) -> _Seen:
    """The film of a crop, without its margin."""
    side = crop.shape[0]
    motion, holes = (
        jax.image.resize(x, (FRAMES, side, side, x.shape[-1]), "cubic") for x in (motion, holes)
    )

    # What a frame shows is looked up in the crop itself, so that films do not become blurred.
    def place(last: Array, flow: Array) -> tuple[Array, Array]:
        here = flow + warp(last, flow)[0]
        return here, here

    still = jnp.zeros_like(motion[0])
    _, places = lax.scan(place, still, motion.at[0].set(0))
    frames = jax.vmap(lambda p: warp(crop, p)[0])(places)
    light, level, noise = jax.random.split(jax.random.key(seed), 3)
    frames = frames * (1 + _LIGHT * jax.random.normal(light, (FRAMES, 1, 1, 1)))
    grain = _NOISE * jax.random.uniform(level) * jax.random.normal(noise, frames.shape)
    trusted = (holes < _HOLES).astype(crop.dtype).at[0].set(0)
    inner = (slice(None), slice(MARGIN, side - MARGIN), slice(MARGIN, side - MARGIN))
    every = _Seen(jnp.clip(frames, 0, 1), jnp.clip(frames + grain, 0, 1), motion, trusted)
    return jax.tree.map(lambda x: x[inner], every)

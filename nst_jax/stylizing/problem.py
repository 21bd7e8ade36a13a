"""A stylization as a minimisation: settings, network and pictures in, a pure problem out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.losses.objective import (
    Objective,
    Targets,
    Weights,
    content_targets,
    objective,
    random_directions,
    style_targets,
)
from nst_jax.losses.regions import Kept, Regions, at_layers, composed, require_all, stacked
from nst_jax.networks.base import Network, require_layers, require_size
from nst_jax.options import Color, ColorSpace
from nst_jax.pictures import color, resizing
from nst_jax.pictures.masks import resized
from nst_jax.solvers import solver
from nst_jax.solvers.schedules import Ramp
from nst_jax.stylizing import memory
from nst_jax.stylizing.settings import INITS, Settings
from nst_jax.typing import AnyArray

# The mean colour of ImageNet: what the Caffe networks see as zero, and jcjohnson's noise surrounds.
_MEAN_COLOUR = np.array([[[123.68, 116.779, 103.939]]], np.float32) / 255
_LEARNING_RATES = {"lbfgs": 1.0, "lbfgs-zoom": 1.0, "adam": 0.02}
# Plain gradients grow as the picture shrinks: stable at half of what diverges, at 64 px.
_SGD_RATE_PER_PIXEL = 1e-12
_HOLD = 10
# Of preconditioned steps. Twice the usual guess took 262 evaluations to a loss instead of 294; with
# 5 they diverge. Where steps may grow faster, half of six pictures blew up at the start.
_STRETCH = _GROWTH = 2.0
# Six times the guess with a hundred pairs: a tenth fewer evaluations to the same loss on six
# pictures. With 0.05 it is no fewer, with 0.15 steps blow up.
_WIDENING = 0.02

_content_targets = jax.jit(content_targets, static_argnums=0)
_style_targets = jax.jit(style_targets, static_argnums=0)
_drawn = jax.jit(lambda x, units: color.as_rgb(jnp.clip(x / units, 0, 1)))


class Factors(NamedTuple):
    """What the three terms are multiplied with on the way: schedules of their weights."""

    content: Ramp | Array
    style: Ramp | Array
    tv: Ramp | Array


class Arguments(NamedTuple):
    """The data of a stylization; `factors` are there only if a weight has a schedule."""

    network: Network
    targets: Targets
    weights: Weights
    factors: Factors | None = None


@dataclass(frozen=True)
class ScaledObjective:
    """The objective of an unknown in 0..units, as the optimiser sees it; hashable."""

    spec: Objective
    units: float

    def __call__(self, z: Array, args: "Arguments") -> tuple[Array, dict[str, Array]]:
        """What is minimised now, and the terms at their weights, of the picture `z / units`.

        An unknown of one channel stands for a grey picture.
        """
        network, targets, weights, factors = args
        total, terms = objective(self.spec, color.as_rgb(z / self.units), network, targets, weights)
        if factors is None:
            return total, terms
        return sum((f * terms[k] for k, f in factors._asdict().items()), jnp.zeros(())), terms


class Problem(NamedTuple):
    """A stylization as a minimisation: arguments of `loop.run`, without side effects."""

    fn: ScaledObjective
    optimizer: solver.Optimizer
    x: Float[Array, "h w c"]
    args: Arguments
    learning_rate: float | Ramp
    content: Float[Array, "h w 3"]
    color: Color
    color_space: ColorSpace

    def picture(self, x: Float[Array, "h w c"]) -> Float[Array, "h w 3"]:
        """The picture that an unknown in 0..units stands for, in [0, 1].

        Its colours are put back, and what is kept is in its place.
        """
        drawn = color.restored(_drawn(x, self.fn.units), self.content, self.color, self.color_space)
        kept = self.args.targets.kept
        return drawn if kept is None else composed(drawn, Kept(kept.mask, self.content))


def prepare(
    settings: Settings,
    network: Network,
    content: Float[AnyArray, "h w 3"],
    style: Float[AnyArray, "_ _ 3"] | Sequence[Float[AnyArray, "_ _ 3"]],
    start: Float[AnyArray, "h3 w3 3"] | None = None,
    regions: Regions | None = None,
    *,
    targets: Targets | None = None,
) -> Problem:
    """The minimisation that `settings` ask for, with its targets computed.

    Args:
        settings: what is wanted.
        network: the feature extractor, with its own options.
        content: RGB in [0, 1], at the size of the result.
        style: RGB in [0, 1], at the size that its strokes should have; or several of them, of any
            sizes.
        start: the picture to start from if `settings.init` is a picture; scaled to cover the
            content.
        regions: what is drawn to what, and what is kept, from `regions.match`; they bring the
            weights of the styles.
        targets: those of an earlier problem, with the same network, pictures and layers.

    Raises:
        InputError: layers that the network lacks, pictures too small, too little memory, blend
            weights for another number of styles, a region that is empty.
    """
    if start is None and settings.init not in INITS:
        raise InputError(f"init is '{settings.init}', but there is no picture: give start.")
    spec = Objective(
        # Layers of weight zero cost nothing.
        content_layers=tuple(k for k, w in settings.content_layers.items() if w),
        style_layers=tuple(k for k, w in settings.style_layers.items() if w),
        normalization=settings.normalization,
        statistic=settings.statistic,
        unit_gradients=settings.normalize_gradients,
    )
    require_layers(network, spec.layers)
    # With a dtype JAX takes up an array of numpy's without compiling anything.
    content = jnp.asarray(content, jnp.float32)
    given = style if isinstance(style, list | tuple) else [style]
    styles = [jnp.asarray(s, jnp.float32) for s in given]
    blend = blend_weights(settings, len(styles)) if regions is None else regions.blend
    require_size(network, content, spec.layers, "content picture")
    for one in styles:
        require_size(network, one, spec.style_layers, "style picture")
    height, width, _ = content.shape
    settings = memory.fitted(settings, network, spec.layers, size_of(content, styles, regions))
    spec = replace(spec, tile=settings.tile or 0)
    choice, space = settings.color, settings.color_space
    styles = [color.prepared_style(one, content, choice, space) for one in styles]
    seen = color.prepared_content(content, choice, space)
    units = settings.units
    x = initial_picture(settings, seen, styles[0] if start is None else start)
    if choice == "luminance":
        # With three channels the optimiser would work in colours that nobody gets to see.
        x = color.grey(x, space)
    # Before the targets, which keep the processors busy while Python goes on.
    x = x * units
    if targets is None:
        directions = random_directions(spec, network, settings.seed)
        targets = Targets(
            _content_targets(spec, network, seen),
            _sources(spec, network, styles, regions, directions),
            *_in_picture(spec, network, seen, regions),
            directions,
        )
    weights = Weights(
        settings.content_weight,
        settings.style_weight,
        settings.tv_weight,
        {k: settings.content_layers[k] for k in spec.content_layers},
        {k: settings.style_layers[k] for k in spec.style_layers},
        blend,
    )
    rate = settings.learning_rate
    if rate is None:
        rate = _LEARNING_RATES.get(settings.optimizer, _SGD_RATE_PER_PIXEL * height * width)
    # Learning rates are stated for pictures in [0, 1]; the optimiser sees 0..units.
    rate *= {"adam": units, "sgd": units**2}.get(settings.optimizer, 1.0)
    # Float arrays, not Python numbers, whose weak types would compile the loop a second time; from
    # numpy, as above.
    weights = jax.tree.map(lambda w: jnp.asarray(np.asarray(w, np.float32), jnp.float32), weights)
    args = Arguments(network, targets, weights, _factors(settings))
    rate = _ramp(settings, "learning_rate", rate) or rate
    fn = ScaledObjective(spec, units)
    return Problem(fn, optimizer_of(settings), x, args, rate, content, choice, space)


def size_of(content: AnyArray, styles: Sequence[AnyArray], regions: Regions | None) -> memory.Size:
    """What memory depends on, of these pictures."""
    height, width, _ = content.shape
    shapes = tuple((style.shape[0], style.shape[1]) for style in styles)
    return memory.Size(height, width, shapes, 0 if regions is None else len(regions.labels))


def optimizer_of(settings: Settings) -> solver.Optimizer:
    """The static part of the solver that the settings ask for."""
    first_order = not settings.optimizer.startswith("lbfgs")
    return solver.Optimizer(
        method=settings.optimizer,
        # Nothing that is of no use may make another program of it.
        history=settings.pairs or 1,
        precondition=0.0 if first_order else settings.precondition,
        stretch=_STRETCH,
        widening=_WIDENING,
        growth=_GROWTH,
        momentum=settings.momentum,
        bounds=(0.0, settings.units) if first_order else None,
        average=settings.average,
    )


def _factors(settings: Settings) -> Factors | None:
    # L-BFGS loses a pair of gradients at each change: it has one in ten evaluations.
    hold = _HOLD if settings.optimizer.startswith("lbfgs") else 1
    ramps = {k: _ramp(settings, f"{k}_weight", 1.0, hold) for k in Factors._fields}
    if not any(ramps.values()):
        return None
    return Factors(**{k: ramp or jnp.ones(()) for k, ramp in ramps.items()})


def _ramp(settings: Settings, option: str, value: float, hold: int = 1) -> Ramp | None:
    schedule = settings.scheduled(option)
    if schedule is None:
        return None
    start, end, length = (
        jnp.asarray(v, jnp.float32)
        for v in (
            value * schedule.start,
            value * schedule.end,
            max(schedule.part * settings.iterations, 1),
        )
    )
    return Ramp(schedule.course, start, end, length, jnp.asarray(hold, jnp.int32))


def _sources(
    spec: Objective,
    network: Network,
    styles: Sequence[Array],
    regions: Regions | None,
    directions: dict[str, Array] | None,
) -> dict[str, Any]:
    """What the styles, or their regions, measure; stacked where there are several or regions."""
    if regions is None and len(styles) == 1:
        return _style_targets(spec, network, styles[0], None, directions)
    found: list[dict[str, Any]] = []
    maps = (None,) * len(styles) if regions is None else regions.styles
    for style, masks in zip(styles, maps, strict=True):
        if masks is None:
            whole = _style_targets(spec, network, style, None, directions)
            found.append(jax.tree.map(lambda t: t[None], whole))
        else:
            height, width, _ = style.shape
            guides = at_layers(stacked(masks, (height, width)), network, spec.style_layers)
            require_all(guides, masks, "style")
            found.append(_style_targets(spec, network, style, guides, directions))
    return jax.tree.map(lambda *each: jnp.concatenate(each), *found)


def _in_picture(
    spec: Objective, network: Network, content: Array, regions: Regions | None
) -> tuple[dict[str, Array] | None, Kept | None]:
    """Where the regions lie at each layer, and what of the content is kept."""
    if regions is None:
        return None, None
    height, width, _ = content.shape
    guides = at_layers(regions.drawn((height, width)), network, spec.style_layers)
    require_all(guides, regions.labels, "content")
    if regions.keep is None:
        return guides, None
    return guides, Kept(jnp.asarray(resized(regions.keep, (height, width))), content)


def blend_weights(settings: Settings, styles: int) -> Float[np.ndarray, " k"] | None:
    """The weights of so many styles, normalised to sum 1; None for a single style.

    Raises:
        InputError: weights for another number of styles.
    """
    given = settings.style_blend or (1.0,) * styles
    if len(given) != styles:
        raise InputError(
            f"style_blend has {len(given)} weights, but the number of style pictures is {styles}: "
            "give one weight for each."
        )
    if styles == 1:
        return None
    return np.asarray(given, np.float32) / np.float32(sum(given))


def initial_picture(
    settings: Settings, content: Float[Array, "h w 3"], other: Float[AnyArray, "h2 w2 3"]
) -> Float[Array, "h w 3"]:
    """Where the optimiser starts: the content, white noise, a blend of both, or `other`."""
    if settings.init == "content":
        return content
    if settings.init in ("noise", "blend"):
        noise = jax.random.normal(jax.random.key(settings.seed), content.shape)
        noise = jnp.clip(_MEAN_COLOUR + settings.noise_scale * noise, 0, 1)
        share = 1.0 if settings.init == "noise" else settings.init_noise
        return (1 - share) * content + share * noise
    height, width, _ = content.shape
    return jnp.asarray(resizing.cover(np.asarray(other), (height, width)))

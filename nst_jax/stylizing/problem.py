"""A stylization as a minimisation: settings, network and pictures in, a pure problem out."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.losses.objective import Objective, Targets, Weights, objective, targets_of
from nst_jax.losses.regions import Kept, Regions, composed
from nst_jax.losses.term import Scene
from nst_jax.networks.base import Network, require_layers, require_size
from nst_jax.options import Color, ColorSpace
from nst_jax.pictures import color, resizing
from nst_jax.pictures.masks import resized
from nst_jax.solvers.chunks import Renewal
from nst_jax.solvers.optimizer import Optimizer, keeps_curvature
from nst_jax.solvers.schedules import Ramp
from nst_jax.stylizing import memory
from nst_jax.stylizing.settings import INITS, Settings
from nst_jax.stylizing.terms import terms_of, weights_of
from nst_jax.typing import AnyArray

# The mean colour of ImageNet: what the Caffe networks see as zero, and jcjohnson's noise surrounds.
_MEAN_COLOUR = np.array([[[123.68, 116.779, 103.939]]], np.float32) / 255
_ADAM_RATE = 0.02
# Plain gradients grow as the picture shrinks: stable at half of what diverges, at 64 px.
_SGD_RATE_PER_PIXEL = 1e-12
_HOLD = 10
# Of preconditioned steps. Twice the usual guess took 262 evaluations to a loss instead of 294; with
# 5 they diverge. Where steps may grow faster, half of six pictures blew up at the start.
_STRETCH = _GROWTH = 2.0
# Six times the guess with a hundred pairs: a tenth fewer evaluations to the same loss on six
# pictures. With 0.05 it is no fewer, with 0.15 steps blow up.
_WIDENING = 0.02

_drawn = jax.jit(lambda x, units: color.as_rgb(jnp.clip(x / units, 0, 1)))


class Arguments(NamedTuple):
    """The data of a stylization.

    `factors` are by what the terms are multiplied on the way, schedules of their weights; None
    where no weight has a schedule.
    """

    network: Network
    targets: Targets
    weights: Weights
    factors: dict[str, Any] | None = None


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
        return sum((f * terms[k] for k, f in factors.items()), jnp.zeros(())), terms


class Problem(NamedTuple):
    """A stylization as a minimisation: arguments of `loop.run`, without side effects.

    `scene` is what the terms made their targets of, `content` the content in its own colours.
    """

    fn: ScaledObjective
    optimizer: Optimizer
    x: Float[Array, "h w c"]
    args: Arguments
    learning_rate: float | Ramp
    scene: Scene
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

    @property
    def renewal(self) -> Renewal | None:
        """How targets change on the way, where they do."""
        every = math.gcd(*(term.renew_every for term in self.fn.spec.terms))
        return Renewal(every, self.renewed) if every else None

    def renewed(self, x: Float[Array, "h w c"], args: Arguments, evaluations: int) -> Arguments:
        """The data after so many evaluations, at which the unknown is `x`."""
        picture = composed(color.as_rgb(x / self.fn.units), args.targets.kept)
        anew = {
            term.name: term.renewed(self.scene, args.targets.terms[term.name], picture)
            for term in self.fn.spec.terms
            if term.renew_every and evaluations % term.renew_every == 0
        }
        return args._replace(targets=args.targets._replace(terms=args.targets.terms | anew))


def prepare(
    settings: Settings,
    network: Network,
    content: Float[AnyArray, "h w 3"],
    style: Float[AnyArray, "_ _ 3"] | Sequence[Float[AnyArray, "_ _ 3"]],
    start: Float[AnyArray, "h3 w3 3"] | None = None,
    regions: Regions | None = None,
    *,
    targets: Targets | None = None,
    also: Collection[str] = (),
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
        also: terms that are part of the program even where they weigh nothing.

    Raises:
        InputError: layers that the network lacks, pictures too small, too little memory, blend
            weights for another number of styles, a region that is empty.
    """
    if start is None and settings.init not in INITS:
        raise InputError(f"init is '{settings.init}', but there is no picture: give start.")
    spec = Objective(terms_of(settings, also), settings.normalize_gradients)
    # With a dtype JAX takes up an array of numpy's without compiling anything.
    content = jnp.asarray(content, jnp.float32)
    given = style if isinstance(style, list | tuple) else [style]
    styles = [jnp.asarray(s, jnp.float32) for s in given]
    blend = blend_weights(settings, len(styles)) if regions is None else regions.blend
    _require_fit(spec, network, content, styles)
    settings = memory.fitted(settings, network, spec.layers, size_of(content, styles, regions))
    spec = replace(spec, tile=settings.tile or 0)
    scene = _scene(settings, network, content, styles, regions)
    # Before the targets, which keep the processors busy while Python goes on.
    x = _unknown(settings, scene, start)
    if targets is None:
        targets = targets_of(spec, scene, _kept(scene))
    weights = weights_of(settings, spec.terms, blend)
    return Problem(
        ScaledObjective(spec, settings.scale),
        optimizer_of(settings),
        x,
        Arguments(network, targets, weights, _factors(settings, spec)),
        _learning_rate(settings, content),
        scene,
        content,
        settings.color,
        settings.color_space,
    )


def _require_fit(
    spec: Objective, network: Network, content: Array, styles: Sequence[Array]
) -> None:
    require_layers(network, spec.layers)
    require_size(network, content, spec.layers, "content picture")
    compared = [k for term in spec.terms if "style" in term.follows for k in term.layers]
    for one in styles:
        require_size(network, one, compared, "style picture")


def _scene(
    settings: Settings,
    network: Network,
    content: Array,
    styles: Sequence[Array],
    regions: Regions | None,
) -> Scene:
    """The pictures as the losses are to see them."""
    choice, space = settings.color, settings.color_space
    return Scene(
        network,
        color.prepared_content(content, choice, space),
        tuple(color.prepared_style(style, content, choice, space) for style in styles),
        regions,
        settings.seed,
        settings.tile or 0,
    )


def _unknown(
    settings: Settings, scene: Scene, start: Float[AnyArray, "_ _ 3"] | None
) -> Float[Array, "h w c"]:
    """Where the optimiser starts, in 0..units."""
    x = initial_picture(settings, scene.content, scene.styles[0] if start is None else start)
    if settings.color == "luminance":
        # With three channels the optimiser would work in colours that nobody gets to see.
        x = color.grey(x, settings.color_space)
    return x * settings.scale


def _kept(scene: Scene) -> Kept | None:
    """What of the content stays as it is."""
    if scene.regions is None or scene.regions.keep is None:
        return None
    height, width, _ = scene.content.shape
    return Kept(jnp.asarray(resized(scene.regions.keep, (height, width))), scene.content)


def _learning_rate(settings: Settings, content: Array) -> float | Ramp:
    """In the optimiser's units, where learning rates are stated for pictures in [0, 1]."""
    height, width, _ = content.shape
    usual, unit = 1.0, 1.0
    if settings.optimizer == "adam":
        usual, unit = _ADAM_RATE, settings.scale
    elif settings.optimizer == "sgd":
        usual, unit = _SGD_RATE_PER_PIXEL * height * width, settings.scale**2
    rate = unit * (usual if settings.learning_rate is None else settings.learning_rate)
    return _ramp(settings, "learning_rate", rate) or rate


def size_of(content: AnyArray, styles: Sequence[AnyArray], regions: Regions | None) -> memory.Size:
    """What memory depends on, of these pictures."""
    height, width, _ = content.shape
    shapes = tuple((style.shape[0], style.shape[1]) for style in styles)
    return memory.Size(height, width, shapes, 0 if regions is None else len(regions.labels))


def optimizer_of(settings: Settings) -> Optimizer:
    """The static part of the solver that the settings ask for."""
    first_order = not settings.is_lbfgs
    found = Optimizer(
        method=settings.optimizer,
        # Nothing that is of no use may make another program of it.
        history=settings.pairs or 1,
        precondition=0.0 if first_order else settings.precondition,
        stretch=_STRETCH,
        widening=_WIDENING,
        growth=_GROWTH,
        momentum=settings.momentum,
        bounds=(0.0, settings.scale) if first_order else None,
        average=settings.average,
    )
    return replace(found, bounds=None) if keeps_curvature(found) else found


def _factors(settings: Settings, spec: Objective) -> dict[str, Any] | None:
    # L-BFGS loses a pair of gradients at each change: it has one in ten evaluations.
    hold = _HOLD if settings.is_lbfgs else 1
    names = [term.name for term in spec.terms]
    ramps = {name: _ramp(settings, f"{name}_weight", 1.0, hold) for name in names}
    if not any(ramps.values()):
        return None
    return {name: ramp or jnp.ones(()) for name, ramp in ramps.items()}


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
    settings: Settings, content: Float[AnyArray, "h w 3"], other: Float[AnyArray, "h2 w2 3"]
) -> Float[Array, "h w 3"]:
    """Where the optimiser starts: the content, white noise, a blend of both, or `other`."""
    if settings.init == "content":
        return jnp.asarray(content)
    if settings.init in ("noise", "blend"):
        noise = jax.random.normal(jax.random.key(settings.seed), content.shape)
        noise = jnp.clip(_MEAN_COLOUR + settings.noise_scale * noise, 0, 1)
        share = 1.0 if settings.init == "noise" else settings.init_noise
        return jnp.asarray((1 - share) * content + share * noise)
    height, width, _ = content.shape
    return jnp.asarray(resizing.cover(np.asarray(other), (height, width)))

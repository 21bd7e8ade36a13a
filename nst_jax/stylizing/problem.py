"""Turn settings, network and pictures into a minimisation problem without side effects."""

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

# The mean colour of ImageNet: zero for the Caffe networks, and the centre of jcjohnson's noise.
_MEAN_COLOUR = np.array([[[123.68, 116.779, 103.939]]], np.float32) / 255
_ADAM_RATE = 0.02
# Per pixel, since gradients grow as the picture shrinks. Half of the rate that diverges at 64 px.
_SGD_RATE_PER_PIXEL = 1e-12
_HOLD = 10
# For preconditioned L-BFGS. With twice the usual first guess, a loss took 262 evaluations instead
# of 294; with 5 times it diverged. With a larger limit on the growth of steps, half of six pictures
# blew up at the start.
_STRETCH = _GROWTH = 2.0
# Share by which each pair widens the guess: with _STRETCH, to six times the usual one at a hundred
# pairs. On six pictures this took a tenth fewer evaluations to the same loss. With 0.05 there are
# no fewer; with 0.15 steps blow up.
_WIDENING = 0.02

_drawn = jax.jit(lambda x, units: color.as_rgb(jnp.clip(x / units, 0, 1)))


class Arguments(NamedTuple):
    """The data of the minimised function.

    Attributes:
        network: the feature extractor.
        targets: what the picture is compared with.
        weights: the weights of terms and layers.
        factors: for each term, the factor on its weight, which may follow a schedule; None if no
            weight has a schedule.
    """

    network: Network
    targets: Targets
    weights: Weights
    factors: dict[str, Any] | None = None


@dataclass(frozen=True)
class ScaledObjective:
    """The objective as a function of the unknown z, a picture in 0..units; hashable."""

    spec: Objective
    units: float

    def __call__(self, z: Array, args: "Arguments") -> tuple[Array, dict[str, Array]]:
        """Return the value to minimise and the weighted terms for the picture `z / units`.

        Schedules change only the value to minimise; the terms have their final weights. If z has
        one channel, it stands for a grey picture.
        """
        network, targets, weights, factors = args
        total, terms = objective(self.spec, color.as_rgb(z / self.units), network, targets, weights)
        if factors is None:
            return total, terms
        return sum((f * terms[k] for k, f in factors.items()), jnp.zeros(())), terms


class Problem(NamedTuple):
    """A stylization as a minimisation problem; it has no side effects.

    Attributes:
        fn: the function to minimise.
        optimizer: the static part of the solver.
        x: the starting point, in 0..units.
        args: the data of the function.
        learning_rate: in the units of `x`, constant or with a schedule.
        scene: the inputs from which the terms made their targets.
        content: the content picture in its own colours, RGB in [0, 1].
        color: how colours are kept or matched.
        color_space: the colour space for this.
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
        """Turn an unknown in 0..units into a picture in [0, 1].

        Colours of the content are restored if asked for, and kept pixels are put in.
        """
        drawn = color.restored(_drawn(x, self.fn.units), self.content, self.color, self.color_space)
        kept = self.args.targets.kept
        return drawn if kept is None else composed(drawn, Kept(kept.mask, self.content))

    @property
    def renewal(self) -> Renewal | None:
        """How targets are renewed during the run; None if no term renews its target."""
        every = math.gcd(*(term.renew_every for term in self.fn.spec.terms))
        return Renewal(every, self.renewed) if every else None

    def renewed(self, x: Float[Array, "h w c"], args: Arguments, evaluations: int) -> Arguments:
        """Renew the targets that are due after so many evaluations, at the unknown `x`."""
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
    """Make the minimisation problem that the settings describe, and compute its targets.

    Args:
        settings: the settings.
        network: the feature extractor, with its own options.
        content: the content picture, RGB in [0, 1], at the size of the result.
        style: the style picture, RGB in [0, 1], or several of any sizes. Its size determines the
            size of the strokes.
        start: the picture to start from if `settings.init` is a picture; scaled and cropped to the
            size of the content.
        regions: the regions and the kept pixels, from `regions.match`. They include the weights of
            the styles.
        targets: targets of an earlier problem with the same network, pictures and layers; None
            computes them.
        also: names of terms that are part of the program even if their weight is zero.

    Raises:
        InputError: the network lacks a layer, a picture is too small, there is too little memory,
            the blend weights are for another number of styles, or a region is empty.
    """
    if start is None and settings.init not in INITS:
        raise InputError(f"init is '{settings.init}', but there is no picture: give start.")
    spec = Objective(terms_of(settings, also), settings.normalize_gradients)
    # With a dtype, JAX converts a numpy array without compiling anything.
    content = jnp.asarray(content, jnp.float32)
    given = style if isinstance(style, list | tuple) else [style]
    styles = [jnp.asarray(s, jnp.float32) for s in given]
    blend = blend_weights(settings, len(styles)) if regions is None else regions.blend
    _require_fit(spec, network, content, styles)
    settings = memory.fitted(settings, network, spec.layers, size_of(content, styles, regions))
    spec = replace(spec, tile=settings.tile or 0)
    scene = _scene(settings, network, content, styles, regions)
    # Before the targets: they keep the processors busy while Python continues.
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
    """The pictures as the losses see them, with colours prepared."""
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
    """The starting point of the optimiser, in 0..units."""
    x = initial_picture(settings, scene.content, scene.styles[0] if start is None else start)
    if settings.color == "luminance":
        # With three channels the optimiser would work on colours that the result does not show.
        x = color.grey(x, settings.color_space)
    return x * settings.scale


def _kept(scene: Scene) -> Kept | None:
    """The pixels of the content that stay as they are; None if there are none."""
    if scene.regions is None or scene.regions.keep is None:
        return None
    height, width, _ = scene.content.shape
    return Kept(jnp.asarray(resized(scene.regions.keep, (height, width))), scene.content)


def _learning_rate(settings: Settings, content: Array) -> float | Ramp:
    """The learning rate in the optimiser's units; the settings give it for pictures in [0, 1]."""
    height, width, _ = content.shape
    usual, unit = 1.0, 1.0
    if settings.optimizer == "adam":
        usual, unit = _ADAM_RATE, settings.scale
    elif settings.optimizer == "sgd":
        usual, unit = _SGD_RATE_PER_PIXEL * height * width, settings.scale**2
    rate = unit * (usual if settings.learning_rate is None else settings.learning_rate)
    return _ramp(settings, "learning_rate", rate) or rate


def size_of(content: AnyArray, styles: Sequence[AnyArray], regions: Regions | None) -> memory.Size:
    """The sizes of these pictures, for the estimate of memory."""
    height, width, _ = content.shape
    shapes = tuple((style.shape[0], style.shape[1]) for style in styles)
    return memory.Size(height, width, shapes, 0 if regions is None else len(regions.labels))


def optimizer_of(settings: Settings) -> Optimizer:
    """The static part of the solver, from the settings."""
    first_order = not settings.is_lbfgs
    found = Optimizer(
        method=settings.optimizer,
        # Options without effect get a fixed value, so that they do not lead to another program.
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
    # L-BFGS loses a curvature pair at each change, so weights change only every ten evaluations.
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
    """The weights of the styles, normalised to sum 1; None for a single style.

    Raises:
        InputError: `style_blend` has weights for another number of styles.
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
    """The picture to start from: the content, white noise, a blend of both, or `other`."""
    if settings.init == "content":
        return jnp.asarray(content)
    if settings.init in ("noise", "blend"):
        noise = jax.random.normal(jax.random.key(settings.seed), content.shape)
        noise = jnp.clip(_MEAN_COLOUR + settings.noise_scale * noise, 0, 1)
        share = 1.0 if settings.init == "noise" else settings.init_noise
        return jnp.asarray((1 - share) * content + share * noise)
    height, width, _ = content.shape
    return jnp.asarray(resizing.cover(np.asarray(other), (height, width)))

"""Turn settings, network and pictures into a minimisation problem without side effects."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.losses.objective import Objective, Targets, Weights, objective, targets_of
from nst_jax.losses.regions import Kept, Regions, composed
from nst_jax.losses.term import Earlier, Scene
from nst_jax.networks.base import Network, require_layers, require_size
from nst_jax.options import Color, ColorSpace
from nst_jax.pictures import color, transparency
from nst_jax.pictures.masks import resized
from nst_jax.pictures.palette import recolored
from nst_jax.programs import jit
from nst_jax.solvers.chunks import Renewal
from nst_jax.solvers.optimizer import Optimizer
from nst_jax.solvers.schedules import Ramp
from nst_jax.stylizing import memory
from nst_jax.stylizing.optimizing import factors_of, learning_rate_of, optimizer_of
from nst_jax.stylizing.palettes import palettes_of
from nst_jax.stylizing.settings import INITS, Settings
from nst_jax.stylizing.starts import unknown
from nst_jax.stylizing.terms import blend_weights, terms_of, weights_of
from nst_jax.typing import AnyArray


@jit()
def _drawn(x: Float[Array, "h w c"], units: Any) -> Float[Array, "h w 3"]:
    return color.as_rgb(jnp.clip(x / units, 0, 1))


def _shown(
    x: Float[Array, "h w c"],
    units: float,
    content: Float[Array, "h w 3"],
    scene: Scene,
    how: Color,
    space: ColorSpace,
    kept: Kept | None,
    blend: Any,
) -> Float[Array, "h w 3"]:
    drawn = _drawn(x, units)
    if how == "palette-after":
        drawn = recolored(drawn, content, *palettes_of(scene, blend), space)
    else:
        drawn = color.restored(drawn, content, how, space)
    return drawn if kept is None else composed(drawn, Kept(kept.mask, content))


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
        kept, blend = self.args.targets.kept, self.args.weights.blend
        return _shown(
            x,
            self.fn.units,
            self.content,
            self.scene,
            self.color,
            self.color_space,
            kept,
            blend,
        )

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
    names: Mapping[str, Any] | None = None,
    earlier: Earlier | None = None,
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
        names: the file names of `content` and `style`, for error messages.
        earlier: what was drawn of earlier frames, if the content is a frame of a film.

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
    _require_fit(spec, network, content, styles, names or {})
    settings = memory.fitted(settings, network, spec.layers, size_of(content, styles, regions))
    spec = replace(spec, tile=settings.tile or 0)
    scene = _scene(settings, network, content, styles, regions, earlier)
    # Before the targets: they keep the processors busy while Python continues.
    x = unknown(settings, scene, start, None if regions else blend)
    if targets is None:
        targets = targets_of(spec, scene, _kept(scene))
    weights = weights_of(settings, spec.terms, blend)
    return Problem(
        ScaledObjective(spec, settings.scale),
        optimizer_of(settings),
        x,
        Arguments(network, targets, weights, factors_of(settings, spec)),
        learning_rate_of(settings, content),
        scene,
        content,
        settings.color,
        settings.color_space,
    )


def begun(
    settings: Settings,
    network: Network,
    content: Float[AnyArray, "h w 3"],
    styles: Sequence[Float[AnyArray, "_ _ 3"]],
    start: Float[AnyArray, "h3 w3 3"] | None = None,
    regions: Regions | None = None,
) -> Float[Array, "h w 3"]:
    """The picture from which a minimisation would start, as a result; see `prepare`."""
    content = jnp.asarray(content, jnp.float32)
    styles = [jnp.asarray(style, jnp.float32) for style in styles]
    scene = _scene(settings, network, content, styles, regions, None)
    blend = None if regions else blend_weights(settings, len(styles))
    x = unknown(settings, scene, start, blend)
    kept, space = _kept(scene), settings.color_space
    return _shown(x, settings.scale, content, scene, settings.color, space, kept, blend)


def _require_fit(
    spec: Objective,
    network: Network,
    content: Array,
    styles: Sequence[Array],
    names: Mapping[str, Any],
) -> None:
    def name(what: str, n: int = 0) -> str:
        given = names.get(what)
        own = given[n] if isinstance(given, list) else given
        return f"{what} picture {own!r}" if own else f"{what} picture"

    require_layers(network, spec.layers)
    require_size(network, content, spec.layers, name("content"))
    compared = [k for term in spec.terms if "style" in term.follows for k in term.layers]
    for n, one in enumerate(styles):
        require_size(network, one, compared, name("style", n))


def _scene(
    settings: Settings,
    network: Network,
    content: Array,
    styles: Sequence[Array],
    regions: Regions | None,
    earlier: Earlier | None,
) -> Scene:
    """The pictures as the losses see them, with colours prepared."""
    choice, space = settings.color, settings.color_space

    def prepared(n: int, style: Array) -> Array:
        hidden = regions and regions.hidden(n, (style.shape[0], style.shape[1]))
        if hidden is None or choice in ("none", "luminance-after", "palette-after"):
            return color.prepared_style(style, content, choice, space)
        # Only colours that belong to the style are matched.
        visible = transparency.repeated(np.asarray(style), hidden)
        found = color.prepared_style(visible, content, choice, space)
        return jnp.asarray(transparency.flattened(np.asarray(found), hidden))

    return Scene(
        network,
        color.prepared_content(content, choice, space),
        tuple(prepared(n, style) for n, style in enumerate(styles)),
        regions,
        settings.seed,
        settings.tile or 0,
        earlier and Earlier(*(jnp.asarray(part, jnp.float32) for part in earlier)),
    )


def _kept(scene: Scene) -> Kept | None:
    """The pixels of the content that stay as they are; None if there are none."""
    if scene.regions is None or scene.regions.keep is None:
        return None
    height, width, _ = scene.content.shape
    return Kept(jnp.asarray(resized(scene.regions.keep, (height, width))), scene.content)


def size_of(content: AnyArray, styles: Sequence[AnyArray], regions: Regions | None) -> memory.Size:
    """The sizes of these pictures, for the estimate of memory."""
    height, width, _ = content.shape
    shapes = tuple((style.shape[0], style.shape[1]) for style in styles)
    return memory.Size(height, width, shapes, 0 if regions is None else len(regions.labels))

"""stylize(): pictures in, a Stylization out. Side effects (files, progress, fetching) live here."""

import inspect
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm.auto import tqdm

from nst_jax import images, loop, memory, solvers
from nst_jax.errors import InputError
from nst_jax.images import Picture, PictureSource
from nst_jax.networks.load import load_network
from nst_jax.networks.vgg import Network, Options, require_layers, require_size
from nst_jax.objectives import (
    Objective,
    Targets,
    Weights,
    content_targets,
    objective,
    style_targets,
)
from nst_jax.result import Stylization
from nst_jax.settings import CHOICES, INITS, PICTURE, PRESETS, Settings, resolve
from nst_jax.typing import AnyArray

# The mean colour of ImageNet: what the Caffe networks see as zero, and jcjohnson's noise surrounds.
_MEAN_COLOUR = np.array([[[123.68, 116.779, 103.939]]], np.float32) / 255
_TERMS = ("total", "content", "style", "tv")
_LEARNING_RATES = {"lbfgs": 1.0, "lbfgs-zoom": 1.0, "adam": 0.02}
# Plain gradients grow as the picture shrinks: stable at half of what diverges, at 64 px.
_SGD_RATE_PER_PIXEL = 1e-12

_content_targets = jax.jit(content_targets, static_argnums=0)
_style_targets = jax.jit(style_targets, static_argnums=0)


@dataclass(frozen=True)
class ScaledObjective:
    """The objective of an unknown in 0..units, as the optimiser sees it; hashable."""

    spec: Objective
    units: float

    def __call__(self, z: Array, args: tuple[Network, Targets, Weights]) -> tuple[Array, dict]:
        """Total and terms of the picture `z / units`."""
        return objective(self.spec, z / self.units, *args)


class Problem(NamedTuple):
    """A stylization as a minimisation: arguments of `loop.run`, without side effects."""

    fn: ScaledObjective
    optimizer: solvers.Optimizer
    x: Float[Array, "h w 3"]
    args: tuple[Network, Targets, Weights]
    learning_rate: float


def stylize(
    content: PictureSource,
    style: PictureSource,
    *,
    preset: str = "default",
    network: str | os.PathLike | Network = "auto",
    offline: bool | None = None,
    progress: bool = True,
    callback: Callable[[loop.Progress], bool | None] | None = None,
    **options: Any,
) -> Stylization:
    """Draw the content of one picture in the style of another (Gatys et al. 2016).

    Args:
        content: path, bytes, PIL picture, numpy (uint8, or float in [0, 1]) or JAX array.
        style: likewise.
        preset: `default`, or named after a paper or peer: `gatys`, `paper`, `neural-style`.
        network: `vgg19`, `vgg16`, `vgg19-lite`, a weight file, `auto`, or a network object, which
            brings its own pooling, padding, precision and remat.
        offline: never fetch weights; None leaves it to the environment (`NST_JAX_OFFLINE`).
        progress: show a bar with loss and time left.
        callback: called with a `Progress` after each chunk of evaluations (about half a second),
            its `x` the best picture so far, in [0, 1]; a true result stops the run.
        **options: the fields of `Settings`, listed below; what is not given is the preset's. `init`
            may also be a picture.

    Returns:
        A `Stylization`; after Ctrl-C with the best picture so far.

    Raises:
        InputError: anything that cannot be used, in a sentence that says what to do.
        KeyboardInterrupt: Ctrl-C before there was a picture.
    """
    start = options.get("init")
    if isinstance(start, os.PathLike):
        options["init"] = os.fspath(start)
    elif start is not None and not isinstance(start, str):
        options["init"] = PICTURE
    settings = _resolve(preset, network, options)
    pictures = _read(settings, content, style, start)
    if isinstance(network, str | os.PathLike):
        how = Options(settings.pooling, settings.padding, settings.precision, settings.remat)
        network = load_network(network, how, offline=offline, progress=progress)
    start = pictures.start and pictures.start.rgb
    problem = prepare(settings, network, pictures.content.rgb, pictures.style.rgb, start)

    bar = tqdm(total=settings.iterations, disable=not progress, unit="eval", desc="stylize")

    def report(now: loop.Progress) -> bool | None:
        bar.set_postfix(loss=f"{now.losses['total']:.4g}", refresh=False)
        bar.update(min(now.evaluations, settings.iterations) - bar.n)
        return callback and callback(replace(now, x=jnp.clip(now.x / settings.units, 0, 1)))

    try:
        with bar:
            outcome = loop.run(
                problem.fn,
                problem.optimizer,
                problem.x,
                problem.args,
                learning_rate=problem.learning_rate,
                iterations=settings.iterations,
                report=report,
            )
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InputError(
            "The device ran out of memory: lower size or history, set remat, or use optimizer "
            "'adam'."
        ) from error
    return Stylization(
        image=np.clip(np.asarray(outcome.x) / settings.units, 0, 1),
        losses={k: outcome.losses[k] for k in (*_TERMS, *problem.fn.spec.layers)},
        evaluations=outcome.evaluations,
        status=outcome.status,
        restarts=outcome.restarts,
        compile_seconds=outcome.compile_seconds,
        run_seconds=outcome.run_seconds,
        settings=settings,
        network=network.name,
        network_digest=network.digest,
        alpha=pictures.content.alpha,
        icc=pictures.content.icc,
        sources=_names(content=content, style=style),
    )


def prepare(
    settings: Settings,
    network: Network,
    content: Float[AnyArray, "h w 3"],
    style: Float[AnyArray, "h2 w2 3"],
    start: Float[AnyArray, "h3 w3 3"] | None = None,
) -> Problem:
    """The minimisation that `settings` ask for, with its targets computed.

    Args:
        settings: what is wanted.
        network: the feature extractor, with its own options.
        content: RGB in [0, 1], at the size of the result.
        style: RGB in [0, 1], at the size that its strokes should have.
        start: the picture to start from if `settings.init` is a picture; scaled to cover the
            content.

    Raises:
        InputError: layers that the network lacks, pictures too small, too little memory.
    """
    if start is None and settings.init not in INITS:
        raise InputError(f"init is '{settings.init}', but there is no picture: give start.")
    spec = Objective(
        # Layers of weight zero cost nothing.
        content_layers=tuple(k for k, w in settings.content_layers.items() if w),
        style_layers=tuple(k for k, w in settings.style_layers.items() if w),
        normalization=settings.normalization,
    )
    require_layers(network, spec.layers)
    content, style = jnp.asarray(content), jnp.asarray(style)
    require_size(network, content, spec.layers, "content picture")
    require_size(network, style, spec.style_layers, "style picture")
    height, width, _ = content.shape
    memory.require(settings, network, spec.layers, height, width)
    targets = Targets(
        _content_targets(spec, network, content), _style_targets(spec, network, style)
    )
    weights = Weights(
        settings.content_weight,
        settings.style_weight,
        settings.tv_weight,
        {k: settings.content_layers[k] for k in spec.content_layers},
        {k: settings.style_layers[k] for k in spec.style_layers},
    )
    units = settings.units
    first_order = not settings.optimizer.startswith("lbfgs")
    optimizer = solvers.Optimizer(
        method=settings.optimizer,
        history=min(settings.history, settings.iterations),
        schedule=settings.schedule,
        decay_steps=settings.iterations if settings.schedule == "cosine" else 1,
        momentum=settings.momentum,
        bounds=(0.0, units) if first_order else None,
    )
    rate = settings.learning_rate
    if rate is None:
        rate = _LEARNING_RATES.get(settings.optimizer, _SGD_RATE_PER_PIXEL * height * width)
    # Learning rates are stated for pictures in [0, 1]; the optimiser sees 0..units.
    rate *= {"adam": units, "sgd": units**2}.get(settings.optimizer, 1.0)
    x = initial_picture(settings, content, style if start is None else start)
    # Float arrays, not Python numbers: weak types would compile a second time.
    weights = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), weights)
    return Problem(
        ScaledObjective(spec, units), optimizer, x * units, (network, targets, weights), rate
    )


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
    return jnp.asarray(images.cover(np.asarray(other), (height, width)))


def _resolve(preset: str, network: Any, options: dict[str, Any]) -> Settings:
    """The settings; those of a network object are its own."""
    if isinstance(network, str | os.PathLike):
        return resolve(preset, network=os.fspath(network), **options)
    if not isinstance(network, Network):
        raise InputError(
            "network must be a name, a weight file or a network object; this is of type "
            f"{type(network).__name__}."
        )
    given = [f.name for f in fields(Options) if f.name in options]
    if given:
        raise InputError(
            f"The network object has its own {' and '.join(given)}: give that to load_network(), "
            "in Options, or name the network here."
        )
    how = getattr(network, "options", None)
    own = asdict(how) if isinstance(how, Options) else {}
    return resolve(preset, network=network.name, **own, **options)


class _Pictures(NamedTuple):
    content: Picture
    style: Picture
    start: Picture | None


def _read(settings: Settings, content: PictureSource, style: PictureSource, start) -> _Pictures:
    style_size = settings.style_size or settings.size
    return _Pictures(
        images.read(content, size=settings.size, what="content picture"),
        images.read(style, size=style_size, what="style picture"),
        None if settings.init in INITS else images.read(start, what="init picture"),
    )


def _names(**sources: PictureSource) -> dict[str, str]:
    """File names alone: they go into the picture, and folders are nobody's business."""
    return {k: os.path.basename(v) for k, v in sources.items() if isinstance(v, str | os.PathLike)}


def _show_options(function: Callable) -> None:
    """Let `help()` and notebooks show the options, from the one source."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [f for f in fields(Settings) if f.name not in signature.parameters]
    shown = [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(PRESETS["default"], f.name),
            annotation=f.type,
        )
        for f in options
    ]
    function.__signature__ = signature.replace(parameters=own + shown)  # pyright: ignore
    lines = [f"{f.name}: {f.metadata['help']}{_listed(f.name)}" for f in options]
    doc = inspect.cleandoc(function.__doc__ or "")
    function.__doc__ = f"{doc}\n\nOptions:\n    " + "\n    ".join(lines)


def _listed(option: str) -> str:
    return f" ({', '.join(CHOICES[option])})" if option in CHOICES else ""


_show_options(stylize)

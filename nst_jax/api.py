"""stylize(): pictures in, a Stylization out. Side effects (files, progress, fetching) live here."""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from nst_jax import images, loop
from nst_jax.errors import InputError
from nst_jax.images import Picture, PictureSource
from nst_jax.networks.load import load_network
from nst_jax.networks.vgg import Network, Options
from nst_jax.problem import blend_weights, prepare
from nst_jax.result import Stylization
from nst_jax.settings import CHOICES, INITS, PICTURE, PRESETS, Settings, resolve

_TERMS = ("total", "content", "style", "tv")


def stylize(
    content: PictureSource,
    style: PictureSource | Sequence[PictureSource],
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
        style: likewise; or a list of several, mixed by `style_blend`.
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
    problem = prepare(settings, network, pictures.content.rgb, pictures.styles, start)

    bar = tqdm(total=settings.iterations, disable=not progress, unit="eval", desc="stylize")

    def report(now: loop.Progress) -> bool | None:
        bar.set_postfix(loss=f"{now.losses['total']:.4g}", refresh=False)
        bar.update(min(now.evaluations, settings.iterations) - bar.n)
        return callback and callback(replace(now, x=problem.picture(now.x)))

    try:
        with bar:
            outcome = loop.run(
                problem.fn,
                problem.optimizer,
                problem.x,
                problem.args,
                learning_rate=problem.learning_rate,
                limits=loop.Limits(
                    settings.iterations, settings.seconds, settings.tolerance, settings.patience
                ),
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
        image=np.asarray(problem.picture(outcome.x)),
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
    styles: list[Float[np.ndarray, "_ _ 3"]]
    start: Picture | None


def _read(settings: Settings, content: PictureSource, style: Any, start: Any) -> _Pictures:
    picture = images.read(content, size=settings.size, what="content picture")
    styles, absolute = _several(style), settings.style_size or settings.size
    if not styles:
        raise InputError("There is no style picture in the list: give at least one.")
    blend_weights(settings, len(styles))  # before anything is fetched or computed
    scales = settings.style_scale or (None,)
    if len(scales) not in (1, len(styles)):
        raise InputError(
            f"style_scale has {len(scales)} numbers, but the number of style pictures is "
            f"{len(styles)}: give one number, or one for each."
        )
    scales *= len(styles) if len(scales) == 1 else 1
    long = max(picture.rgb.shape[:2])
    sizes = [absolute if scale is None else max(1, round(scale * long)) for scale in scales]
    return _Pictures(
        picture,
        [
            images.read(one, size=size, what="style picture").rgb
            for one, size in zip(styles, sizes, strict=True)
        ],
        None if settings.init in INITS else images.read(start, what="init picture"),
    )


def _several(style: Any) -> list[Any]:
    return list(style) if isinstance(style, list | tuple) else [style]


def _names(content: PictureSource, style: Any) -> dict[str, Any]:
    """File names alone: they go into the picture, and folders are nobody's business."""
    names = {"content": _name(content), "style": [_name(s) for s in _several(style)]}
    if len(names["style"]) == 1:
        names["style"] = names["style"][0]
    return {k: v for k, v in names.items() if v and v != [None] * len(v)}


def _name(source: PictureSource) -> str | None:
    return os.path.basename(source) if isinstance(source, str | os.PathLike) else None


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

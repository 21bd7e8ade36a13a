"""What a stylization starts from, settings, network and pictures; and what it comes to."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from nst_jax import images, loop
from nst_jax.errors import InputError
from nst_jax.images import Picture, PictureSource
from nst_jax.networks.vgg import Network, Options
from nst_jax.problem import Problem, blend_weights, prepare
from nst_jax.result import Stylization
from nst_jax.settings import INITS, PICTURE, Settings, resolve

_TERMS = ("total", "content", "style", "tv")


class Pictures(NamedTuple):
    """What was read: the content, the styles, the start if it is a picture; names of the files."""

    content: Picture
    styles: list[Float[np.ndarray, "_ _ 3"]]
    start: Float[np.ndarray, "_ _ 3"] | None
    sources: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """Everything that determines a result."""

    settings: Settings
    network: Network
    pictures: Pictures

    def problem(self) -> Problem:
        """The minimisation; see `prepare`."""
        content, styles, start, _ = self.pictures
        return prepare(self.settings, self.network, content.rgb, styles, start)

    def stylization(self, problem: Problem, outcome: loop.Outcome) -> Stylization:
        """The result, when the minimisation is done."""
        content = self.pictures.content
        return Stylization(
            image=np.asarray(problem.picture(outcome.x)),
            losses={k: outcome.losses[k] for k in (*_TERMS, *problem.fn.spec.layers)},
            evaluations=outcome.evaluations,
            status=outcome.status,
            restarts=outcome.restarts,
            compile_seconds=outcome.compile_seconds,
            run_seconds=outcome.run_seconds,
            settings=self.settings,
            network=self.network.name,
            network_digest=self.network.digest,
            alpha=content.alpha,
            icc=content.icc,
            sources=self.pictures.sources,
        )


def resolve_options(
    preset: str, network: Any, options: Mapping[str, Any]
) -> tuple[Settings, PictureSource | None]:
    """The settings, and the picture to start from if `init` is one.

    Raises:
        InputError: unknown options, values out of range; a network that is none.
    """
    start = options.get("init")
    if isinstance(start, os.PathLike):
        options = {**options, "init": os.fspath(start)}
    elif start is not None and not isinstance(start, str):
        options = {**options, "init": PICTURE}
    settings = _resolve(preset, network, options)
    return settings, None if settings.init in INITS else start


def network_options(settings: Settings) -> Options:
    """How the settings want a network to be run."""
    return Options(settings.pooling, settings.padding, settings.precision, settings.remat)


def read_pictures(
    settings: Settings,
    content: PictureSource,
    style: PictureSource | Sequence[PictureSource],
    start: PictureSource | None,
) -> Pictures:
    """The pictures at the sizes that the settings ask for.

    Raises:
        InputError: pictures that cannot be read; blend weights or scales for another number of
            styles.
    """
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
    return Pictures(
        picture,
        [
            images.read(one, size=size, what="style picture").rgb
            for one, size in zip(styles, sizes, strict=True)
        ],
        start if start is None else images.read(start, what="init picture").rgb,
        _names(content, style),
    )


def _resolve(preset: str, network: Any, options: Mapping[str, Any]) -> Settings:
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

"""stylize(): pictures in, a Stylization out. Side effects (files, progress, fetching) live here."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Unpack

from tqdm.auto import tqdm

from nst_jax.networks.base import Network
from nst_jax.pictures.masks import MapSource
from nst_jax.pictures.reading import PictureSource
from nst_jax.stylizing import checkpoint, pyramid
from nst_jax.stylizing.inputs import Sources
from nst_jax.stylizing.keywords import Keywords
from nst_jax.stylizing.outputs import Outputs, split
from nst_jax.stylizing.presets import PRESETS
from nst_jax.stylizing.recording import Recorder
from nst_jax.stylizing.result import Stylization
from nst_jax.stylizing.run import draw, requested
from nst_jax.stylizing.settings import CHOICES, Settings


def stylize(
    content: PictureSource | None,
    style: PictureSource | Sequence[PictureSource],
    *,
    content_regions: MapSource | None = None,
    style_regions: MapSource | Sequence[MapSource | None] | None = None,
    keep: PictureSource | None = None,
    preset: str = "default",
    network: str | os.PathLike | Network = "auto",
    offline: bool | None = None,
    progress: bool = True,
    callback: Callable[[pyramid.Progress], bool | None] | None = None,
    **options: Unpack[Keywords],
) -> Stylization:
    """Draw the content of one picture in the style of another (Gatys et al. 2016).

    Args:
        content: path, bytes, PIL picture, numpy (uint8, or float in [0, 1]) or JAX array; None
            makes a picture from `content_regions` alone, without content, from noise.
        style: likewise; or a list of several, mixed by `style_blend`.
        content_regions: label map of the content, or a list with one grey mask for each region
            (`maps.read`).
        style_regions: likewise of the style, with the same labels: each region is drawn to the
            style's region of that label; with several styles, a list with a map or None for each.
            Which style a region takes may also be said by `region_styles`.
        keep: grey mask, white where the content's own pixels stay.
        preset: `default`, or named after a paper or peer: `gatys`, `paper`, `neural-style`.
        network: `vgg19`, `vgg16`, `vgg19-lite`, a weight file, `auto`, or a network object, which
            brings its own pooling, padding, precision and remat.
        offline: never fetch weights; None leaves it to the environment (`NST_JAX_OFFLINE`).
        progress: show a bar with loss and time left.
        callback: called with a `Progress` after each chunk of evaluations (about three seconds),
            its `x` the best picture so far, in [0, 1] and as large as the scale that is being
            drawn; a true result stops the run.
        **options: the fields of `Settings` and of `Outputs`, listed below; what is not given is the
            preset's. `init` may also be a picture.

    Returns:
        A `Stylization`; after Ctrl-C with the best picture so far.

    Raises:
        InputError: anything that cannot be used, in a sentence that says what to do.
        KeyboardInterrupt: Ctrl-C before there was a picture.
    """
    outputs, settings = split(options)
    request = requested(
        Sources(content, style, None, content_regions, style_regions, keep),
        preset=preset,
        network=network,
        offline=offline,
        progress=progress,
        **settings,
    )
    recorder = Recorder(outputs, request.pictures.content)
    found = checkpoint.find(outputs, request)
    asked, total = checkpoint.identity(request), pyramid.total(request)
    if found is None:
        request = request.fitted(total)
        recorder.start()
    else:
        request = found.continued(request)
        recorder.start(found.rows, found.more)
    if progress and (outlook := request.outlook(total)):
        print(outlook, file=sys.stderr)
    # With a delay it stays out of sight until there is something to show: refusals come before.
    bar = tqdm(total=total, disable=not progress, unit="eval", desc="stylize", delay=1e-3)

    def report(now: pyramid.Progress) -> bool | None:
        bar.set_postfix(loss=f"{now.losses['total']:.4g}", refresh=False)
        bar.update(min(now.evaluations, total) - bar.n)
        recorder.report(now)
        return callback and callback(now)

    def save(position: pyramid.Position) -> None:
        if outputs.checkpoint is not None:
            checkpoint.save(outputs.checkpoint, asked, request.settings, position, recorder.kept())

    with bar:
        result = draw(
            request,
            position=found and found.position,
            report=report,
            marks=recorder.marks,
            keep=None if outputs.checkpoint is None else save,
            keep_every=outputs.checkpoint_every,
        )
    recorder.finish(result.image)
    return result


def _show_options(function: Callable) -> None:
    """Let `help()` and notebooks show the options, from the one source."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [f for f in fields(Settings) if f.name not in signature.parameters]
    defaults = {f.name: getattr(PRESETS["default"], f.name) for f in options}
    options += fields(Outputs)
    defaults |= asdict(Outputs())
    shown = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=defaults[f.name], annotation=f.type
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

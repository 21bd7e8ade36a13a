"""stylize(): from pictures to a Stylization, with all side effects (files, progress, downloads)."""

import contextlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any, Unpack

from tqdm.auto import tqdm

from nst_jax.errors import InputError
from nst_jax.files import savepoint
from nst_jax.networks.base import Network
from nst_jax.pictures.masks import MapSource
from nst_jax.pictures.sources import PictureSource
from nst_jax.programs import compiled_anew
from nst_jax.stylizing import checkpoint, planning, pyramid, scales
from nst_jax.stylizing.inputs import Sources
from nst_jax.stylizing.keywords import Keywords
from nst_jax.stylizing.outputs import Outputs, split
from nst_jax.stylizing.presets import PRESETS
from nst_jax.stylizing.recording import Recorder
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.resolving import OF_CONTENT, OF_NETWORK
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
        content: the content picture: a path, bytes, a PIL picture, or a numpy or JAX array (uint8,
            or float in [0, 1]). With None there is no content loss; `content_regions` then says
            where each style goes, and the picture starts from noise.
        style: the style picture, in the same forms; or a list of several style pictures, blended
            with the weights `style_blend`.
        content_regions: the regions of the content picture: a label map, or a list with one grey
            mask for each region, white where the region is (`masks.read`).
        style_regions: the regions of the style picture, in the same forms and with the same labels.
            Each region of the content takes the style of the region with its label. For several
            styles, give a list with one entry for each; None is the whole style picture. The
            option `region_styles` can assign one of several styles to each region.
        keep: a grey mask, white where the content picture's own pixels stay.
        preset: the bundle of settings to start from: `default`, `quick`, `neighbours`, or one that
            follows a paper or another implementation, such as `gatys`; docs/options.md lists them.
        network: `vgg19`, `vgg16`, `vgg19-lite`, the path of a weight file, or a network object,
            which has its own pooling, padding, precision and remat. `auto` takes `vgg19` if its
            weights are on this machine or can be downloaded, and otherwise `vgg19-lite`.
        offline: True never downloads weights; None follows the environment (`NST_JAX_OFFLINE`).
        progress: show a bar with the loss and the time left.
        callback: called with a `Progress` after each chunk of evaluations, about every three
            seconds. Its `x` is the best picture so far, in [0, 1], at the size of the current
            scale. If it returns True, the run stops.
        **options: the fields of `Settings` and `Outputs`, listed below. The preset gives the
            settings that are not set here. `init` can also be a picture, in the forms of `content`.

    Returns:
        A `Stylization`, with the picture and the losses. After Ctrl-C it has the best picture so
        far.

    Raises:
        InputError: a picture, an option or a file cannot be used; the message says what to do.
        KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
    """
    if callback is not None and not callable(callback):
        raise InputError(f"callback is {callback!r}, but must be a function, or None.")
    outputs, settings = split(options)
    sources = Sources(content, style, None, content_regions, style_regions, keep)
    began, plan = time.perf_counter(), None
    wanted = planning.is_wanted(preset, network, settings, outputs)
    request = requested(
        sources,
        preset=preset,
        network=planning.NETWORK if wanted else network,
        offline=offline,
        progress=progress,
        **settings,
    )
    with contextlib.ExitStack() as stack:
        if wanted and content is not None:
            plan = planning.planned(request, began, stack.enter_context(compiled_anew()))
            request = plan.request
            for line in filter(None, (plan.line, plan.delay)) if progress else ():
                print(line, file=sys.stderr)
        stack.enter_context(savepoint.kept_alone(outputs.checkpoint, "run"))
        result, used = _recorded(request, outputs, progress, callback)
        if plan is not None:
            result = plan.kept(result)
            used, network = result.settings, result.settings.network
    sources = sources._replace(start=settings.get("init"))
    again = redrawing(used, sources, network=network, offline=offline, progress=progress)
    return replace(result, redraw=again)


def _recorded(
    request: Request,
    outputs: Outputs,
    progress: bool,
    callback: Callable[[pyramid.Progress], bool | None] | None,
) -> tuple[Stylization, Settings]:
    """Draw what is requested, and write the outputs on the way.

    Returns:
        The result, and the settings with the tile and history that fitted into memory.
    """
    recorder = Recorder(outputs, request.pictures.content)
    found = checkpoint.find(outputs, request)
    asked, total = checkpoint.identity(request), scales.total(request)
    if found is None:
        request = request.fitted(total)
        recorder.start()
    else:
        request = found.continued(request)
        recorder.start(found.rows, found.more)
    if progress and (outlook := request.outlook(total)):
        print(outlook, file=sys.stderr)
    # The delay hides the bar until there is progress to show, so that errors come without a bar.
    bar = tqdm(total=total, disable=not progress, unit="eval", desc="stylize", delay=1e-3)

    def report(now: pyramid.Progress) -> bool:
        bar.set_postfix(loss=f"{now.losses['total']:.4g}", refresh=False)
        bar.update(min(now.evaluations, total) - bar.n)
        recorder.report(now)
        return callback is not None and pyramid.is_stop(callback(now))

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
            shown=callback is not None or bool(recorder.marks),
        )
    recorder.finish(result.image)
    return result, request.settings


def redrawing(
    settings: Settings, sources: Sources, *, network: Any, **how: Any
) -> Callable[..., Stylization]:
    """`stylize` with these settings and pictures, whose options can be replaced.

    Args:
        settings: the settings.
        sources: the pictures and maps.
        network: as for `stylize`.
        **how: the other arguments of `stylize`.
    """
    chosen = {f.name: getattr(settings, f.name) for f in fields(Settings)} | {"network": network}
    left_out = OF_NETWORK if isinstance(network, Network) else ()
    left_out += OF_CONTENT if sources.content is None else ()
    given = sources._asdict()
    start = given.pop("start")
    given["init"] = settings.init if start is None else start
    options = chosen | given | how
    return partial(stylize, **{k: v for k, v in options.items() if k not in left_out})


def _show_options(function: Callable) -> None:
    """Add the options to the signature and docstring, for `help()` and notebooks."""
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

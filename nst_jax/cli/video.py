"""`nst-jax video`: draw a film in a style, by a model or by optimisation."""

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from nst_jax import allocator
from nst_jax.cli import cache, flags, streams
from nst_jax.errors import InputError
from nst_jax.stylizing.presets import PRESETS

# Flags by engine, as they are called in Python.
_OF_BOTH = ("coherent", "method", "content_regions", "keep")
_OF_MODEL = ("keep_colors", "strength")
_OF_OPTIMISE = ("evaluations", "seconds_per_frame", "passes", "loop", "style_regions")

_FLAGS = {"coherent": "--each-frame"}  # that are called otherwise in Python


def add(commands: Any) -> None:
    """Add the subcommand `video`."""
    parser = commands.add_parser(
        "video",
        help="draw a film in a style, without flicker",
        description="Without --model, the first frame is drawn as by `nst-jax stylize`, and each "
        "later one from those before it, in a few evaluations. Killed in the middle, the same "
        "command goes on at the next frame.",
    )
    parser.add_argument("source", metavar="IN", help="film, GIF, or folder of pictures")
    parser.add_argument(
        "target",
        metavar="OUT",
        help="ends in .mp4, .mov, .mkv, .webm or .gif, or has no suffix and becomes a folder",
    )
    parser.add_argument(
        "--style",
        action="append",
        metavar="STYLE",
        help="picture file; given again: mixed. With --model a style of the model: "
        "NAME[:WEIGHT],..., or files for models that take any style",
    )
    parser.add_argument(
        "--keys",
        metavar="DIR",
        help="carry painted frames over the film: a folder of pictures, each named by the number "
        "of its frame, from 1, or as that frame is if IN is a folder",
    )
    parser.add_argument("--model", help="draw each frame in one pass: file or name of a model")
    parser.add_argument(
        "--engine",
        default="auto",
        metavar="model|optimise|keys",
        help="(default: by what is given)",
    )
    parser.add_argument(
        "--rate", type=float, metavar="FPS", help="frames per second of a folder (default: 25)"
    )
    parser.add_argument(
        "--flow",
        dest="method",
        metavar="dis|variational",
        help="how motion is found (default: by the machine)",
    )
    parser.add_argument(
        "--content-regions",
        metavar="MAPS,...",
        help="a film or a folder of label maps, one for each frame, or one picture for all; or a "
        "mask like that for each region",
    )
    parser.add_argument(
        "--keep", metavar="MASKS", help="likewise: masks, white where the film's pixels stay"
    )
    parser.add_argument(
        "--each-frame",
        dest="coherent",
        action="store_const",
        const=False,
        help="draw each frame on its own, which flickers",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="when it is drawn, measure flicker, style and content, beside those of the original "
        "and of each frame drawn on its own, which takes about as long again",
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("--offline", action="store_true", help="never fetch weights")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    one = parser.add_argument_group("with --model")
    one.add_argument("--keep-colors", action="store_const", const=True, help="draw lightness alone")
    one.add_argument("--strength", type=float, help="of models for any style: 0 draws the content")
    later = parser.add_argument_group("frames after the first, without --model")
    later.add_argument(
        "--evaluations", type=int, help="function evaluations of a frame (default: 20)"
    )
    later.add_argument(
        "--seconds-per-frame", type=float, metavar="SECONDS", help="time limit for a frame"
    )
    later.add_argument(
        "--passes", type=int, help="how often the film is drawn, there and back (default: 1)"
    )
    later.add_argument(
        "--style-regions", metavar="FILE,...", help="as for stylize: a label map for each style"
    )
    later.add_argument(
        "--loop", action="store_const", const=True, help="the film begins anew after its last frame"
    )
    group = parser.add_argument_group("settings of the first frame, without --model")
    flags.add_fields(group, replace(PRESETS["default"], size=None))
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from nst_jax.videos.api import chosen_engine, video

    engine = chosen_engine(args.engine, args.model, args.keys)
    options = _options(args, engine)
    if engine == "model":
        allocator.hold()
    cache.enable()
    style: Any = args.style
    if style is not None and len(style) == 1:
        style = style[0]
    video(
        args.source,
        args.target,
        style,
        model=args.model,
        keys=args.keys,
        engine=engine,
        rate=args.rate,
        overwrite=args.force,
        progress=not args.quiet,
        **options,
    )
    report = _measured(args, style, engine, options) if args.report else None
    if args.json:
        row = {"input": args.source, "output": args.target}
        row |= {} if report is None else {"report": report.to_dict()}
        streams.report({"results": [row], "failed": [], "skipped": []})
    elif not args.quiet:
        print(args.target if report is None else f"{report.text()}\n{args.target}")
    return 0


def _options(args: argparse.Namespace, engine: str) -> dict[str, Any]:
    """The options for the engine.

    Raises:
        InputError: an option is of the other engine.
    """
    given = flags.given_settings(args)
    own = {name: getattr(args, name) for name in (*_OF_BOTH, *_OF_MODEL, *_OF_OPTIMISE)}
    for name in ("content_regions", "style_regions"):
        own[name] = flags.files(own[name])
    given |= {name: value for name, value in own.items() if value is not None}
    if engine == "optimise":
        other, way = given.keys() & set(_OF_MODEL), "give --model"
        given |= {"offline": True} if args.offline else {}
    elif engine == "model":
        known = {"size", "tile", "region_styles", *_OF_BOTH, *_OF_MODEL}
        other, way = given.keys() - known, "leave out --model"
    else:
        other, way = given.keys() - {"size", "method"}, "leave out --keys"
    if other:
        name = _FLAGS.get(min(other)) or flags.flag(min(other))
        raise InputError(f"{name} is of no use to the engine '{engine}': leave it out, or {way}.")
    return given


def _measured(args: argparse.Namespace, style: Any, engine: Any, options: dict[str, Any]) -> Any:
    """The measures of the film, its original, and what is drawn of each frame on its own."""
    from nst_jax.films.folder import files_of
    from nst_jax.videos.api import video
    from nst_jax.videos.measures import measure

    if engine == "keys":  # which draw nothing of a frame on its own
        style = str(files_of(Path(args.keys))[0])
        return measure(args.source, args.target, style=style, rate=args.rate)
    alone = {k: v for k, v in options.items() if k not in ("passes", "loop")} | {"coherent": False}
    with tempfile.TemporaryDirectory(dir=Path(args.target).absolute().parent) as folder:
        ceiling = video(
            args.source,
            Path(folder) / f"each-frame{Path(args.target).suffix}",
            style,
            model=args.model,
            engine=engine,
            rate=args.rate,
            progress=not args.quiet,
            **alone,
        )
        return measure(
            args.source, args.target, per_frame=ceiling, style=_picture(args, style), rate=args.rate
        )


def _picture(args: argparse.Namespace, style: Any) -> Any:
    """The picture of a style; None for several ones, or what only a model knows."""
    from nst_jax import samples

    if isinstance(style, str) and not os.path.exists(style):
        # A model that comes with the package has learned the pictures that do, too.
        known = args.model and not os.path.exists(args.model) and style in samples.style_names()
        return samples.path(style) if known else None
    return style if isinstance(style, str) else None

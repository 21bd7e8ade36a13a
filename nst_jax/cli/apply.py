"""`nst-jax apply`: draw pictures or a film with a trained model, in one pass."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nst_jax import allocator
from nst_jax.cli import batch, cache, streams
from nst_jax.errors import InputError


def add(commands: Any) -> None:
    """Add the subcommand `apply`."""
    parser = commands.add_parser(
        "apply",
        help="draw pictures, folders or a film by a trained model, in one pass",
        description="MODEL is a file that `nst-jax train` or `nst-jax weights convert` wrote, or "
        "the name of one that comes with the package. Pictures become DIR/NAME.png, or "
        "DIR/NAME-STYLE.png where several styles are given.",
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="*", help="files and folders; - is stdin"
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="folder for the results; - for one, on stdout"
    )
    parser.add_argument(
        "--video",
        nargs=2,
        metavar=("IN", "OUT"),
        help="draw every frame of a film, a GIF or a folder of pictures; OUT ends in .mp4, .mov, "
        ".mkv, .webm or .gif, or has no suffix and becomes a folder. The same command goes on "
        "with a film that was killed",
    )
    parser.add_argument(
        "--rate", type=float, metavar="FPS", help="frames per second of a folder (default: 25)"
    )
    parser.add_argument(
        "--each-frame",
        action="store_true",
        help="draw each frame of a film on its own, which flickers",
    )
    parser.add_argument(
        "--style",
        action="append",
        metavar="NAME[:WEIGHT],...",
        help="a style of the model or a blend of several; given again: one more picture of each; "
        "with models for any style, such as anystyle, style picture files",
    )
    parser.add_argument(
        "--mask",
        action="append",
        metavar="NAME=FILE",
        help="where a style holds: a grey picture, white where it does; for several styles at once",
    )
    parser.add_argument(
        "--strength", type=float, help="of models for any style: 0 draws the content"
    )
    parser.add_argument("--size", type=int, help="long side of the results in pixels")
    parser.add_argument("--keep-colors", action="store_true", help="draw lightness alone")
    parser.add_argument("--tile", type=int, metavar="PIXELS", help="draw in tiles of that side")
    parser.add_argument("--format", choices=batch.FORMATS, default="png", help="of the results")
    parser.add_argument("--list", action="store_true", help="print the model's styles")
    parser.add_argument("--force", action="store_true", help="overwrite results")
    parser.add_argument(
        "--skip-existing", action="store_true", help="draw only the results that are not there yet"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    allocator.hold()
    from nst_jax.models.load import load

    piped = args.output == streams.STREAM
    if piped:
        streams.check_output(as_json=args.json)
    model = load(args.model)
    if args.list:
        if args.json:
            streams.report({"model": model.name, "styles": list(model.styles)})
        else:
            print("\n".join(model.styles))
        return 0
    styles = _styles(args, model)
    options = {"keep_colors": args.keep_colors} | {
        name: getattr(args, name)
        for name in ("tile", "strength")
        if getattr(args, name) is not None
    }
    cache.enable()
    if args.video:
        return _film(args, model, styles, options)
    if not args.pictures or not args.output:
        raise InputError("There is nothing to draw: give pictures or folders, and --output DIR.")
    count = len(args.pictures)
    given = streams.opened([*args.pictures, *styles])
    sources, styles = batch.pictures(given[:count]), given[count:]
    if not piped:
        ends = [f"-{_label(style)}" for style in styles] if len(styles) > 1 else [""]
        jobs = batch.into_folder(sources, args.output, args.format, ends)
    elif len(sources) == len(styles) == 1:
        jobs = [batch.Job(sources[0], [None])]
    else:
        raise InputError(
            f"Standard output takes one picture, not {len(sources) * len(styles)}: give "
            "--output DIR."
        )
    batch.check(jobs, force=args.force, skip=args.skip_existing)
    return _draw(args, model, styles, jobs, options)


def _film(
    args: argparse.Namespace, model: Any, styles: Sequence[Any], options: dict[str, Any]
) -> int:
    from nst_jax.videos.drawing import draw_video

    if args.pictures or len(styles) != 1:
        raise InputError("A film takes one style and no pictures beside it: leave them out.")
    source, target = args.video
    draw_video(
        model,
        source,
        target,
        styles[0],
        coherent=not args.each_frame,
        overwrite=args.force,
        progress=not args.quiet,
        size=args.size,
        rate=args.rate,
        **options,
    )
    if args.json:
        streams.report(
            {"results": [{"input": source, "output": target}], "failed": [], "skipped": []}
        )
    return 0


def _styles(args: argparse.Namespace, model: Any) -> list[Any]:
    """The styles to draw, in the form that the model takes: names, blends, or names with masks."""
    if not args.mask:
        # A model without styles of its own takes files; a blend maps file names to weights.
        return (
            [_files(s) for s in args.style]
            if args.style and not model.styles
            else (args.style or [None])
        )
    pairs = [given.partition("=") for given in args.mask]
    if args.style or not all(name and file for name, _, file in pairs):
        raise InputError(
            "Masks say by themselves which styles there are: give --mask NAME=FILE for each, and "
            "no --style."
        )
    return [{name: file for name, _, file in pairs}]


def _files(text: str) -> Any:
    from nst_jax.options import parse_layers

    files = parse_layers(text, "style")
    return files if len(files) > 1 else next(iter(files), None)


def _label(style: Any) -> str:
    if isinstance(style, streams.Piped):
        return "stdin"
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(str(style)).stem)


def _draw(
    args: argparse.Namespace,
    model: Any,
    styles: Sequence[Any],
    jobs: Sequence[batch.Job],
    options: dict[str, Any],
) -> int:
    """Draw every picture in every style."""
    from tqdm import tqdm

    from nst_jax.models.model import read

    def begin(source: Any) -> Any:
        picture = read(source, args.size)
        return lambda number: model.draw(picture, styles[number], **options)

    def save(drawn: Any, output: Path | None) -> Path | None:
        if output is None:
            return streams.write_picture(drawn, f".{args.format}")
        return drawn.save(output, overwrite=args.force)

    total = len(jobs) * len(styles)
    # With a delay, the bar appears only when there is something to show.
    bar = tqdm(total=total, disable=args.quiet, unit="picture", desc="apply", delay=1e-3)
    with bar:
        done = batch.run(
            jobs, begin, save, lambda drawn: drawn.about, skip=args.skip_existing, bar=bar
        )
    if args.json:
        streams.report(done.report())
    elif len(done.failed) < len(jobs) and not args.quiet and args.output != streams.STREAM:
        print(args.output)
    return done.code

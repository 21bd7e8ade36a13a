"""`nst-jax apply`: draw pictures or a film with a trained model, in one pass."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nst_jax.cli import cache
from nst_jax.errors import InputError


def add(commands: Any) -> None:
    """Add the subcommand `apply`."""
    parser = commands.add_parser(
        "apply",
        help="draw pictures, folders or a film by a trained model, in one pass",
        description="MODEL is a file that `nst-jax train` wrote, or the name of one that comes "
        "with the package. Pictures become DIR/NAME.png, or DIR/NAME-STYLE.png where several "
        "styles are given.",
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("pictures", metavar="PICTURE", nargs="*", help="files and folders")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--video", nargs=2, metavar=("IN", "OUT"), help="draw every frame of a film, by ffmpeg"
    )
    parser.add_argument(
        "--style",
        action="append",
        metavar="NAME[:WEIGHT],...",
        help="a style of the model or a blend of several; given again: one more picture of each; "
        "with adain and wct, style picture files",
    )
    parser.add_argument(
        "--mask",
        action="append",
        metavar="NAME=FILE",
        help="where a style holds: a grey picture, white where it does; for several styles at once",
    )
    parser.add_argument("--strength", type=float, help="of adain and wct: 0 draws the content")
    parser.add_argument("--size", type=int, help="long side of the results in pixels")
    parser.add_argument("--keep-colors", action="store_true", help="draw lightness alone")
    parser.add_argument("--tile", type=int, metavar="PIXELS", help="draw in tiles of that side")
    parser.add_argument(
        "--format", choices=("png", "jpg", "webp", "tif"), default="png", help="of the results"
    )
    parser.add_argument("--list", action="store_true", help="print the model's styles")
    parser.add_argument("--force", action="store_true", help="overwrite results")
    parser.add_argument(
        "--skip-existing", action="store_true", help="draw only the results that are not there yet"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from nst_jax.models.load import load

    model = load(args.model)
    if args.list:
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
        from nst_jax.models.video import draw_video

        if args.pictures or len(styles) != 1:
            raise InputError("A film takes one style and no pictures beside it: leave them out.")
        source, target = args.video
        draw_video(
            model,
            source,
            target,
            styles[0],
            overwrite=args.force,
            progress=not args.quiet,
            size=args.size,
            **options,
        )
        return 0
    if not args.pictures or not args.output:
        raise InputError("There is nothing to draw: give pictures or folders, and --output DIR.")
    places = _places(args, styles)
    return _draw(args, model, styles, places, options)


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


def _places(args: argparse.Namespace, styles: Sequence[Any]) -> list[tuple[Path, list[Path]]]:
    """Find the pictures and check where their results go.

    Returns:
        For each picture its path, and the paths of its results, one for each style.

    Raises:
        InputError: a folder holds no pictures, two pictures have the same name, or a result cannot
            be written.
    """
    from nst_jax.pictures import writing
    from nst_jax.training.crops import SUFFIXES

    output = Path(args.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {str(output)!r} cannot be made ({error.strerror}): choose another place."
        ) from error
    found: list[Path] = []
    for given in map(Path, args.pictures):
        if os.path.isdir(given):
            inside = sorted(p for p in given.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError(f"The folder {str(given)!r} holds no pictures.")
            found += inside
        else:
            found.append(given)
    names = [path.stem for path in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(
            f"Two pictures are called {twice!r} and would have one result: draw them one by one."
        )
    places = []
    for path in found:
        ends = [f"-{_label(style)}" for style in styles] if len(styles) > 1 else [""]
        results = [output / f"{path.stem}{end}.{args.format}" for end in ends]
        for result in results:
            if not (args.skip_existing and os.path.exists(result)):
                writing.check_output(result, overwrite=args.force)
        places.append((path, results))
    return places


def _label(style: Any) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(str(style)).stem)


def _draw(
    args: argparse.Namespace,
    model: Any,
    styles: Sequence[Any],
    places: Sequence[tuple[Path, list[Path]]],
    options: dict[str, Any],
) -> int:
    """Draw every picture in every style. A bad picture is told of, and the others are drawn."""
    from tqdm import tqdm

    from nst_jax.models.model import read

    failed = 0
    total = len(places) * len(styles)
    # With a delay, the bar appears only when there is something to show.
    bar = tqdm(total=total, disable=args.quiet, unit="picture", desc="apply", delay=1e-3)
    with bar:
        for path, results in places:
            try:
                picture = read(path, args.size)
            except InputError as error:
                tqdm.write(f"nst-jax: {error}", file=sys.stderr)
                failed += 1
                bar.update(len(styles))
                continue
            for style, result in zip(styles, results, strict=True):
                if not (args.skip_existing and os.path.exists(result)):
                    model.draw(picture, style, **options).save(result, overwrite=args.force)
                bar.update()
    if failed < len(places) and not args.quiet:
        print(args.output)
    return 2 if failed else 0

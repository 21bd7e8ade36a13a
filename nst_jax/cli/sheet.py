"""`nst-jax sheet`: one photograph in all styles of a model, with their names."""

import argparse
from typing import Any

from nst_jax.cli import cache, streams


def add(commands: Any) -> None:
    """Add the subcommand `sheet`."""
    parser = commands.add_parser(
        "sheet",
        help="draw a photograph in all styles of a model, side by side",
        description="The sheet shows the photograph, then its drawings with their styles' names.",
    )
    parser.add_argument("picture", metavar="PHOTO", help="picture file, or - for stdin")
    parser.add_argument(
        "--model", metavar="MODEL", default="styles", help="file or name (default: styles)"
    )
    parser.add_argument(
        "--style",
        action="append",
        metavar="STYLE",
        help="a style of the model, or a picture file; given again: several (default: all)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        default="sheet.png",
        help="picture to write, or - for stdout (default: sheet.png)",
    )
    parser.add_argument(
        "--size", type=int, default=384, help="long side of each drawing in pixels (default: 384)"
    )
    parser.add_argument("--keep-colors", action="store_true", help="draw lightness alone")
    parser.add_argument("--tile", type=int, metavar="PIXELS", help="draw in tiles of that side")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no summary")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from nst_jax.models.load import load
    from nst_jax.pictures import reading, writing

    piped = args.output == streams.STREAM
    if piped:
        streams.check_output(as_json=args.json)
    else:
        writing.check_output(args.output, overwrite=args.force)
    model = load(args.model)
    picture, *styles = streams.opened([args.picture, *(args.style or model.styles)])
    cache.enable()
    options = {} if args.tile is None else {"tile": args.tile}
    sheet = model.sheet(picture, styles, size=args.size, keep_colors=args.keep_colors, **options)
    rgb = reading.read(sheet).rgb
    if piped:
        streams.send(writing.encode_png(rgb))
        return 0
    path = writing.save(args.output, rgb, overwrite=args.force)
    values = {"output": path, "width": sheet.width, "height": sheet.height, "model": model.name}
    if args.json:
        streams.report(values | {"styles": args.style or model.styles})
    elif not args.quiet:
        print(path)
    return 0

"""What commands share that draw one picture: its file or stream, and what they say of it."""

import argparse
from typing import Any

from nst_jax.cli import streams


def add_output(parser: Any) -> None:
    """Add the flags of the output."""
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="PNG, JPEG, WebP or TIFF, by suffix, or - for stdout",
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no summary")


def check(args: argparse.Namespace) -> None:
    """Refuse an output that cannot be written; call it before the work."""
    from nst_jax.pictures import writing

    if args.output == streams.STREAM:
        streams.check_output(as_json=args.json)
    else:
        writing.check_output(args.output, overwrite=args.force)


def finish(result: Any, args: argparse.Namespace) -> int:
    """Write a `Drawn`, and say so; returns the exit code."""
    if args.output == streams.STREAM:
        streams.write_picture(result, ".png")
        return 0
    path = result.save(args.output, overwrite=args.force)
    height, width, _ = result.image.shape
    if args.json:
        streams.report({"output": path, "width": width, "height": height} | dict(result.about))
    elif not args.quiet:
        print(f"{result!r}\n{path}")
    return 0

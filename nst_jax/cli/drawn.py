"""What commands share that draw one picture: its file or stream, and what they say of it."""

import argparse
from collections.abc import Mapping
from typing import Any

from nst_jax.cli import streams
from nst_jax.errors import InputError


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


def numbers(text: str, name: str) -> list[float]:
    """The value of a flag that takes several numbers.

    Raises:
        InputError: it is something else.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{name} is {text!r}, but must be NUMBER,NUMBER,...") from None


def finish(result: Any, args: argparse.Namespace, more: Mapping[str, Any] | None = None) -> int:
    """Write a `Drawn`, and say so, with `more` that was written; returns the exit code."""
    if args.output == streams.STREAM:
        streams.write_picture(result, ".png")
        return 0
    path = result.save(args.output, overwrite=args.force)
    height, width, _ = result.image.shape
    if args.json:
        said = {"output": path, "width": width, "height": height, **(more or {})}
        streams.report(said | dict(result.about))
    elif not args.quiet:
        print("\n".join(map(str, [repr(result), path, *(more or {}).values()])))
    return 0

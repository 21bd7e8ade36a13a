"""`nst-jax quilt`: more of a texture, or a picture drawn in it."""

import argparse
from typing import Any

from nst_jax.cli import drawn, streams
from nst_jax.errors import InputError


def add(commands: Any) -> None:
    """Add the subcommand `quilt`."""
    parser = commands.add_parser(
        "quilt",
        help="sew more of a texture, or a picture in this texture",
        description="Image quilting (Efros & Freeman 2001): blocks of TEXTURE, sewn along cuts "
        "where they differ least. With CONTENT, blocks follow its luminance.",
    )
    parser.add_argument("texture", metavar="TEXTURE", help="picture file, or - for stdin")
    parser.add_argument(
        "content", metavar="CONTENT", nargs="?", help="picture file, or - for stdin"
    )
    drawn.add_output(parser)
    parser.add_argument(
        "--size", metavar="WIDTHxHEIGHT", help="of the result (default: twice the texture's)"
    )
    parser.add_argument("--block", type=int, metavar="PIXELS", help="side of the blocks")
    parser.add_argument("--overlap", type=int, metavar="PIXELS", help="of neighbouring blocks")
    parser.add_argument(
        "--tolerance", type=float, help="how much worse than the best a block may fit (0.1)"
    )
    parser.add_argument("--passes", type=int, help="with CONTENT: how often it is drawn over (3)")
    parser.add_argument("--seed", type=int, help="of the random choices (0)")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from nst_jax.patches.quilting import quilt

    drawn.check(args)
    names = ("block", "overlap", "tolerance", "passes", "seed")
    options = {k: v for k in names if (v := getattr(args, k)) is not None}
    texture, content = streams.opened([args.texture, args.content])
    result = quilt(texture, content, size=_size(args.size), **options)
    return drawn.finish(result, args)


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width, from WIDTHxHEIGHT."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(f"The size is {text!r}, but must be WIDTHxHEIGHT, such as 640x480.")
    return int(height), int(width)

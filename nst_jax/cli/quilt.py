"""`nst-jax quilt`: more of a texture, or a picture drawn in it."""

import argparse
from typing import Any

from nst_jax.errors import InputError


def add(commands: Any) -> None:
    """Add the subcommand `quilt`."""
    parser = commands.add_parser(
        "quilt",
        help="sew more of a texture, or a picture in this texture",
        description="Image quilting (Efros & Freeman 2001): blocks of TEXTURE, sewn along cuts "
        "where they differ least. With CONTENT, blocks follow its luminance.",
    )
    parser.add_argument("texture", metavar="TEXTURE", help="picture file")
    parser.add_argument("content", metavar="CONTENT", nargs="?", help="picture file")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="PNG, JPEG, WebP or TIFF, by suffix"
    )
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
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("--quiet", action="store_true", help="no summary")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from nst_jax.patches.quilting import quilt
    from nst_jax.pictures import writing

    writing.check_output(args.output, overwrite=args.force)
    names = ("block", "overlap", "tolerance", "passes", "seed")
    options = {k: v for k in names if (v := getattr(args, k)) is not None}
    result = quilt(args.texture, args.content, size=_size(args.size), **options)
    path = result.save(args.output, overwrite=args.force)
    if not args.quiet:
        print(f"{result!r}\n{path}")
    return 0


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width, from WIDTHxHEIGHT."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(f"The size is {text!r}, but must be WIDTHxHEIGHT, such as 640x480.")
    return int(height), int(width)

"""`nst-jax deflicker`: make frames that any tool drew coherent, by the original's motion."""

import argparse
from typing import Any

from nst_jax.cli import cache, streams


def add(commands: Any) -> None:
    """Add the subcommand `deflicker`."""
    parser = commands.add_parser(
        "deflicker",
        help="take the flicker out of a film that any tool drew of another",
        description="IN is the original, STYLED what was drawn of it frame by frame: films, GIFs "
        "or folders of pictures with as many frames of the same shape. OUT ends in .mp4, .mov, "
        ".mkv, .webm or .gif, or has no suffix and becomes a folder; it has the sound of IN. The "
        "same command goes on with a film that was killed.",
    )
    parser.add_argument("source", metavar="IN")
    parser.add_argument("styled", metavar="STYLED")
    parser.add_argument("target", metavar="OUT")
    parser.add_argument(
        "--strength", type=float, default=0.3, help="more is steadier and less sharp (default: 0.3)"
    )
    parser.add_argument(
        "--rate", type=float, metavar="FPS", help="frames per second of folders (default: 25)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    cache.enable()

    from nst_jax.videos.deflicker import deflicker

    deflicker(
        args.source,
        args.styled,
        args.target,
        strength=args.strength,
        rate=args.rate,
        overwrite=args.force,
        progress=not args.quiet,
    )
    if args.json:
        done = {"input": args.source, "styled": args.styled, "output": args.target}
        streams.report({"results": [done], "failed": [], "skipped": []})
    return 0

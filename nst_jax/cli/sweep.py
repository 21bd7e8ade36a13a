"""`nst-jax sweep`: stylize over a grid of options."""

import argparse
import atexit
import os
import sys
from typing import Any

from nst_jax.cli import cache, flags, streams
from nst_jax.errors import InputError


def add(commands: Any) -> None:
    """Add the subcommand `sweep`."""
    parser = commands.add_parser(
        "sweep",
        help="stylize over a grid of weights, seeds, contents and styles",
        description="Every setting may have several values, --style-weight 1e2,1e3,1e4: the sweep "
        "is their product. Settings that are lists themselves (layers, blends) are given again for "
        "each value. Several processes share a sweep, each started with the same command and "
        "--distributed, or --coordinator, --processes and --process.",
    )
    parser.add_argument(
        "pictures",
        metavar="CONTENT... STYLE",
        nargs="+",
        help="picture files, the last one the style; with --styles all are contents",
    )
    parser.add_argument("--styles", nargs="+", metavar="STYLE", help="several styles: an axis")
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="new folder for pictures and tables"
    )
    parser.add_argument("--zip", action="store_true", help="axes side by side, not their product")
    parser.add_argument("--resume", action="store_true", help="go on with the sweep in DIR")
    parser.add_argument(
        "--in-flight", type=int, metavar="N", help="lanes side by side on each device"
    )
    parser.add_argument("--offline", action="store_true", help="never fetch weights")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    group = parser.add_argument_group("processes")
    group.add_argument(
        "--distributed", action="store_true", help="TPU pod, Slurm, Open MPI: JAX finds the others"
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    group.add_argument("--processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process", type=int, metavar="I", help="which this one is, from 0")
    flags.add_settings(parser, several=True)
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    contents, styles = args.pictures, args.styles
    if styles is None:
        *contents, style = args.pictures
        styles = [style]
    if not contents:
        raise InputError("There is one picture, but a sweep needs a content and a style.")
    axes = flags.given_axes(args)
    joined, code = _join(args), 2
    try:
        code = _sweep(args, contents, styles, axes, joined)
    finally:
        if joined:
            atexit.register(_leave, code)
    return code


def _sweep(
    args: argparse.Namespace,
    contents: list[str],
    styles: list[str],
    axes: dict[str, Any],
    joined: bool,
) -> int:
    cache.enable()

    from nst_jax.sweeps.folder import read_plan
    from nst_jax.sweeps.processes import is_first
    from nst_jax.sweeps.run import sweep

    found = sweep(
        **_one_or_several("content", contents),
        **_one_or_several("style", styles),
        how="zip" if args.zip else "product",
        output=args.output,
        resume=args.resume,
        in_flight=args.in_flight,
        offline=args.offline or None,
        progress=not args.quiet,
        **axes,
    )
    if args.json:
        if is_first():
            streams.report({"output": args.output} | read_plan(args.output))
    elif not args.quiet:
        print(f"{found!r}\n{args.output}")
    # With several processes, this one lacks the lanes of the others.
    if joined:
        return 0
    if found.unfinished:
        return 130
    return 0 if read_plan(args.output)["status"] == "finished" else 2


def _leave(code: int) -> None:
    """Exit without JAX's shutdown, which waits for all processes and aborts if one has died."""
    sys.stdout.flush()
    os._exit(code)


def _one_or_several(what: str, pictures: list[str]) -> dict[str, Any]:
    return {what: pictures[0]} if len(pictures) == 1 else {f"{what}s": pictures}


def _join(args: argparse.Namespace) -> bool:
    """Connect to the other processes if there are any, and return whether there are."""
    given = [args.coordinator, args.processes, args.process]
    if not args.distributed and given == [None] * 3:
        return False
    if not args.distributed and None in given:
        raise InputError("Give all of --coordinator, --processes and --process, or --distributed.")
    import jax

    # No lane needs another: if a process dies, the others should go on.
    jax.config.update("jax_enable_recoverability", True)
    try:
        jax.distributed.initialize(*given)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"The processes did not find each other: {error}") from error
    return True

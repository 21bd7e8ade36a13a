"""`nst-jax deep-analogy`: two pictures of alike things, each drawn with the other's look."""

import argparse
import os
from typing import Any

from nst_jax.cli import cache, drawn, streams
from nst_jax.errors import InputError


def add(commands: Any) -> None:
    """Add the subcommand `deep-analogy`."""
    parser = commands.add_parser(
        "deep-analogy",
        help="draw two pictures of alike things with the look of each other",
        description="Deep image analogy (Liao et al. 2017): OUT is A with the look of B. Every "
        "pixel is a mean of pixels of the other picture.",
    )
    parser.add_argument("a", metavar="A", help="picture file, or - for stdin")
    parser.add_argument("b", metavar="B", help="picture file, or - for stdin")
    drawn.add_output(parser)
    parser.add_argument("--back", metavar="OUT", help="where to write B with the look of A")
    parser.add_argument("--size", type=int, help="long side of both pictures in pixels (512)")
    parser.add_argument(
        "--weights",
        metavar="WEIGHT,...",
        help="how much of its own features a picture keeps, at relu4_1, relu3_1, relu2_1 and "
        "relu1_1 (0.8,0.7,0.6,0.1)",
    )
    parser.add_argument("--evaluations", type=int, help="for the features of each finer layer (30)")
    parser.add_argument("--network", help="name or weight file (default: auto)")
    parser.add_argument("--offline", action="store_true", help="never fetch weights")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    drawn.check(args)
    if args.back is not None:
        _check_back(args)
    cache.enable()
    from nst_jax.stylizing.deep_analogy import deep_analogy

    options = {
        k: v for k in ("size", "evaluations", "network") if (v := getattr(args, k)) is not None
    }
    if args.weights is not None:
        options["weights"] = drawn.numbers(args.weights, "weights")
    if args.offline:
        options["offline"] = True
    a, b = streams.opened([args.a, args.b])
    result, back = deep_analogy(a, b, **options)
    more = {}
    if args.back is not None:
        more["back"] = back.save(args.back, overwrite=args.force)
    return drawn.finish(result, args, more)


def _check_back(args: argparse.Namespace) -> None:
    from nst_jax.pictures import writing

    if args.back == streams.STREAM:
        raise InputError("Standard output takes the picture of --output: give --back a file.")
    if os.path.abspath(args.back) == os.path.abspath(args.output):
        raise InputError(f"Both results would be written to {args.back!r}: give --back another.")
    writing.check_output(args.back, overwrite=args.force)

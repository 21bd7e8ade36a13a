"""`nst-jax analogy`: from one pair of pictures, draw another picture alike."""

import argparse
from typing import Any

from nst_jax.cli import cache, drawn, streams


def add(commands: Any) -> None:
    """Add the subcommand `analogy`."""
    parser = commands.add_parser(
        "analogy",
        help="draw B as A' is to A: filters, paintings and textures from one pair",
        description="Image analogies (Hertzmann et al. 2001): every pixel is copied from A'. A and "
        "B may be several guides, A_1,A_2,... and B_1,B_2,...: labels, positions, shading.",
    )
    parser.add_argument("a", metavar="A", help="picture file, or guides: FILE,...")
    parser.add_argument("prime", metavar="A'", help="picture file: A filtered or painted")
    parser.add_argument("b", metavar="B", help="picture file, or as many guides")
    drawn.add_output(parser)
    parser.add_argument(
        "--color",
        action=argparse.BooleanOptionalAction,
        help="copy colours, or luminance alone (default: colours if there are several guides)",
    )
    parser.add_argument(
        "--kappa", type=float, help="larger pieces of A' (default: 1 for luminance, 5 for colours)"
    )
    parser.add_argument("--levels", type=int, help="of the pyramid (default: up to 5)")
    parser.add_argument(
        "--remap",
        action=argparse.BooleanOptionalAction,
        help="with luminance: bring A to B's mean and deviation first (default: yes)",
    )
    parser.add_argument("--guide-weights", metavar="WEIGHT,...", help="one for each guide (1)")
    parser.add_argument("--search", type=int, help="places of A compared with each pixel (16384)")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    drawn.check(args)
    cache.enable()
    from nst_jax.patches.analogies import analogy

    names = ("color", "kappa", "levels", "remap", "search")
    options = {k: v for k in names if (v := getattr(args, k)) is not None}
    if args.guide_weights is not None:
        options["guide_weights"] = drawn.numbers(args.guide_weights, "guide_weights")
    a, b = (text.split(",") for text in (args.a, args.b))
    files = streams.opened([*a, args.prime, *b])
    a, prime, b = files[: len(a)], files[len(a)], files[len(a) + 1 :]
    result = analogy(a, prime, b, **options)
    return drawn.finish(result, args)

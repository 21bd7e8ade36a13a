"""`nst-jax weights`: list, fetch, convert or verify the weights of networks."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the subcommand `weights` and its actions."""
    parser = commands.add_parser("weights", help="list, fetch, convert or verify network weights")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="known weights, and where they are")
    listing.set_defaults(handler=_list)
    fetch = actions.add_parser("fetch", help="download, verify and convert")
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("--offline", action="store_true", help="only look in the local folders")
    fetch.add_argument("--digest", help="expected digest, for weights that publish none")
    fetch.set_defaults(handler=_fetch)
    convert = actions.add_parser(
        "convert",
        help="turn a Keras, PyTorch, MatConvNet or npz file; or a transformer of fast_neural_style",
    )
    convert.add_argument("source", metavar="FILE", help=".h5, .pth, .mat or .npz")
    convert.add_argument("target", metavar="OUT.safetensors", nargs="?")
    convert.add_argument("--preprocessing", choices=("caffe", "torchvision"))
    convert.add_argument(
        "--transpose", action="store_true", help="for files whose kernels lie on their side"
    )
    convert.set_defaults(handler=_convert)
    verify = actions.add_parser("verify", help="check a converted file against its digest")
    verify.add_argument("name", metavar="NAME|FILE")
    verify.set_defaults(handler=_verify)


def _list(args: argparse.Namespace) -> None:
    from nst_jax.files import weights

    del args
    for name, entry in weights.manifest().items():
        place = weights.locate(name) or "not here"
        print(f"{name:18} {place!s:50} {entry.title} ({entry.licence})")


def _fetch(args: argparse.Namespace) -> None:
    from nst_jax.files import weights

    print(weights.fetch(args.name, offline=args.offline or None, digest=args.digest))


def _convert(args: argparse.Namespace) -> None:
    from nst_jax.files import weights
    from nst_jax.models import convert

    if convert.holds(args.source):
        print(convert.convert(args.source, args.target))
        return
    path = weights.convert_file(
        args.source, args.target, preprocessing=args.preprocessing, transpose=args.transpose
    )
    print(path)


def _verify(args: argparse.Namespace) -> None:
    from nst_jax.files import weights

    file = weights.verify(args.name)
    print(f"{file.path}: {file.digest}, as it should be")

"""`nst-jax weights`: list, fetch, convert or verify the weights of networks."""

import argparse
from collections.abc import Mapping
from typing import Any

from nst_jax.cli import streams


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
        help="turn a Keras, PyTorch, MatConvNet or npz file of a VGG; or another project's model",
        description="FILE is known by its contents. Models that draw in one pass may be "
        "fast_neural_style (.pth), Dumoulin's 26 styles or Magenta's for any style (.onnx), "
        "lengstrom's (a folder), MicroAST (a folder or .pth), or Johnson's own (.t7).",
    )
    convert.add_argument("source", metavar="FILE", help=".h5, .pth, .mat, .npz, .onnx, .t7, folder")
    convert.add_argument("target", metavar="OUT.safetensors", nargs="?")
    convert.add_argument("--preprocessing", choices=("caffe", "torchvision"))
    convert.add_argument(
        "--transpose", action="store_true", help="for files whose kernels lie on their side"
    )
    convert.set_defaults(handler=_convert)
    verify = actions.add_parser("verify", help="check a converted file against its digest")
    verify.add_argument("name", metavar="NAME|FILE")
    verify.set_defaults(handler=_verify)
    for action in (listing, fetch, convert, verify):
        action.add_argument("--json", action="store_true", help="print JSON")


def _list(args: argparse.Namespace) -> None:
    from nst_jax.files import weights

    known = [
        {"name": name, "title": e.title, "licence": e.licence, "path": weights.locate(name)}
        for name, e in weights.manifest().items()
    ]
    if args.json:
        streams.report({"weights": known})
        return
    for one in known:
        place = one["path"] or "not here"
        print(f"{one['name']:18} {place!s:50} {one['title']} ({one['licence']})")


def _fetch(args: argparse.Namespace) -> None:
    from nst_jax.files import weights

    path = weights.fetch(args.name, offline=args.offline or None, digest=args.digest)
    _print(args, str(path), {"name": args.name, "path": path})


def _convert(args: argparse.Namespace) -> None:
    from nst_jax.files import weights
    from nst_jax.models import convert

    if convert.holds(args.source):
        path = convert.convert(args.source, args.target)
    else:
        path = weights.convert_file(
            args.source, args.target, preprocessing=args.preprocessing, transpose=args.transpose
        )
    _print(args, str(path), {"source": args.source, "path": path})


def _verify(args: argparse.Namespace) -> None:
    from nst_jax.files import weights

    file = weights.verify(args.name)
    values = {"name": args.name, "path": file.path, "digest": file.digest}
    _print(args, f"{file.path}: {file.digest}, as it should be", values)


def _print(args: argparse.Namespace, text: str, values: Mapping[str, Any]) -> None:
    if args.json:
        streams.report(values)
    else:
        print(text)

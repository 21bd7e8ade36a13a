"""`nst-jax train`: train a model that draws in one pass, from pictures and styles."""

import argparse
from dataclasses import fields
from typing import Any

from nst_jax.cli import cache, flags, streams
from nst_jax.training.recipe import CHOICES, Recipe


def add(commands: Any) -> None:
    """Add the subcommand `train`."""
    parser = commands.add_parser(
        "train",
        help="train a model that draws a style in one pass",
        description="With the same command and --resume, a training that was cut short goes on "
        "from its checkpoint and ends with the same bits.",
    )
    parser.add_argument("content", metavar="FOLDER", help="training pictures, subfolders included")
    parser.add_argument(
        "--style",
        action="append",
        required=True,
        metavar="FILE",
        help="style picture, named after its file; given again for each style; for models "
        "for any style a folder of them",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="MODEL", help="the .safetensors to write"
    )
    parser.add_argument(
        "--base", metavar="MODEL", help="add the styles to this one: trains their parameters alone"
    )
    parser.add_argument(
        "--init", metavar="MODEL", help="begin with the parameters of this one: trains them all"
    )
    parser.add_argument("--checkpoint", metavar="FILE", help="keeps the training, to go on from")
    parser.add_argument("--checkpoint-every", type=int, metavar="STEPS", default=500)
    parser.add_argument("--resume", action="store_true", help="go on, if the checkpoint is there")
    parser.add_argument("--trace", metavar="FILE", help="every term at every step, a line of JSON")
    parser.add_argument("--previews", metavar="DIR", help="sheets of pictures as they are drawn")
    parser.add_argument("--previews-every", type=int, metavar="STEPS", default=500)
    parser.add_argument("--offline", action="store_true", help="never fetch weights")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    flags.add_fields(parser.add_argument_group("settings"), Recipe(), CHOICES)
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    cache.enable()

    from nst_jax.models import modelfile
    from nst_jax.training.api import train_model
    from nst_jax.training.recording import Files

    given = {k: v for k, v in vars(args).items() if k in {f.name for f in fields(Recipe)}}
    files = Files(**{name: getattr(args, name) for name in Files._fields})
    path = train_model(
        args.content,
        args.style,
        args.output,
        base=args.base,
        init=args.init,
        files=files,
        offline=args.offline or None,
        progress=not args.quiet,
        **given,
    )
    model = modelfile.load(path)
    done, asked = model.training["steps"], Recipe(**given).steps
    if args.json:
        values = {"output": path, "bytes": path.stat().st_size, "digest": model.digest}
        values |= {"kind": model.kind, "styles": model.styles, "finished": done >= asked}
        streams.report(values | {"training": model.training})
    elif not args.quiet:
        early = f", after {done} of {asked} steps" * (done < asked)
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB{early})")
    return 130 if done < asked else 0

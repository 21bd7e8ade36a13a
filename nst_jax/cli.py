"""The command line: flags to settings and back, no logic. JAX is imported only when needed."""

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from absl import app, flags
from absl.flags import argparse_flags

from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.settings import CHOICES, PRESETS, Settings


class _Parser(argparse_flags.ArgumentParser):
    """Tells bad flags in one line, with exit code 2, and takes no abbreviations."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"nst-jax: {message} ({self.prog} --help says more)\n")


def run() -> None:
    """Entry point of `nst-jax`."""
    # Else absl would turn on the log of what JAX tries at its start.
    flags.FLAGS["verbosity"].using_default_value = False
    app.run(main, flags_parser=parse)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; bad flags exit with code 2."""
    parser = _Parser(prog="nst-jax", description="Neural style transfer in JAX.")
    parser.add_argument("--version", action="version", version=f"nst-jax {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_stylize(commands)
    show = commands.add_parser("show", help="print the settings that made a picture")
    show.add_argument("picture", metavar="OUT")
    show.set_defaults(handler=_show)
    _add_weights(commands)
    return parser.parse_args(argv[1:])


def main(args: argparse.Namespace) -> int:
    """Run one subcommand; one sentence and code 2 for bad input, 130 after Ctrl-C."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say(message)
        try:
            return args.handler(args) or 0
        except InputError as error:
            _say(error)
            return 2
        except KeyboardInterrupt:
            _say("Interrupted before there was a result.")
            return 130


def _say(message: object) -> None:
    """One line on stderr, above the progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(f"nst-jax: {' '.join(str(message).split())}", file=sys.stderr)


def _add_stylize(commands: Any) -> None:
    parser = commands.add_parser(
        "stylize",
        help="draw the content of one picture in the style of another",
        description=f"Presets: {', '.join(PRESETS)}. Options that are not given are the preset's; "
        "the defaults shown are those of 'default'.",
    )
    parser.add_argument("content", metavar="CONTENT", help="picture file")
    parser.add_argument("style", metavar="STYLE", help="picture file")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="PNG, JPEG, WebP or TIFF, by suffix"
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument("--offline", action="store_true", help="never fetch weights")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    _add_settings(parser)
    parser.set_defaults(handler=_stylize)


def _add_settings(parser: Any) -> None:
    group, hints = parser.add_argument_group("settings"), get_type_hints(Settings)
    for f in fields(Settings):
        default, choices = getattr(PRESETS["default"], f.name), CHOICES.get(f.name)
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": f.name}
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction
        elif choices:
            options["metavar"] = "|".join(choices)
        elif isinstance(default, dict):
            default = ",".join(k if w == 1 else f"{k}:{w:g}" for k, w in default.items())
            options["metavar"] = "LAYERS"
        else:
            options |= {"type": _number(hints[f.name]), "metavar": f.name.split("_")[-1].upper()}
        shown = "none" if default is None else default
        flag = "--" + f.name.replace("_", "-")
        group.add_argument(flag, help=f"{f.metadata['help']} (default: {shown})", **options)


def _number(hint: Any) -> Any:
    """Parser of an option's text by its annotated type; 'none' where None is allowed."""
    kind = next((k for k in (int, float) if k is hint or k in getattr(hint, "__args__", ())), str)
    optional = type(None) in getattr(hint, "__args__", ())

    def parse_value(text: str) -> Any:
        return None if optional and text.lower() == "none" else kind(text)

    parse_value.__name__ = {int: "whole number", float: "number", str: "text"}[kind]
    return parse_value


def _stylize(args: argparse.Namespace) -> int:
    from nst_jax import images

    images.check_output(args.output, overwrite=args.force)
    names = {f.name for f in fields(Settings)}
    options = {k: v for k, v in vars(args).items() if k in names}
    _use_compilation_cache()

    from nst_jax.api import stylize

    result = stylize(
        args.content,
        args.style,
        offline=args.offline or None,
        progress=not args.quiet,
        **options,
    )
    path = _save(result, Path(args.output), args.force)
    if not args.quiet:
        print(f"{result!r}\n{path}")
    return 130 if result.status == "interrupted" else 0


def _save(result: Any, output: Path, force: bool) -> Path:
    """Save, and never lose a result to what has happened to the folder since it was checked."""
    path, n = output, 0
    while path.exists() and not force:
        n += 1
        path = output.with_stem(f"{output.stem}-{n}")
    try:
        return result.save(path, overwrite=force)
    except InputError as error:
        rescued = result.save(Path(tempfile.mkdtemp(prefix="nst_jax-")) / output.name)
        raise InputError(f"{error} The result is kept in {rescued}.") from error


def _use_compilation_cache() -> None:
    import jax
    import platformdirs

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path(platformdirs.user_cache_dir("nst_jax", appauthor=False)) / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _show(args: argparse.Namespace) -> int:
    from nst_jax import images

    print(json.dumps(images.read_settings(args.picture), indent=2))
    return 0


def _add_weights(commands: Any) -> None:
    parser = commands.add_parser("weights", help="list, fetch, convert or verify network weights")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="known weights, and where they are")
    listing.set_defaults(handler=_weights_list)
    fetch = actions.add_parser("fetch", help="download, verify and convert")
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("--offline", action="store_true", help="only look in the local folders")
    fetch.add_argument("--digest", help="expected digest, for weights that publish none")
    fetch.set_defaults(handler=_weights_fetch)
    convert = actions.add_parser("convert", help="turn a Keras, PyTorch, MatConvNet or npz file")
    convert.add_argument("source", metavar="FILE", help=".h5, .pth, .mat or .npz")
    convert.add_argument("target", metavar="OUT.safetensors", nargs="?")
    convert.add_argument("--preprocessing", choices=("caffe", "torchvision"))
    convert.add_argument(
        "--transpose", action="store_true", help="for files whose kernels lie on their side"
    )
    convert.set_defaults(handler=_weights_convert)
    verify = actions.add_parser("verify", help="check a converted file against its digest")
    verify.add_argument("name", metavar="NAME|FILE")
    verify.set_defaults(handler=_weights_verify)


def _weights_list(args: argparse.Namespace) -> None:
    from nst_jax.networks import weights

    del args
    for name, entry in weights.manifest().items():
        place = weights.locate(name) or "not here"
        print(f"{name:18} {place!s:50} {entry.title} ({entry.licence})")


def _weights_fetch(args: argparse.Namespace) -> None:
    from nst_jax.networks import weights

    print(weights.fetch(args.name, offline=args.offline or None, digest=args.digest))


def _weights_convert(args: argparse.Namespace) -> None:
    from nst_jax.networks import weights

    path = weights.convert_file(
        args.source, args.target, preprocessing=args.preprocessing, transpose=args.transpose
    )
    print(path)


def _weights_verify(args: argparse.Namespace) -> None:
    from nst_jax.networks import weights

    file = weights.verify(args.name)
    print(f"{file.path}: {file.digest}, as it should be")

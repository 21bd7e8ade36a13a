"""`nst-jax stylize`: one picture."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from nst_jax.commands import cache, flags
from nst_jax.errors import InputError
from nst_jax.settings import PRESETS


def add(commands: Any) -> None:
    """Add `nst-jax stylize`."""
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
    flags.add_settings(parser)
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from nst_jax import images

    images.check_output(args.output, overwrite=args.force)
    cache.enable()

    from nst_jax.api import stylize

    result = stylize(
        args.content,
        args.style,
        offline=args.offline or None,
        progress=not args.quiet,
        **flags.given_settings(args),
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

"""`nst-jax stylize`: draw one picture, or a series with `--steps`."""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from nst_jax.cli import cache, flags
from nst_jax.errors import InputError
from nst_jax.stylizing.presets import PRESETS


def add(commands: Any) -> None:
    """Add the subcommand `stylize`."""
    parser = commands.add_parser(
        "stylize",
        help="draw the content of one picture in the style of another",
        description=f"Presets: {', '.join(PRESETS)}. Options that are not given are the preset's; "
        "the defaults shown are those of 'default'.",
    )
    pictures = [
        parser.add_argument(
            "content", metavar="CONTENT", help="picture file; 'none' with --content-regions alone"
        ),
        parser.add_argument(
            "style",
            metavar="STYLE",
            nargs="+",
            help="picture file; several are mixed (--style-blend)",
        ),
    ]
    parser.add_argument(
        "--from",
        dest="result",
        metavar="RESULT",
        action=_From,
        pictures=pictures,
        help="take all settings from a result, to repeat or vary it; CONTENT and STYLE may be left "
        "out where the files that it names are beside it, or in the current folder",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="PNG, JPEG, WebP or TIFF, by suffix"
    )
    parser.add_argument(
        "--content-regions", metavar="FILE,...", help="label map, or one mask for each region"
    )
    parser.add_argument(
        "--style-regions", metavar="FILE,...", help="likewise; with several styles a map for each"
    )
    parser.add_argument("--keep", metavar="FILE", help="mask, white where the content stays")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.add_argument(
        "--steps", type=int, help="go from style to style in so many pictures: OUT-1, OUT-2, ..."
    )
    parser.add_argument("--offline", action="store_true", help="never fetch weights")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    flags.add_settings(parser)
    flags.add_outputs(parser)
    parser.set_defaults(handler=_run)


class _From(argparse.Action):
    """The action of `--from`: it stores the result to repeat, and makes the pictures optional."""

    def __init__(self, *args: Any, pictures: list[argparse.Action], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._pictures = pictures

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None):
        """Store the name of the result."""
        setattr(namespace, self.dest, values)
        for picture in self._pictures:
            picture.required = False


def _run(args: argparse.Namespace) -> int:
    from nst_jax.files import atomic
    from nst_jax.pictures import writing

    series = args.steps is not None
    writing.check_output(args.output, overwrite=args.force or series)
    outputs = _numbered(Path(args.output), args.steps) if series else [Path(args.output)]
    for output in outputs:
        writing.check_output(output, overwrite=args.force)
    for name in {"animation", "trace"} & vars(args).keys():
        over = args.force or getattr(args, "resume", False)
        atomic.check_place(getattr(args, name), overwrite=over)
    cache.enable()

    from nst_jax.stylizing.api import stylize
    from nst_jax.stylizing.interpolation import interpolate
    from nst_jax.stylizing.repeat import recall

    left = iter(outputs)

    def save(result: Any) -> None:
        path = _save(result, next(left), args.force)
        if not args.quiet:
            print(f"{result!r}\n{path}")

    given = {
        "content_regions": _files(args.content_regions),
        "style_regions": _files(args.style_regions),
        "keep": args.keep,
    }
    options = {k: v for k, v in given.items() if v is not None}
    options |= (
        flags.given_settings(args)
        | flags.given_outputs(args)
        | {"offline": args.offline or None, "progress": not args.quiet}
    )
    content, style = args.content, args.style
    if args.result is not None:
        options = recall(args.result, content, style, **options)
        content, style = options.pop("content"), options.pop("style")
    if isinstance(content, str) and content.lower() == "none":
        content = None
    if isinstance(style, list) and len(style) == 1 and not series:
        style = style[0]
    if series:
        results = interpolate(content, style, steps=args.steps, each=save, **options)
        whole = len(results) == args.steps and results[-1].status != "interrupted"
        return 0 if whole else 130
    result = stylize(content, style, **options)
    save(result)
    return 130 if result.status == "interrupted" else 0


def _files(text: str | None) -> Any:
    """Parse one file name, or several separated by commas; 'none' gives None."""
    names = [None if name.lower() == "none" else name for name in (text or "none").split(",")]
    return names if len(names) > 1 else names[0]


def _numbered(output: Path, steps: int) -> list[Path]:
    """The paths OUT-1.png, OUT-2.png, ..., all with as many digits as the last number."""
    if not 2 <= steps <= 10_000:
        raise InputError(f"steps is {steps}, but must be a whole number from 2 to 10000.")
    digits = len(str(steps))
    return [output.with_stem(f"{output.stem}-{n:0{digits}}") for n in range(1, steps + 1)]


def _save(result: Any, output: Path, force: bool) -> Path:
    """Save a result, even if the folder has changed since it was checked.

    If the file exists by now and `force` is false, a number is added to its name. If the folder
    cannot be written to any more, the result is saved in a temporary folder.

    Returns:
        The path of the file.

    Raises:
        InputError: the result had to be saved in a temporary folder; the message names the file.
    """
    path, n = output, 0
    while os.path.exists(path) and not force:
        n += 1
        path = output.with_stem(f"{output.stem}-{n}")
    try:
        return result.save(path, overwrite=force)
    except InputError as error:
        rescued = result.save(Path(tempfile.mkdtemp(prefix="nst_jax-")) / output.name)
        raise InputError(f"{error} The result is kept in {rescued}.") from error

"""`nst-jax stylize`: draw one picture, several into a folder, or a series with `--steps`."""

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nst_jax.cli import batch, cache, flags, streams
from nst_jax.errors import InputError
from nst_jax.stylizing.presets import PRESETS


def add(commands: Any) -> None:
    """Add the subcommand `stylize`."""
    parser = commands.add_parser(
        "stylize",
        help="draw the content of one picture in the style of another",
        description="CONTENT may be a folder, and with --style there may be several: each is drawn "
        f"into --output DIR. Presets: {', '.join(PRESETS)}. Options that are not given are the "
        "preset's; the defaults shown are those of 'default'.",
    )
    pictures = [
        parser.add_argument(
            "content",
            metavar="CONTENT",
            help="picture file, folder, or - for stdin; 'none' with --content-regions alone",
        ),
        parser.add_argument(
            "style",
            metavar="STYLE",
            nargs="+",
            help="picture file; several are mixed (--style-blend); with --style, another CONTENT",
        ),
    ]
    parser.add_argument(
        "--style",
        dest="styles",
        metavar="STYLE",
        action=_Style,
        pictures=pictures[1:],
        help="the style, so that all other pictures are contents; given again: mixed",
    )
    parser.add_argument(
        "--from",
        dest="result",
        metavar="RESULT",
        action=_From,
        pictures=pictures,
        help="take all settings from a result, to repeat or vary it; with a larger --size, go on "
        "from its picture (--init content draws anew); CONTENT and STYLE may be left out where the "
        "files that it names are beside it, or in the current folder",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="PNG, JPEG, WebP or TIFF, by suffix; a folder, for OUT/NAME.png; - for stdout",
    )
    parser.add_argument(
        "--format", choices=batch.FORMATS, help="of results in a folder or on stdout (default: png)"
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
        "--skip-existing", action="store_true", help="draw only the results that are not there yet"
    )
    parser.add_argument(
        "--steps", type=int, help="go from style to style in so many pictures: OUT-1, OUT-2, ..."
    )
    parser.add_argument("--offline", action="store_true", help="never fetch weights")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
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


class _Style(_From):
    """The action of `--style`: it adds a style, and makes the last positional one optional."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None):
        """Add a style picture."""
        styles = [*(getattr(namespace, self.dest) or []), values]
        super().__call__(parser, namespace, styles, option_string)


def _run(args: argparse.Namespace) -> int:
    from nst_jax.files import atomic
    from nst_jax.pictures import writing

    content, styles = [args.content], args.style
    if args.styles:
        content, styles = [args.content, *(args.style or [])], args.styles
    piped = args.output == streams.STREAM
    if piped:
        streams.check_output(as_json=args.json)
    into_folder = batch.needs_folder(content, args.output)
    if args.format and not (into_folder or piped):
        raise InputError(
            f"The suffix of the output {args.output!r} says the format: leave out --format."
        )
    if piped and into_folder:
        raise InputError("Standard output takes one picture: give --output DIR for several.")
    if args.steps is not None and (piped or into_folder or args.skip_existing):
        raise InputError(
            "A series of --steps needs one content and the name of a file as OUT, and no "
            "--skip-existing."
        )
    outputs = []
    if args.steps is not None:
        writing.check_output(args.output, overwrite=True)
        outputs = _numbered(Path(args.output), args.steps)
        batch.check([batch.Job(None, [*outputs])], force=args.force, skip=False)
    given = streams.opened([*content, *(styles or [])])
    contents = batch.pictures(given[: len(content)])
    styles = given[len(content) :] if styles else None
    written = " and ".join(f"--{name.replace('_', '-')}" for name in flags.given_outputs(args))
    if written and len(contents) > 1:
        raise InputError(f"Several pictures are drawn: leave out {written}.")
    if into_folder:
        jobs = batch.into_folder(contents, args.output, args.format or "png")
    else:
        jobs = [batch.Job(contents[0], [None if piped else Path(args.output)])]
    if not outputs:
        batch.check(jobs, force=args.force, skip=args.skip_existing)
    for name in {"animation", "trace"} & vars(args).keys():
        over = args.force or getattr(args, "resume", False)
        atomic.check_place(getattr(args, name), overwrite=over)
    cache.enable()
    return _series(args, jobs[0], styles, outputs) if outputs else _draw(args, jobs, styles)


def _options(args: argparse.Namespace, content: Any, style: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Content, style and options for `stylize`; with `--from`, those of the earlier result."""
    from nst_jax.stylizing.repeat import is_print, recall, recall_larger

    given = {
        "content_regions": flags.files(args.content_regions),
        "style_regions": flags.files(args.style_regions),
        "keep": args.keep,
    }
    options = {k: v for k, v in given.items() if v is not None}
    options |= (
        flags.given_settings(args)
        | flags.given_outputs(args)
        | {"offline": args.offline or None, "progress": not args.quiet}
    )
    if args.result is not None:
        again = recall_larger if is_print(args.result, content, options) else recall
        options = again(args.result, content=content, style=style, **options)
        content, style = options.pop("content"), options.pop("style")
    if isinstance(content, str) and content.lower() == "none":
        content = None
    return content, style, options


def _series(args: argparse.Namespace, job: batch.Job, styles: Any, outputs: list[Path]) -> int:
    from nst_jax.stylizing.interpolation import interpolate

    content, style, options = _options(args, job.source, styles)
    left, rows = iter(outputs), []

    def save(result: Any) -> None:
        path = _saved(args, result, next(left))
        rows.append({"output": path} | result.record())

    results = interpolate(content, style, steps=args.steps, each=save, **options)
    whole = len(results) == args.steps and results[-1].status != "interrupted"
    if args.json:
        streams.report({"results": rows, "failed": [], "skipped": []})
    return 0 if whole else 130


def _draw(args: argparse.Namespace, jobs: Sequence[batch.Job], styles: Any) -> int:
    from tqdm import tqdm

    from nst_jax.stylizing.api import stylize

    def begin(source: Any) -> Any:
        content, style, options = _options(args, source, styles)
        if isinstance(style, list) and len(style) == 1:
            style = style[0]
        return lambda _: stylize(content, style, **options)

    def save(result: Any, output: Path | None) -> Path | None:
        if output is not None:
            return _saved(args, result, output)
        if not args.quiet:
            print(repr(result), file=sys.stderr)
        return streams.write_picture(result, f".{args.format or 'png'}")

    def about(result: Any) -> dict[str, Any]:
        return result.record()

    bar = tqdm(disable=True)  # each picture has one of its own
    done = batch.run(jobs, begin, save, about, skip=args.skip_existing, bar=bar)
    if args.json:
        streams.report(done.report())
    return done.code


def _saved(args: argparse.Namespace, result: Any, output: Path) -> Path:
    path = _save(result, output, args.force)
    if not (args.quiet or args.json):
        print(f"{result!r}\n{path}")
    return path


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
    if n:
        warnings.warn(
            f"Another run has made {str(output)!r} meanwhile: the result is {str(path)!r}.",
            RuntimeWarning,
            stacklevel=2,
        )
    try:
        return result.save(path, overwrite=force)
    except InputError as error:
        rescued = result.save(Path(tempfile.mkdtemp(prefix="nst_jax-")) / output.name)
        raise InputError(f"{error} The result is kept in {rescued}.") from error

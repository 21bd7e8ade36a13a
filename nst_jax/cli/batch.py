"""Draw one picture after the other: which they are, where results go, and what failed."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nst_jax.cli.streams import STREAM, Piped, say
from nst_jax.errors import InputError

FORMATS = ("png", "jpg", "webp", "tif")


class Job(NamedTuple):
    """A picture, and the files that are drawn from it; None is standard output."""

    source: Any
    outputs: list[Path | None]


class Done(NamedTuple):
    """What became of some jobs.

    Attributes:
        results: for each picture that was drawn, plain values.
        failed: for each picture that could not be drawn, its name and the error.
        skipped: results that were there already.
        interrupted: whether Ctrl-C ended it early.
    """

    results: list[dict[str, Any]]
    failed: list[dict[str, str]]
    skipped: list[str]
    interrupted: bool = False

    @property
    def code(self) -> int:
        """The exit code of the command."""
        return 130 if self.interrupted else 2 if self.failed else 0

    def report(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {"results": self.results, "failed": self.failed, "skipped": self.skipped}


def pictures(given: Sequence[Any]) -> list[Any]:
    """The pictures that are given, with those of a folder in its place.

    Raises:
        InputError: a folder holds no pictures, or cannot be read.
    """
    from nst_jax.pictures.sources import SUFFIXES

    found: list[Any] = []
    for one in given:
        if not _is_folder(one):
            found.append(one)
            continue
        try:
            inside = sorted(p for p in Path(one).expanduser().iterdir() if p.is_file())
        except OSError as error:
            raise InputError(f"The folder {one!r} cannot be read ({error.strerror}).") from error
        inside = [path for path in inside if path.suffix.lower() in SUFFIXES]
        if not inside:
            raise InputError(f"The folder {one!r} holds no pictures.")
        found += map(str, inside)
    return found


def _is_folder(source: Any) -> bool:
    return (
        source not in ("", STREAM)
        and isinstance(source, str)
        and os.path.isdir(Path(source).expanduser())
    )


def needs_folder(given: Sequence[Any], output: str) -> bool:
    """Whether results go into a folder, because there are many or because it is one already."""
    return len(given) > 1 or any(map(_is_folder, [*given, output]))


def into_folder(
    sources: Sequence[Any], output: str, kind: str, ends: Sequence[str] = ("",)
) -> list[Job]:
    """The jobs that draw pictures into a folder: `NAME.png`, or `NAME-END.png` for each end.

    Names that are there twice are numbered. The folder is made if it is missing.

    Raises:
        InputError: the folder cannot be made.
    """
    from nst_jax.pictures.sources import distinct

    folder = Path(output).expanduser()
    if folder.suffix.lower().lstrip(".") in (*FORMATS, "jpeg", "tiff") and not os.path.isdir(
        folder
    ):
        raise InputError(
            f"Several pictures need a folder, but the output {output!r} has the name of a picture: "
            "give --output DIR."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {output!r} cannot be made ({error.strerror}): choose another place."
        ) from error
    stems = [Path(_name(source)).stem for source in sources]
    names = iter(distinct([f"{stem}{end}.{kind}" for stem in stems for end in ends]))
    return [Job(source, [folder / next(names) for _ in ends]) for source in sources]


def check(jobs: Sequence[Job], *, force: bool, skip: bool) -> None:
    """Check that all results can be written, unless they are there and skipped.

    Raises:
        InputError: a result cannot be written, or is there already.
    """
    from nst_jax.pictures import writing

    for output in (output for job in jobs for output in job.outputs):
        if output is not None and not (skip and os.path.exists(output)):
            writing.check_output(output, overwrite=force)


def run(
    jobs: Sequence[Job],
    begin: Callable[[Any], Callable[[int], Any]],
    save: Callable[[Any, Path | None], Path | None],
    about: Callable[[Any], Mapping[str, Any]],
    *,
    skip: bool,
    bar: Any,
) -> Done:
    """Draw all pictures. One that cannot be drawn is told of, and the others are drawn.

    Args:
        jobs: the pictures and their results.
        begin: takes a source, and returns a function that draws its results by number.
        save: writes a result, and returns its path.
        about: plain values about a result.
        skip: leave out results that exist.
        bar: a progress bar over all results.

    Raises:
        InputError: the first picture cannot be drawn, for a reason that is not in the picture.
        KeyboardInterrupt: Ctrl-C before there was a result.
    """
    done = Done([], [], [])
    drawn = passed = 0
    for source, outputs in jobs:
        passed += len(outputs)
        name = _name(source)
        there = {
            output for output in outputs if skip and output is not None and os.path.exists(output)
        }
        done.skipped.extend(str(output) for output in outputs if output in there)
        try:
            draw = begin(source) if len(there) < len(outputs) else None
            for number, output in enumerate(outputs):
                if draw and output not in there:
                    result = draw(number)
                    path = save(result, output)
                    height, width, _ = result.image.shape
                    row = {"input": name, "output": path and str(path)}
                    done.results.append(
                        row | {"width": width, "height": height} | dict(about(result))
                    )
                    if getattr(result, "status", "") == "interrupted":
                        return done._replace(interrupted=True)
                bar.update()
            drawn += draw is not None
        except KeyboardInterrupt:
            if not done.results:
                raise
            return done._replace(interrupted=True)
        except InputError as error:
            of_picture = os.path.basename(name) in str(error)
            if not of_picture and not drawn:
                raise  # an option's fault, which would come back with every picture
            said = str(error) if of_picture else f"{name}: {error}"
            say(said)
            done.failed.append({"input": name, "error": str(error)})
            bar.update(passed - bar.n)
    return done


def _name(source: Any) -> str:
    """The name of a picture; the name of its results follows from it."""
    if isinstance(source, Piped):
        return "stdin"
    return str(source or "")

"""Standard input and output: `-` as the name of a picture, and results as JSON."""

import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_jax.errors import InputError

STREAM = "-"


class Piped(bytes):
    """A picture from standard input; error messages call it by its name."""

    name = "<stdin>"


def opened(names: Sequence[Any]) -> list[Any]:
    """Put the bytes of standard input in the place of `-`; other names stay as they are.

    Raises:
        InputError: `-` is there twice, or standard input is a terminal.
    """
    if names.count(STREAM) > 1:
        raise InputError("Standard input (-) is one picture: give the others as files.")
    return [_read() if name == STREAM else name for name in names]


def _read() -> Piped:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            "Standard input (-) is a terminal or closed: send a picture into it (< a.jpg)."
        )
    try:
        return Piped(sys.stdin.buffer.read())
    except OSError as error:
        raise InputError(f"Standard input (-) cannot be read ({error.strerror}).") from error


def check_output(*, as_json: bool) -> None:
    """Check that standard output can take a picture. Call it before a long run.

    Raises:
        InputError: it is a terminal, or is to take JSON as well.
    """
    if as_json:
        raise InputError(
            "Standard output takes the picture (--output -) or --json, not both: leave one out."
        )
    if sys.stdout is None or sys.stdout.isatty():
        raise InputError(
            "Standard output (-) is a terminal or closed: send the picture to a file (> out.png)."
        )


def write_picture(result: Any, suffix: str) -> None:
    """Write a result to standard output, in the format of this suffix.

    Raises:
        InputError: standard output cannot be written to.
        BrokenPipeError: nobody reads it any more.
    """
    with tempfile.TemporaryDirectory(prefix="nst_jax-") as folder:
        data = result.save(Path(folder) / f"picture{suffix}").read_bytes()
    send(data)


def report(values: Mapping[str, Any]) -> None:
    """Print values as one JSON object. Numbers that are not finite become null.

    Raises:
        InputError: standard output cannot be written to.
        BrokenPipeError: nobody reads it any more.
    """
    text = json.dumps(_plain(values), indent=2, allow_nan=False)
    send(text.encode() + b"\n")


def say(message: object) -> None:
    """Print one line to stderr, above the progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(f"nst-jax: {' '.join(str(message).split())}", file=sys.stderr)


def send(data: bytes) -> None:
    """Write bytes to standard output, at once.

    Raises:
        InputError: standard output cannot be written to.
        BrokenPipeError: nobody reads it any more.
    """
    if sys.stdout is None:
        raise InputError("Standard output is closed, so nothing can be printed.")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop()
        raise InputError(f"Standard output cannot be written ({error.strerror}).") from error


def flush() -> None:
    """Write what standard output holds, if there is one."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop() -> None:
    """Throw away what standard output holds; Python would write it at its end, and complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value

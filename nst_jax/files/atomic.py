"""Files that appear only when they are complete."""

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from nst_jax.errors import InputError


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Where to write a file that then takes the place of `path` in one move, or never does.

    The unfinished file lies beside it; what an earlier process left there when it was killed goes.

    Raises:
        OSError: of whatever is done within, and of the move.
    """
    # Of one length, since the file's own name may be as long as names can be.
    mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
    for left in path.parent.glob(f".nst-jax-{mark}-*.part"):
        process = left.name.split("-")[3]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)
    part = path.parent / f".nst-jax-{mark}-{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write a file that appears only when it is complete.

    Raises:
        InputError: a folder that cannot be written, a full disk.
    """
    try:
        with atomic(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise InputError(_cannot_write(path, error)) from error


def check_place(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """The path where a file could be written now; ask before a long run.

    Raises:
        InputError: a folder that is missing or cannot be written, or a file that is there already
            and `overwrite` is false.

    """
    path = Path(path)
    if not os.path.isdir(path.parent):
        raise InputError(
            f"The folder {str(path.parent)!r} for the output does not exist: create it first."
        )
    if os.path.isdir(path):
        raise InputError(f"The output {str(path)!r} is a folder: give a file name.")
    try:
        if not overwrite and os.path.lexists(path):
            raise InputError(
                f"The output {str(path)!r} exists already: choose another name, or overwrite it "
                "with --force (in Python overwrite=True)."
            )
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # a name too long, for example
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(_cannot_write(path, error)) from error
    return path


def _cannot_write(path: Path, error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return f"The output {str(path)!r} cannot be written ({reason}): choose another place."

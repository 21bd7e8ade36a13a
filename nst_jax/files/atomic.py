"""Write files so that they appear only when they are complete."""

import contextlib
import errno
import hashlib
import os
import platform
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from nst_jax.errors import InputError


@contextlib.contextmanager
def atomic(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path; on leaving, move the file written there to `path` in one step.

    If the block raises, `path` stays as it was and the temporary file is deleted. The temporary
    file lies in the folder of `path`. Files that a killed process left there for the same `path`
    are deleted first.

    Raises:
        FileExistsError: `overwrite` is false and `path` exists by now.
        OSError: raised by the block, or by the move.
    """
    # A hash has a fixed length; the file's own name may already be as long as names can be. Other
    # machines may share the folder, and their processes are not known here.
    of = os.fsencode(path.name) + platform.node().encode()
    mark = hashlib.sha256(of).hexdigest()[:12]
    for left in path.parent.glob(f".nst-jax-{mark}-*.part"):
        process = left.name.split("-")[3]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)
    part = path.parent / f".nst-jax-{mark}-{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        if overwrite:
            os.replace(part, path)
        else:
            _move_new(part, path)
    finally:
        part.unlink(missing_ok=True)


def _move_new(part: Path, path: Path) -> None:
    """Move a file to a path that must not exist; of several processes that do this, one wins."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(part, path)


def is_part(path: Path) -> bool:
    """Whether a file is one that `atomic` has not completed."""
    return path.name.startswith(".nst-jax-") and path.suffix == ".part"


def write(path: Path, data: bytes, *, overwrite: bool = True) -> None:
    """Write `data` to a file that appears only when it is complete.

    Raises:
        InputError: the folder cannot be written to, the disk is full, or the file exists by now and
            `overwrite` is false.
    """
    try:
        with atomic(path, overwrite=overwrite) as part:
            part.write_bytes(data)
    except FileExistsError as error:
        raise InputError(_exists(path)) from error
    except OSError as error:
        raise InputError(_cannot_write(path, error)) from error


def check_place(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Check that a file can be written at `path`, and return the path. Call it before a long run.

    Raises:
        InputError: the folder is missing or cannot be written to, `path` is a folder, or the file
            exists and `overwrite` is false.
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
            raise InputError(_exists(path))
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # fails where the name is too long, for example
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(_cannot_write(path, error)) from error
    return path


def _exists(path: Path) -> str:
    return (
        f"The output {str(path)!r} exists already: choose another name, or overwrite it with "
        "--force (in Python overwrite=True)."
    )


def _cannot_write(path: Path, error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return f"The output {str(path)!r} cannot be written ({reason}): choose another place."

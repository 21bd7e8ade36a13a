"""Keep a file or folder to one process at a time, by locks that end with the process."""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from nst_jax.errors import InputError


@contextlib.contextmanager
def held(place: str | os.PathLike | None, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock within the block. A process that is killed holds it no more.

    A folder is locked itself. For a file there is a hidden lock file beside it within the block.
    Where there are no such locks (Windows, some network file systems, folders that cannot be
    written to), this does nothing.

    Args:
        place: a folder that exists, or a file that need not exist; None does nothing.
        busy: what to say if another process, or another call in this one, holds the lock.
        wait: wait for it, after printing `busy`.

    Raises:
        InputError: the lock is held and `wait` is false; the message is `busy`.
    """
    handle = None if place is None else _locked(Path(place), busy, wait)
    try:
        yield
    finally:
        if handle is not None:
            path, number = handle
            if path is not None:
                path.unlink(missing_ok=True)
            os.close(number)


def _locked(place: Path, busy: str, wait: bool) -> tuple[Path | None, int] | None:
    """The lock file, None for a folder, and its handle; None if there are no locks here."""
    try:
        import fcntl
    except ImportError:
        return None
    path = None if place.is_dir() else _lock_file(place)
    how = os.O_RDONLY if path is None else os.O_RDWR | os.O_CREAT
    while True:
        try:
            number = os.open(path or place, how, 0o666)
        except OSError:
            return None
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise InputError(busy) from None
                print(busy, file=sys.stderr)
                fcntl.flock(number, fcntl.LOCK_EX)
            if os.fstat(number).st_nlink:
                return path, number
            os.close(number)  # its last holder has deleted the lock file: make a new one
        except OSError:
            os.close(number)
            return None
        except BaseException:
            os.close(number)
            raise


def _lock_file(place: Path) -> Path:
    mark = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:12]
    return place.parent / f".nst-jax-{mark}.lock"

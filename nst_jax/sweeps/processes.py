"""Several processes, one sweep: each stylizes its share of the lanes; the first sums up."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from nst_jax.errors import InputError
from nst_jax.sweeps.folder import Folder

_BEAT_SECONDS = 2.0
# A process that has not been heard of for so long is taken for dead.
_SILENCE_SECONDS = 60.0


def is_first() -> bool:
    """Whether this process has the last word."""
    return jax.process_index() == 0


def share(lanes: Sequence[int], process: int | None = None) -> list[int]:
    """The lanes of this process, or of another."""
    process = jax.process_index() if process is None else process
    return list(lanes[process :: jax.process_count()])


def agreed(count: int, begin: Callable[[], list[int]]) -> list[int]:
    """What `begin` gives (numbers below `count`) when the first process calls it, for all.

    Raises:
        InputError: what `begin` raises, in the first process; in the others, that it did.
    """
    if jax.process_count() == 1:
        return begin()
    message, error = np.zeros(count + 1, np.int32), None
    if is_first():
        try:
            message[begin()] = 1
        except InputError as refused:
            message[count], error = 1, refused
    message = np.asarray(multihost_utils.broadcast_one_to_all(message))
    if error:
        raise error
    if message[count]:
        raise InputError("The first process refused the sweep: its own message says why.")
    return np.flatnonzero(message).tolist()


@contextlib.contextmanager
def heard(folder: Folder | None) -> Iterator[None]:
    """Give signs of life in the folder, for the first process, as long as this lasts."""
    if folder is None or jax.process_count() == 1:
        yield
        return
    over, sign = threading.Event(), _sign(folder, jax.process_index())

    def beat() -> None:
        while True:
            with contextlib.suppress(OSError):
                sign.write_text(str(time.time()), "utf-8")
            if over.wait(_BEAT_SECONDS):
                break

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sign.unlink(missing_ok=True)


def wait(folder: Folder, lanes: Sequence[int]) -> None:
    """Wait until the other processes have done these lanes, of which each has its share.

    Raises:
        InputError: a process that is no longer heard of, with what it left undone.
    """
    last: dict[int, tuple[str, float]] = {}
    while True:
        undone = {
            process: [lane for lane in share(lanes, process) if not folder.is_done(lane)]
            for process in range(1, jax.process_count())
        }
        now = time.monotonic()
        for process, missing in undone.items():
            sign = _read(folder, process)
            if process not in last or last[process][0] != sign:
                last[process] = sign, now
            if missing and now - last[process][1] > _SILENCE_SECONDS:
                _sign(folder, process).unlink(missing_ok=True)
                raise InputError(
                    f"Process {process} has not been heard of for {_SILENCE_SECONDS:g} s; it left "
                    f"lanes {', '.join(map(str, missing))} undone. The finished lanes are kept in "
                    f"'{folder.path}': the same command with --resume does the rest."
                )
        if not any(undone.values()):
            break
        time.sleep(0.2)


def _sign(folder: Folder, process: int):
    return folder.path / f".process-{process}"


def _read(folder: Folder, process: int) -> str:
    try:
        return _sign(folder, process).read_text("utf-8")
    except OSError:
        return ""

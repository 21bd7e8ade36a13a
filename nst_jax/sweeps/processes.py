"""Share a sweep among several processes.

Each process stylizes its share of the lanes. The first one waits for the others, then writes the
table and the contact sheet.
"""

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
# A process that gives no sign of life for so long counts as dead.
_SILENCE_SECONDS = 60.0


def is_first() -> bool:
    """Whether this is the first process, which sets up the sweep and completes it."""
    return jax.process_index() == 0


def share(lanes: Sequence[int], process: int | None = None) -> list[int]:
    """The lanes of a process, by its index; None for this process."""
    process = jax.process_index() if process is None else process
    return list(lanes[process :: jax.process_count()])


def agreed(count: int, begin: Callable[[], list[int]]) -> list[int]:
    """Call `begin` in the first process, and return its result in every process.

    Args:
        count: number of lanes.
        begin: returns numbers of lanes.

    Raises:
        InputError: `begin` raised it. The first process raises the same error; in the others the
            message refers to the first.
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
    """Within the block, write signs of life into the folder, for the first process to read.

    Does nothing if there is only one process.
    """
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
    """Wait until the other processes have done their shares of these lanes.

    Raises:
        InputError: a process gives no more signs of life; the message names its undone lanes.
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

"""Defer Ctrl-C until a loop asks for it between two steps, when no step is half done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed; only a second Ctrl-C raises.

    Without this, `KeyboardInterrupt` can come after a state is donated to the next step and before
    that step's state is stored, or in a callback of the garbage collector, which swallows it.
    Where Ctrl-C does not raise `KeyboardInterrupt` anyway (outside the main thread, or where the
    application ignores or handles it), nothing changes and the function always returns False.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed a second time.
    """
    pressed = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if pressed.is_set():
            signal.default_int_handler(number, frame)
        pressed.set()

    usual = signal.default_int_handler
    mine = threading.current_thread() is threading.main_thread()
    mine = mine and signal.getsignal(signal.SIGINT) is usual
    if mine:
        signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        if mine:
            signal.signal(signal.SIGINT, usual)

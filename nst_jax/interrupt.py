"""Ctrl-C as a question that a loop asks between two steps, when nothing is half done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """While it lasts, a first Ctrl-C only makes the function that it yields true; a second raises.

    `KeyboardInterrupt` can come between giving a state up to the next step and having that step's
    state, or in a callback of the garbage collector, which loses it. Where Ctrl-C does not mean
    `KeyboardInterrupt` (outside the main thread, ignored, or handled by the application), nothing
    is changed and the function stays false.

    Raises:
        KeyboardInterrupt: the second Ctrl-C.
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

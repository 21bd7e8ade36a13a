"""Ctrl-C between two steps."""

import signal
import threading

import pytest

from nst_jax.interrupt import deferred


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_first_is_told_and_the_second_raises():
    with deferred() as pressed:
        assert not pressed()
        press()
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        press()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_what_the_application_does_with_it_goes_on(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with deferred() as pressed:
            assert signal.getsignal(signal.SIGINT) is handler
            press()
            assert not pressed()
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_may_use_it():
    found = []

    def work():
        with deferred() as pressed:
            found.append(pressed())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

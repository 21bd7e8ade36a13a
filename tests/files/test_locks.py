"""One process at a time: the second is told, a killed one blocks nobody."""

import multiprocessing
import os
import signal
import time

import pytest

from nst_jax.errors import InputError
from nst_jax.files import locks

pytest.importorskip("fcntl", reason="the system has no such locks")


def hold(place, ready):
    with locks.held(place, "busy"):
        ready.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds a place; it is killed at the end, if not before."""
    fork, started = multiprocessing.get_context("fork"), []

    def start(place):
        ready = fork.Event()
        process = fork.Process(target=hold, args=(place, ready))
        process.start()
        started.append(process)
        assert ready.wait(10)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_second_is_told_and_a_killed_holder_blocks_nobody(tmp_path, holder, kind, capfd):
    place = tmp_path if kind == "folder" else tmp_path / "run"
    process = holder(place)
    with pytest.raises(InputError, match="busy"), locks.held(place, "busy"):
        pass
    if kind == "file":
        with locks.held(tmp_path / "another", "busy"):
            pass
    os.kill(process.pid, signal.SIGKILL)
    with locks.held(place, "wait for it", wait=True):
        pass
    assert capfd.readouterr().err in ("", "wait for it\n")
    process.join()
    assert os.listdir(tmp_path) == []


def test_two_calls_in_one_process_exclude_each_other_too(tmp_path):
    place = tmp_path / "run"
    with locks.held(place, "busy"):
        with pytest.raises(InputError, match="busy"), locks.held(place, "busy"):
            pass
        assert len(os.listdir(tmp_path)) == 1
    with locks.held(place, "busy"), locks.held(None, "busy"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_file_deleted_by_its_last_holder_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    place, opened = tmp_path / "run", os.open

    def late(path, *args):
        number = opened(path, *args)
        if not seen:
            seen.append(path)
            os.unlink(path)  # what a holder does that ends between our opening and locking
        return number

    seen = []
    monkeypatch.setattr(locks.os, "open", late)
    with locks.held(place, "busy"):
        assert len(os.listdir(tmp_path)) == 1
        with pytest.raises(InputError), locks.held(place, "busy"):
            pass


def test_without_a_folder_to_lock_in_nothing_is_locked(tmp_path):
    with locks.held(tmp_path / "missing" / "run", "busy"):
        pass

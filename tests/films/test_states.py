"""What frames are drawn from is kept with an unfinished film, for the last frames alone."""

from fractions import Fraction

import numpy as np
import pytest

from nst_jax.films import writing
from nst_jax.films.film import Film, Frame

FILM = Film(16, 24, Fraction(25), Fraction(1, 25))


class Killed(BaseException):
    """Nothing catches it."""


def go_on(path, count):
    """Write `count` frames, each with a state, and be killed; return what was there before."""
    with writing.opened(path, FILM, settings={"of": "a test"}, states=3) as out:
        done, states = out.done, [float(state["value"][0]) for state in out.states]
        for n in range(done, done + count):
            rgb = np.full((16, 24, 3), n, np.uint8)
            out.write(Frame(rgb, n / FILM.rate, FILM.unit), {"value": np.float32([n, -n])})
        raise Killed(done, states)


@pytest.mark.parametrize("name", ["out.mkv", "out"])
def test_the_last_states_are_there_after_a_kill(tmp_path, monkeypatch, name):
    monkeypatch.setattr("nst_jax.films.pieces._LENGTH", 2)
    found = []
    for count in (2, 3, 0):
        with pytest.raises(Killed) as caught:
            go_on(tmp_path / name, count)
        found.append(caught.value.args)
    assert found == [(0, []), (2, [0, 1]), (5, [2, 3, 4])]
    folder = tmp_path / f"{name}.unfinished"
    assert len(list(folder.glob("*.state"))) == 3
    # Killed between a state and its frame: the state is of no frame that is there.
    (folder / "00000005.state").write_bytes((folder / "00000004.state").read_bytes())
    (folder / "00000002.state").unlink()
    with pytest.raises(Killed) as caught:
        go_on(tmp_path / name, 0)
    assert caught.value.args == (5, [3, 4])
    with writing.opened(tmp_path / name, FILM, settings={"of": "a test"}):
        pass
    assert not folder.exists()
    if name == "out":
        assert [p.suffix for p in (tmp_path / name).iterdir()] == [".png"] * 5

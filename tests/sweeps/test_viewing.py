"""Sweeps that show themselves while they run, that are stopped, and that go on."""

import io
import pickle

import numpy as np
import pytest
import tiny
from PIL import Image

import nst_jax as nst
from nst_jax.sweeps import viewing

NETWORK, CONTENT, STYLE = tiny.Pixels(), tiny.picture(24, 32), tiny.picture(32, 32, 2)
WEIGHTS = [1.0, 10.0, 100.0]


def sweep(content=CONTENT, **options):
    fast = {"iterations": 6, "size": None, "optimizer": "adam", "progress": False}
    return nst.sweep(content, STYLE, network=NETWORK, **fast | {"style_weight": WEIGHTS} | options)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_callback_sees_lanes_that_run_and_lanes_that_have_ended(in_flight):
    seen = []
    found = sweep(callback=seen.append, in_flight=in_flight)
    assert {i for now in seen for i in now.running} == {0, 1, 2}
    assert seen[-1].evaluations == seen[-1].total == 18
    assert [len(now.sweep) for now in seen] == sorted(len(now.sweep) for now in seen)
    last = seen[-1].running[2].x
    np.testing.assert_allclose(np.asarray(last), found[2].image, atol=1e-6)
    assert seen[0].grid().size <= found.grid().size


@pytest.mark.parametrize(("in_flight", "kept"), [(1, 1), (3, 3)])
def test_true_stops_the_sweep_and_other_answers_do_not(in_flight, kept):
    stopped = sweep(callback=lambda now: np.True_, in_flight=in_flight)
    assert [lane.status for lane in stopped] == ["stopped"] * kept
    assert stopped.unfinished == (0, 1, 2)
    assert len(sweep(callback=lambda now: [1], in_flight=in_flight).unfinished) == 0


def test_an_answer_at_the_end_of_a_lane_stops_the_next_one():
    answers = iter([now == 1 for now in range(100)])  # the second chunk is a lane's last
    found = sweep(callback=lambda now: next(answers), in_flight=1)
    assert [lane.status for lane in found] == ["finished", "stopped"]


def test_the_sheet_in_the_folder_and_in_a_notebook_grows(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(viewing, "_PAUSE", -1.0)
    monkeypatch.setattr("nst_jax.sweeps.run.notebook", lambda: shown.append)
    found = sweep(progress=True, output=tmp_path / "out", in_flight=1)
    assert len(shown) > 3
    areas = [sheet.width * sheet.height for sheet in shown]
    assert areas[0] < areas[-1]
    sheet = np.asarray(Image.open(tmp_path / "out" / "sheet.png"))
    np.testing.assert_array_equal(sheet, np.asarray(found.grid()))


def test_lanes_go_on_from_their_pictures():
    found = sweep(in_flight=3)
    for again in (found, pickle.loads(pickle.dumps(found))):
        longer = again.go_on(4, lanes=[0, 2], progress=False)
        assert longer[1] is again[1]
        for i in (0, 2):
            alone = found[i].go_on(4)
            assert longer[i].settings.iterations == 4
            np.testing.assert_allclose(longer[i].image, alone.image, atol=1e-5)
    with pytest.raises(nst.InputError, match="Lane 7 has no result to go on from"):
        found.go_on(4, lanes=[7])


def test_an_open_file_is_read_once_for_each_lane():
    file = io.BytesIO()
    Image.fromarray(CONTENT).save(file, "png")
    file.seek(0)
    for one, other in zip(sweep(file), sweep(), strict=True):
        np.testing.assert_array_equal(one.image, other.image)

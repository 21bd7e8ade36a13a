"""The range penalty: by hand, its gradient, and what it does to a run."""

import jax
import numpy as np
import pytest
import tiny
from commands import run

import nst_jax as nst
from nst_jax.losses import range_penalty

CONTENT, STYLE = tiny.picture(24, 32), tiny.picture(32, 24, 2)
FAST = {"network": tiny.network(), "size": None, "progress": False, "preset": "gatys"}


def test_it_is_the_mean_square_of_what_is_beyond(rng):
    x = rng.normal(0.5, 0.6, (5, 7, 3)).astype(np.float32)
    beyond = np.maximum(x - 1, 0) + np.minimum(x, 0)
    assert float(range_penalty(x)) == pytest.approx(255**2 * np.mean(beyond**2), rel=1e-5)
    gradient = jax.grad(range_penalty)(x)
    np.testing.assert_allclose(gradient, 2 * 255**2 * beyond / x.size, rtol=1e-4, atol=1e-3)


def test_a_picture_in_range_has_none_and_no_gradient(rng):
    x = rng.uniform(size=(4, 4, 3)).astype(np.float32)
    x[0, 0], x[1, 1] = 0, 1
    value, gradient = jax.value_and_grad(range_penalty)(x)
    assert float(value) == 0
    assert not np.asarray(gradient).any()


def test_it_keeps_a_run_in_range():
    options = {**FAST, **tiny.SHALLOW, "iterations": 30, "tv_weight": 0.0}
    free, held = (nst.stylize(CONTENT, STYLE, range_weight=w, **options) for w in (0.0, 1e4))
    assert free.losses["range"].max() == 0  # left out of the program
    assert held.losses["range"].max() > 0
    parts = sum(held.losses[name] for name in ("content", "style", "tv", "range"))
    np.testing.assert_allclose(held.losses["total"], parts, rtol=1e-5)
    saved = [(r.image <= 0).mean() + (r.image >= 1).mean() for r in (free, held)]
    assert saved[1] < saved[0]


def test_lanes_share_a_program_where_some_have_none(monkeypatch):
    options = {**FAST, **tiny.SHALLOW, "iterations": 5, "history": 4}
    sweep = nst.sweep(CONTENT, STYLE, range_weight=[0, 10.0], in_flight=2, **options)
    rows = sweep.table()
    assert [row["range"] > 0 for row in rows] == [False, True]
    assert rows[0]["range_unweighted"] is None
    assert rows[1]["range_unweighted"] == pytest.approx(rows[1]["range"] / 10, rel=1e-5)


def test_its_options_follow_from_its_name(capsys):
    assert nst.Settings(range_weight=2, range_weight_schedule="linear:0:1").weight("range") == 2
    assert run("stylize", "--help") == 0
    text = capsys.readouterr().out
    assert "--range-weight RANGE" not in text
    assert "--range-weight" in text
    assert "--range-weight-schedule" in text

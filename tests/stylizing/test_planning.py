"""`seconds` alone plans the run; a model's pass as the start, or as the whole result."""

import itertools
import time
from typing import Any

import jax
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import nst_jax as nst
from nst_jax import programs
from nst_jax.pictures import reading
from nst_jax.solvers import chunks
from nst_jax.stylizing import planning
from nst_jax.stylizing.outputs import Outputs
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.resolving import resolve_options

CONTENT, STYLE = tiny.picture(40, 56), tiny.picture(56, 48, seed=2)


def stylize(**options):
    wanted: Any = {"size": None, "progress": False, "network": "vgg19-lite", "draft": False}
    return nst.stylize(CONTENT, STYLE, **wanted | options)


@pytest.fixture(scope="module")
def drawn():
    """What the model itself draws; styles are as large as the drawing, as it takes them."""
    return nst.load("anystyle")(CONTENT, STYLE).image


def test_without_evaluations_the_start_is_the_result(drawn, tmp_path):
    result = stylize(init="anystyle", min_size=None, iterations=0)
    np.testing.assert_allclose(result.image, drawn, atol=1e-5)
    assert (result.status, result.scales, result.losses) == ("finished", (), {})
    record = reading.read_settings(result.save(tmp_path / "out.png"))
    assert (record["evaluations"], record["losses"]) == (0, {})
    assert "without evaluations" in repr(result)
    content = stylize(init="content", min_size=None, iterations=0)
    np.testing.assert_allclose(content.image, CONTENT / np.float32(255), atol=1e-6)


def test_the_start_keeps_to_the_size_of_the_style_that_is_asked_for(drawn):
    smaller = stylize(init="anystyle", min_size=None, iterations=0, style_size=40)
    model = nst.load("anystyle")
    style = reading.read(STYLE, size=40).rgb
    expected = model.painter(style, 40, 56, resized=False)(CONTENT[None] / np.float32(255))[0]
    np.testing.assert_allclose(smaller.image, expected, atol=1e-5)
    assert np.abs(smaller.image - drawn).mean() > 0.01


def test_several_styles_are_mixed_by_their_weights(drawn):
    options: Any = {"init": "anystyle", "min_size": None, "iterations": 0, "network": "vgg19-lite"}
    how: Any = {"size": None, "progress": False, "draft": False}
    styles = [STYLE, tiny.picture(56, 48, seed=3)]
    mixed = nst.stylize(CONTENT, styles, style_blend=(1, 0), **options | how)
    np.testing.assert_allclose(mixed.image, drawn, atol=1e-4)
    equal = nst.stylize(CONTENT, styles, **options | how)
    theirs = nst.load("anystyle")(CONTENT, styles).image
    np.testing.assert_allclose(equal.image, theirs, atol=1e-5)


def test_a_pass_between_scales_counts_as_time_of_the_run(monkeypatch):
    whole = Request.redrawn

    def slow(self, problem, x):
        time.sleep(0.5)
        return whole(self, problem, x)

    monkeypatch.setattr(Request, "redrawn", slow)
    options: Any = {"init": "anystyle", "min_size": 40, "iterations": 1, "coarse_iterations": 1}
    result = nst.stylize(
        tiny.picture(64, 64), STYLE, size=None, network="vgg19-lite", progress=False, **options
    )
    assert len(result.scales) == 2
    assert result.run_seconds >= 0.5


def test_a_start_that_a_model_draws_takes_no_regions():
    with pytest.raises(nst.InputError, match=r"init 'anystyle' .* takes neither regions"):
        stylize(init="anystyle", min_size=None, iterations=0, keep=np.eye(40, 56))


def test_sweeps_need_an_evaluation():
    with pytest.raises(nst.InputError, match="iterations is 0, but a lane"):
        nst.sweep(CONTENT, STYLE, seed=[0, 1], iterations=0, network=tiny.network())


@pytest.mark.parametrize(
    ("options", "plans"),
    [
        ({"seconds": 5}, True),
        ({"seconds": 5, "style_weight": 1e4, "size": 300, "color": "luminance"}, True),
        ({"seconds": None}, False),
        ({}, False),
        ({"seconds": 5, "iterations": 200}, False),
        ({"seconds": 5, "min_size": None}, False),
        ({"seconds": 5, "init": "noise"}, False),
        ({"seconds": 5, "preset": "gatys"}, False),
        ({"seconds": 5, "network": "vgg19"}, False),
        ({"seconds": 5, "network": tiny.network()}, False),
        ({"seconds": 5, "tolerance": 0.01}, False),
        ({"seconds": 5, "style_weight_schedule": "linear:0:1"}, False),
        ({"seconds": 5, "checkpoint": "run.ckpt"}, False),
    ],
)
def test_seconds_plan_if_nothing_else_sets_the_course(options, plans):
    rest = dict(options)
    preset, network = rest.pop("preset", "default"), rest.pop("network", "auto")
    outputs = Outputs(checkpoint=rest.pop("checkpoint", None))
    assert planning.is_wanted(preset, network, rest, outputs) is plans


@given(st.floats(0.1, 0.9), st.lists(st.floats(0.01, 1), min_size=1, max_size=5), st.floats(0, 100))
def test_counts_use_the_time_and_no_more(coarse, costs, seconds):
    many, last = planning.counts(coarse, costs, seconds)
    each = many if len(costs) > 1 else 0
    assert min(many, last) >= 1
    spent = each * sum(costs[:-1]) + last * costs[-1]
    if last > 1 and each != 1:
        assert spent <= seconds * (1 + 1e-9)
    assert spent + costs[-1] > seconds * (1 - 1e-9)


@pytest.fixture
def one_scale(monkeypatch):
    """Only one way: a pass, then the small network at the end size; and a machine of one speed."""
    monkeypatch.setattr(planning, "WAYS", planning.WAYS[-1:])
    monkeypatch.setattr(planning, "speed", lambda: 1.8e11)


def test_a_planned_run_keeps_to_the_time_and_can_be_repeated(
    one_scale, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(programs, "_QUICK", 0.0)  # a fast machine compiles these in a moment
    # Only reading the clock takes time: so a busy machine does as much as a quiet one.
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) / 32)
    monkeypatch.setattr(chunks, "chunk_after", lambda *_: 1)
    options: Any = {"size": None, "seconds": 2.0, **tiny.SHALLOW}
    content = CONTENT[:, :-1]  # no other test has compiled programs for this size
    first = nst.stylize(content, STYLE, callback=lambda now: True, **options)
    again = nst.stylize(content, STYLE, **options)
    assert "compiled, once: the picture comes" in capsys.readouterr().err
    assert again.plan == (
        "Planned for 2 s: from one pass of anystyle, then at 55 px vgg19-lite until the time is up."
    )
    assert again.status == "time"
    assert again.compile_seconds + again.run_seconds < 2.2
    used = again.settings
    assert (used.network, used.init, used.seconds) == ("vgg19-lite", "anystyle", None)
    assert used.iterations == again.evaluations[-1] == again.scales[-1].evaluations > 3
    assert first.plan == again.plan == again.record()["plan"]
    path = again.save(tmp_path / "out.png")
    repeated = nst.repeat(path, content, STYLE, progress=False)
    np.testing.assert_array_equal(repeated.image, again.image)


def test_too_few_seconds_give_one_pass_and_say_what_it_takes(drawn):
    with pytest.warns(UserWarning, match=r"seconds is 0.001, but one pass at this size took \d"):
        result = nst.stylize(CONTENT, STYLE, size=None, seconds=0.001, progress=False)
    np.testing.assert_allclose(result.image, drawn, atol=1e-5)
    assert result.plan == "Planned for 0.001 s: one pass of anystyle at 56 px."


def test_what_no_model_draws_takes_more_time():
    with pytest.raises(nst.InputError, match=r"seconds is 0.001, but needs about \d.*: no model"):
        nst.stylize(CONTENT, STYLE, keep=np.eye(40, 56), size=None, seconds=0.001)


def test_quick_names_its_network():
    assert resolve_options("quick", "auto", {})[0].network == "vgg19-lite"
    assert resolve_options("quick", "vgg19", {})[0].network == "vgg19"


def test_quick_is_a_pass_refined_at_the_end_size(drawn):
    options: Any = {"size": None, **tiny.SHALLOW, "network": tiny.network()}
    result = nst.stylize(CONTENT, STYLE, preset="quick", progress=False, **options)
    assert [scale[:3] for scale in result.scales] == [(40, 56, 15)]
    one = nst.stylize(CONTENT, STYLE, preset="quick", progress=False, **options | {"iterations": 0})
    np.testing.assert_allclose(one.image, drawn, atol=1e-5)
    assert result.losses["total"][-1] < result.losses["total"][0]


def test_from_coarse_to_fine_a_model_draws_again_at_the_end_size():
    seen = []
    counts = {"min_size": 39, "coarse_iterations": 2, "iterations": 1, "size": None}
    options: Any = counts | tiny.SHALLOW | {"network": tiny.network()}
    result = nst.stylize(
        CONTENT,
        STYLE,
        preset="quick",
        progress=False,
        callback=lambda now: seen.append(np.asarray(now.x)),
        **options,
    )
    assert [scale[:3] for scale in result.scales] == [(29, 40, 2), (40, 56, 1)]
    enlarged = np.clip(jax.image.resize(seen[1], (40, 56, 3), "cubic"), 0, 1)
    again = nst.load("anystyle")(enlarged, STYLE).image
    np.testing.assert_allclose(result.image, again, atol=0.02)
    assert np.abs(result.image - enlarged).mean() > 0.02

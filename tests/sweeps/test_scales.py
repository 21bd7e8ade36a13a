"""Lanes draw what `stylize` draws: at all scales, with the draft, regions and kept pixels."""

import signal
import time
from typing import Any

import numpy as np
import pytest
import tiny

import nst_jax as nst
from nst_jax.solvers import lanes
from nst_jax.sweeps import together

CONTENT, STYLE = tiny.picture(24, 32), tiny.picture(32, 32, 2)
COARSE = {"min_size": 20, "coarse_iterations": 4, "iterations": 6, "size": None}
COMMON = {"progress": False, "network": tiny.network()} | tiny.SHALLOW
LEFT = np.repeat(np.arange(32)[None] < 16, 24, axis=0)


@pytest.fixture
def traced(monkeypatch):
    """How often a program of several lanes was traced."""
    seen = []
    advance = lanes.solver.advance

    def counting(*args, **options):
        seen.append(None)
        return advance(*args, **options)

    monkeypatch.setattr(lanes.solver, "advance", counting)
    program: Any = lanes.advance
    program.clear_cache()
    return seen


def require_alike(found, axes, **options):
    """Each lane is the picture that `stylize` draws, up to rounding."""
    assert len(found) == len(found.points)
    for point, lane in zip(found.points, found, strict=True):
        style = axes.get("style", STYLE)
        alone = nst.stylize(CONTENT, style, **COMMON | options | point)
        assert lane.scales == alone.scales
        assert lane.settings == alone.settings
        assert lane.status == alone.status == "finished"
        np.testing.assert_array_equal(lane.evaluations, alone.evaluations)
        # L-BFGS makes rounding grow, so later losses are compared with less precision.
        for term, values in alone.losses.items():
            np.testing.assert_allclose(
                lane.losses[term][:4], values[:4], rtol=1e-4, atol=1e-6, err_msg=term
            )
        assert min(lane.losses["total"]) == pytest.approx(min(alone.losses["total"]), rel=1e-3)
        np.testing.assert_allclose(lane.image, alone.image, atol=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"network": tiny.wide()}, id="draft"),
        pytest.param(
            {
                "optimizer": "adam",
                "style_weight_schedule": "linear:0.1:1",
                "keep": np.repeat(np.arange(24)[:, None] < 6, 32, axis=1),
                "color": "luminance",
                "content_regions": LEFT.astype(int),
                "region_styles": "0:1,1:2",
            },
            id="regions",
        ),
    ],
)
def test_lanes_side_by_side_draw_all_scales_of_stylize(traced, options):
    style = [STYLE, tiny.picture(28, 36, 3)] if "region_styles" in options else STYLE
    options = COARSE | options
    weights = [1e2, 1e3, 1e4]
    found = nst.sweep(CONTENT, style, style_weight=weights, in_flight=3, **COMMON | options)
    assert len(traced) == len(found[0].scales) == 2 + ("network" in options)
    require_alike(found, {"style": style}, **options)


# These have all kinds of terms, starts and renewals.
@pytest.mark.parametrize("preset", ["default", "quick", "wasserstein", "neighbours", "strotss"])
def test_a_lane_by_itself_is_stylize_to_the_bit(preset):
    options = COMMON | {"size": 32, "iterations": 3, "preset": preset}
    found = nst.sweep(CONTENT, STYLE, seed=[0, 1], init="blend", in_flight=1, **options)
    for point, lane in zip(found.points, found, strict=True):
        alone = nst.stylize(CONTENT, STYLE, init="blend", **options | point)
        np.testing.assert_array_equal(lane.image, alone.image)
        np.testing.assert_array_equal(lane.losses["total"], alone.losses["total"])


def test_a_lane_that_diverges_at_a_coarse_scale_keeps_that_and_changes_no_other():
    options = COMMON | COARSE | {"optimizer": "lbfgs", "coarse_iterations": 30, "in_flight": 3}
    with pytest.warns(RuntimeWarning, match=r"^Lane 1 \(learning_rate 1e\+20\): at evaluation"):
        found = nst.sweep(CONTENT, STYLE, learning_rate=[1e-4, 1e20, 1e-3], **options)
    assert [r.status for r in found] == ["finished", "diverged", "finished"]
    assert [len(r.scales) for r in found] == [2, 1, 2]
    assert {r.image.shape for r in found} == {(24, 32, 3)}


@pytest.mark.parametrize(
    ("options", "in_flight"),
    [
        ({}, 2),
        ({"tolerance": 0.5}, 1),
        ({"optimizer": "lbfgs-zoom"}, 1),
        ({"optimizer": "lbfgs-zoom", "min_size": None}, 2),
    ],
)
def test_lanes_that_end_their_scales_by_themselves_run_one_after_the_other(
    monkeypatch, options, in_flight
):
    seen = []
    monkeypatch.setattr(
        "nst_jax.sweeps.run.run", lambda group, *_: seen.append(group.in_flight) or iter(())
    )
    options = COMMON | COARSE | options
    nst.sweep(CONTENT, STYLE, style_weight=[1, 2], in_flight=2, **options)
    assert seen == [in_flight]


def test_ctrl_c_before_a_scale_keeps_the_one_before(monkeypatch):
    run = together.loop.run_lanes

    def dying(*args, **options):
        if dying.left == 0:
            signal.raise_signal(signal.SIGINT)
        dying.left -= 1
        return run(*args, **options)

    dying.left = 1
    monkeypatch.setattr(together.loop, "run_lanes", dying)
    found = nst.sweep(CONTENT, STYLE, style_weight=[1, 2], in_flight=2, **COMMON | COARSE)
    assert [lane.status for lane in found] == ["interrupted"] * 2
    assert [len(lane.scales) for lane in found] == [1, 1]
    assert found.unfinished == (0, 1)


def test_seconds_are_a_lanes_share_of_the_time():
    options = COMMON | COARSE | {"iterations": 10**6, "optimizer": "adam", "seconds": 1.0}
    began = time.perf_counter()
    found = nst.sweep(CONTENT, STYLE, style_weight=[1, 2, 3], in_flight=3, **options)
    whole = time.perf_counter() - began
    shares = [lane.compile_seconds + lane.run_seconds for lane in found]
    assert {lane.status for lane in found} == {"time"}
    assert min(shares) >= 1.0
    assert sum(shares) <= whole

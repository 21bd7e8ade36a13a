"""Lanes draw what `stylize` draws: at all scales, with the draft, regions and kept pixels."""

import signal
from typing import Any

import numpy as np
import pytest
import tiny

import nst_jax as nst
from nst_jax.solvers import lanes, loop
from nst_jax.sweeps import together

CONTENT, STYLE = tiny.picture(24, 32), tiny.picture(32, 32, 2)
COARSE = {"min_size": 16, "coarse_iterations": 4, "iterations": 6, "size": None}
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
            np.testing.assert_allclose(lane.losses[term][:4], values[:4], rtol=1e-4, atol=1e-6, err_msg=term)
        assert min(lane.losses["total"]) == pytest.approx(min(alone.losses["total"]), rel=1e-3)
        np.testing.assert_allclose(lane.image, alone.image, atol=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="default"),
        pytest.param({"network": tiny.wide()}, id="draft"),
        pytest.param({"optimizer": "adam", "style_weight_schedule": "linear:0.1:1"}, id="adam"),
        pytest.param({"keep": LEFT, "color": "luminance"}, id="keep"),
        pytest.param(
            {"content_regions": LEFT.astype(int), "region_styles": "0:1,1:2"}, id="regions"
        ),
    ],
)
def test_lanes_side_by_side_draw_all_scales_of_stylize(traced, options):
    style = [STYLE, tiny.picture(28, 36, 3)] if "region_styles" in options else STYLE
    options = COARSE | options
    weights = [1e2, 1e3, 1e4]
    found = nst.sweep(CONTENT, style, style_weight=weights, in_flight=3, **COMMON | options)
    assert len(traced) == len(found[0].scales) == 3 + ("network" in options)
    require_alike(found, {"style": style}, **options)


@pytest.mark.parametrize("preset", list(nst.PRESETS))
def test_a_lane_by_itself_is_stylize_to_the_bit(preset):
    options = COMMON | {"size": 32, "iterations": 3, "preset": preset}
    found = nst.sweep(CONTENT, STYLE, seed=[0, 1], init="blend", in_flight=1, **options)
    for point, lane in zip(found.points, found, strict=True):
        alone = nst.stylize(CONTENT, STYLE, init="blend", **options | point)
        np.testing.assert_array_equal(lane.image, alone.image)
        np.testing.assert_array_equal(lane.losses["total"], alone.losses["total"])

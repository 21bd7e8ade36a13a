"""Lanes side by side are the runs that they would be alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.solvers import loop
from nst_jax.solvers.schedules import Ramp
from nst_jax.solvers.solver import Optimizer
from nst_jax.solvers.stopping import Limits

FORTY = Limits(40)
CENTRES = [1.0, -2.0, 0.5, 3.0]


def bowl(x, args):
    """NaN for centres from 100, steep for the others."""
    centre, scale = args
    value = scale * jnp.sum(jnp.arange(1.0, 6.0) * (x - centre) ** 2)
    value = jnp.where(centre >= 100, jnp.nan, value)
    return value, {"total": value, "tv": 2 * value}


def alone(centre, method, *, rate=0.05, limits=FORTY):
    args = jnp.float32(centre), jnp.float32(2)
    return loop.run(
        bowl, Optimizer(method, history=4), jnp.zeros(5), args, learning_rate=rate, limits=limits
    )


def together(centres, method="lbfgs", *, rates=None, padding=0, limits=FORTY, **options):
    centres = jnp.float32([*centres, *[0.0] * padding])
    count = len(centres)
    return loop.run_lanes(
        bowl,
        Optimizer(method, history=4),
        jnp.zeros((count, 5)),
        (centres, jnp.float32(2)),
        axes=(0, None),
        learning_rate=jnp.full(count, 0.05) if rates is None else rates,
        limits=limits,
        names={i: f"Lane {i}" for i in range(count - padding)},
        **options,
    )


@pytest.mark.parametrize("method", ["lbfgs", "lbfgs-zoom", "adam", "sgd"])
def test_each_lane_is_the_run_that_it_would_be_alone(method):
    outcomes = together(CENTRES, method, padding=1)
    assert len(outcomes) == len(CENTRES)
    for outcome, centre in zip(outcomes, CENTRES, strict=True):
        single = alone(centre, method)
        np.testing.assert_allclose(outcome.x, single.x, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            outcome.losses["total"][:10], single.losses["total"][:10], rtol=1e-4
        )
        np.testing.assert_array_equal(outcome.evaluations, single.evaluations)
        assert outcome.status == "finished"


def test_a_lane_that_diverges_is_frozen_and_the_others_go_on_as_without_it():
    with pytest.warns(RuntimeWarning) as caught:
        good, bad = together([1.0, 100.0], limits=Limits(200))
    twin, _ = together([1.0, 2.0], limits=Limits(200))
    assert (good.status, bad.status) == ("finished", "diverged")
    assert bad.evaluations[-1] < 200
    np.testing.assert_array_equal(good.x, twin.x)
    np.testing.assert_array_equal(good.losses["total"], twin.losses["total"])
    np.testing.assert_array_equal(bad.x, 0)
    assert all(str(w.message).startswith("Lane 1: at evaluation") for w in caught)


def test_a_lane_on_a_plateau_is_frozen_alone():
    limits = Limits(400, tolerance=0.5, patience=20)
    rates = jnp.float32([0.1, 1e-4])
    slow, stuck = together([1.0, 1.0], "sgd", rates=rates * jnp.float32([0.01, 0]), limits=limits)
    assert stuck.status == "plateau"
    assert stuck.evaluations[-1] == 40
    assert slow.evaluations[-1] > 40


def test_when_all_have_ended_the_run_ends():
    seen = []
    with pytest.warns(RuntimeWarning, match="Lane"):
        together(
            [100.0, 100.0],
            limits=Limits(10**7),
            report=lambda progress: seen.append([p.evaluations for p in progress]) and None,
        )
    assert len(seen) < 100


def test_a_true_report_stops_all_lanes():
    outcomes = together(CENTRES, limits=Limits(10**7), report=lambda progress: True)
    assert [o.status for o in outcomes] == ["stopped"] * len(CENTRES)
    assert {o.evaluations[-1] for o in outcomes} == {1}


def test_learning_rates_may_be_ramps():
    one, two = Ramp("linear", 0.1, 0.0, 10.0), Ramp("linear", 0.05, 0.05, 10.0)
    ramps = jax.tree.map(lambda *values: jnp.stack(jnp.asarray(values)), one, two)
    first, second = together([1.0, 1.0], "sgd", rates=ramps)
    np.testing.assert_allclose(second.x, alone(1.0, "sgd").x, rtol=1e-4)
    assert not np.allclose(first.x, second.x)

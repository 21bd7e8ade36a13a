"""Schedules: the values against optax's, and what solvers make of a function that changes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

import nst_jax as nst
from nst_jax.solvers import schedules, solver
from nst_jax.solvers.schedules import Ramp
from nst_jax.solvers.solver import Optimizer, minimize

COUNTS = range(0, 60, 7)


@pytest.mark.parametrize(
    ("ramp", "oracle"),
    [
        (Ramp("linear", 3.0, 0.5, 40.0), optax.linear_schedule(3.0, 0.5, 40)),
        (Ramp("cosine", 3.0, 0.6, 40.0), optax.cosine_decay_schedule(3.0, 40, alpha=0.2)),
        (Ramp("exponential", 3.0, 0.3, 40.0), optax.exponential_decay(3.0, 40, 0.1, end_value=0.3)),
    ],
    ids=lambda value: getattr(value, "course", ""),
)
def test_values_are_those_of_optax(ramp, oracle):
    found = [ramp(n) for n in COUNTS]
    np.testing.assert_allclose(found, [oracle(n) for n in COUNTS], rtol=1e-5)
    assert float(jax.vmap(lambda end: Ramp(ramp.course, 3.0, end, 40.0)(99))(jnp.ones(2))[1]) == 1


def test_a_held_value_changes_at_multiples_alone():
    free, held = Ramp("linear", 0.0, 1.0, 40.0), Ramp("linear", 0.0, 1.0, 40.0, hold=10)
    np.testing.assert_allclose([held(n) for n in range(20, 30)], [free(20)] * 10)
    tree = {"a": held, "b": jnp.ones(3)}
    moves = [n for n in range(60) if schedules.changed(tree, n, n + 1)]
    assert moves == [9, 19, 29, 39]
    assert schedules.changed({"b": jnp.ones(3)}, 0, 1) is False
    assert set(schedules.at(tree, 20)) == {"a", "b"}
    assert schedules.at(tree, 20)["a"] == 0.5


def bowls(x, weights):
    """Two quadratic terms, in unlike places: where the minimum is, the weights say."""
    terms = {"content": jnp.sum((x - 1) ** 2), "style": jnp.sum(jnp.arange(1.0, 5) * (x + 1) ** 2)}
    value = sum(w * terms[k] for k, w in weights.items())
    total = terms["content"] + terms["style"]
    return value, {"total": total, **terms}


@pytest.mark.parametrize("method", ["lbfgs", "lbfgs-zoom", "adam"])
@pytest.mark.parametrize("start", [0.0, 30.0])
def test_a_schedule_ends_at_the_minimum_of_its_last_weights(method, start):
    weights = {"content": 1.0, "style": Ramp("linear", start, 1.0, 100.0, 10)}
    state, trace = minimize(
        bowls,
        jnp.zeros(4),
        weights,
        optimizer=Optimizer(method),
        learning_rate=0.05 if method == "adam" else 1.0,
        evaluations=800 if method == "adam" else 250,
    )
    a = np.arange(1.0, 5)
    np.testing.assert_allclose(state.best_x, (1 - a) / (1 + a), atol=2e-3)
    assert int(state.restarts) == 0
    assert float(state.best) == np.min(trace.terms["total"][: int(trace.steps)])


def test_lbfgs_takes_up_no_pair_across_a_change():
    weights = {"content": 1.0, "style": Ramp("linear", 2.0, 1.0, 100.0, 10)}
    optimizer = Optimizer("lbfgs", history=50)
    state = solver.start(optimizer, jnp.full(4, 100.0))
    state, _ = solver.advance(bowls, optimizer, state, weights, 0.1, 31, capacity=31)
    # 31 gradients make 30 pairs; three of them straddle a change.
    assert int(state.optimizer[0].pairs) == 27


def test_learning_rates_follow_their_schedule():
    # Adam moves by the learning rate in its first steps on a linear function.
    def slope(x, args):
        return jnp.sum(x), {}

    ramp, x, xs = Ramp("linear", 0.1, 0.5, 4.0), jnp.zeros(3), []
    optimizer = Optimizer("adam")
    state = solver.start(optimizer, x)
    for n in range(1, 6):
        state, _ = solver.advance(slope, optimizer, state, (), ramp, n, capacity=1)
        xs.append(float(state.x[0]))
    np.testing.assert_allclose(np.diff([0, *xs]), [-0.1, -0.2, -0.3, -0.4, -0.5], rtol=1e-4)


CONTENT, STYLE, NETWORK = tiny.picture(16, 20), tiny.picture(16, 16, seed=2), tiny.network()


def stylize(**options):
    wanted = {"size": None, "iterations": 12, "network": NETWORK, "progress": False}
    return nst.stylize(CONTENT, STYLE, **wanted | tiny.SHALLOW | options)


def test_stylize_with_schedules_of_everything():
    plain = stylize(optimizer="adam", tv_weight=2.0)
    schedules = {
        "content_weight_schedule": "cosine:3:1",
        "style_weight_schedule": "exponential:0.1:1:0.5",
        "tv_weight_schedule": "linear:0:1",
        "learning_rate_schedule": "linear:1:0.1",
    }
    other = stylize(optimizer="adam", tv_weight=2.0, **schedules)
    # Losses are told at the weights themselves, so the first ones agree.
    for name, values in plain.losses.items():
        np.testing.assert_allclose(other.losses[name][0], values[0], rtol=1e-5)
    assert not np.allclose(plain.image, other.image)
    constant = {name: f"linear:1:1:{i / 4}" for i, name in enumerate(schedules, 1)}
    same = stylize(optimizer="adam", tv_weight=2.0, **constant)
    np.testing.assert_allclose(same.losses["total"], plain.losses["total"], rtol=1e-3)


def test_numbers_of_a_schedule_compile_nothing():
    from nst_jax.solvers.solver import advance_jit

    stylize(style_weight_schedule="linear:0.5:1")
    before = advance_jit.count()
    stylize(style_weight_schedule="linear:0.25:1:0.75", style_weight=50)
    assert advance_jit.count() == before

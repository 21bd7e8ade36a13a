"""Solvers against scipy, torch.optim and closed forms, on functions that know no pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from nst_jax import solvers
from nst_jax.solvers import Optimizer, minimize


def rosenbrock(x, args):
    value = jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    return value, {"total": value}


def quadratic(x, args):
    matrix, b = args
    value = 0.5 * x @ matrix @ x - b @ x
    return value, {"total": value}


def spd(rng, n, condition):
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return jnp.asarray(q * np.geomspace(1, condition, n) @ q.T, jnp.float32)


@pytest.mark.parametrize("method", ["lbfgs", "lbfgs-zoom"])
def test_rosenbrock_reaches_scipys_minimum(method):
    start = np.array([-1.2, 1.0, -0.5, 1.5])
    rosen, slope = scipy.optimize.rosen, scipy.optimize.rosen_der
    oracle = scipy.optimize.minimize(rosen, start, jac=slope, method="L-BFGS-B")
    state, _ = minimize(
        rosenbrock, jnp.float32(start), optimizer=Optimizer(method, history=10), evaluations=200
    )
    np.testing.assert_allclose(state.best_x, oracle.x, atol=2e-3)
    assert float(state.best) < 1e-5


@pytest.mark.parametrize(
    ("optimizer", "rate", "evaluations"),
    [
        (Optimizer("lbfgs"), 1.0, 60),
        (Optimizer("lbfgs", history=5), 1.0, 120),
        (Optimizer("lbfgs-zoom", history=10), 1.0, 120),
        (Optimizer("adam", schedule="cosine", decay_steps=2000), 0.05, 2000),
        (Optimizer("sgd", momentum=0.8), 0.02, 1000),
    ],
    ids=lambda p: p.method if isinstance(p, Optimizer) else str(p),
)
def test_quadratic_reaches_the_closed_form(rng, optimizer, rate, evaluations):
    matrix = spd(rng, 12, 30.0)
    b = jnp.asarray(rng.normal(size=12), jnp.float32)
    state, _ = minimize(
        quadratic,
        jnp.zeros(12),
        (matrix, b),
        optimizer=optimizer,
        learning_rate=rate,
        evaluations=evaluations,
    )
    np.testing.assert_allclose(state.best_x, np.linalg.solve(matrix, b), atol=2e-3)


def test_lbfgs_follows_torch(rng):
    torch = pytest.importorskip("torch", reason="parity with torch.optim.LBFGS needs torch")
    matrix = spd(rng, 30, 1e3)
    b = jnp.asarray(10 * rng.normal(size=30), jnp.float32)
    _, trace = minimize(
        quadratic, jnp.zeros(30), (matrix, b), optimizer=Optimizer("lbfgs"), evaluations=20
    )
    x = torch.zeros(30, dtype=torch.float64, requires_grad=True)
    tm, tb = torch.tensor(np.asarray(matrix, np.float64)), torch.tensor(np.asarray(b, np.float64))
    torch_optimizer = torch.optim.LBFGS([x], max_iter=1, history_size=100)
    values = []

    def closure():
        torch_optimizer.zero_grad()
        value = 0.5 * x @ tm @ x - tb @ x
        value.backward()
        values.append(value.item())
        return value

    for _ in range(20):
        torch_optimizer.step(closure)
    # The first step differs (norm 1 in the sum there, in the square root of squares here).
    ours = np.asarray(trace.terms["total"])
    assert abs(ours[-1] - values[-1]) < 1e-2 * abs(values[-1])


def test_first_step_of_lbfgs_has_norm_one(rng):
    matrix, b = spd(rng, 6, 10.0), jnp.full(6, 100.0)
    optimizer = Optimizer("lbfgs")
    state = solvers.start(optimizer, jnp.zeros(6))
    state, _ = solvers.advance(quadratic, optimizer, state, (matrix, b), 1.0, 1, capacity=1)
    assert np.linalg.norm(state.x) == pytest.approx(1.0, rel=1e-5)


def test_chunks_make_no_difference_and_compile_once(rng):
    matrix, b = spd(rng, 8, 50.0), jnp.asarray(rng.normal(size=8), jnp.float32)
    traces = []

    def counted(x, args):
        traces.append(None)
        return quadratic(x, args)

    def run(chunks):
        state, totals = solvers.start_jit(optimizer, jnp.zeros(8)), []
        for n in chunks:
            state, trace = solvers.advance_jit(
                counted, optimizer, state, (matrix, b), 1.0, n, capacity=16
            )
            totals.extend(trace.terms["total"][: int(trace.steps)].tolist())
        return totals

    optimizer = Optimizer("lbfgs", history=4)
    once = run([12])
    count = len(traces)
    assert run([1, 4, 7]) == once
    assert run([5, 7]) == once
    assert len(traces) == count


def test_bad_curvature_pair_is_not_taken_up():
    # Concave along the way: y.s < 0 for the first pairs. Without the guard the step climbs.
    def wave(x, args):
        value = jnp.sum(jnp.cos(x)) + 0.01 * jnp.sum(x**2)
        return value, {"total": value}

    state, trace = minimize(
        wave, jnp.float32([0.3, -0.2, 0.4]), optimizer=Optimizer("lbfgs", history=5), evaluations=60
    )
    assert np.all(np.isfinite(trace.terms["total"]))
    gradient = jax.grad(lambda x: wave(x, None)[0])(state.best_x)
    np.testing.assert_allclose(gradient, 0, atol=1e-3)
    assert float(state.best) < -2.5


def test_repeated_pair_leaves_the_inverse_hessian_alone(rng):
    # The guard's claim: presenting the last good pair again changes neither direction nor scale.
    matrix, b = spd(rng, 6, 20.0), jnp.asarray(rng.normal(size=6), jnp.float32)
    optimizer = Optimizer("lbfgs", history=10)
    state = solvers.start(optimizer, jnp.zeros(6))
    state, _ = solvers.advance(quadratic, optimizer, state, (matrix, b), 1.0, 4, capacity=4)
    transformation = optax.lbfgs(1.0, memory_size=10, linesearch=None)
    memory = state.optimizer[0]
    # The gradient at the last point once more, as if the step had gone nowhere useful.
    gradient = -memory.updates
    guarded = solvers._drop_bad_pair(optimizer, state.optimizer, memory.params, gradient)
    direction, after = transformation.update(gradient, guarded, memory.params)
    pairs = [
        (np.asarray(memory.diff_params_memory[i]), np.asarray(memory.diff_updates_memory[i]))
        for i in range(3)
    ]
    inverse = np.eye(6) * (pairs[-1][0] @ pairs[-1][1]) / (pairs[-1][1] @ pairs[-1][1])
    for s, y in pairs:
        rho = 1 / (s @ y)
        v = np.eye(6) - rho * np.outer(y, s)
        inverse = v.T @ inverse @ v + rho * np.outer(s, s)
    if float(jnp.vdot(memory.params - memory.params, gradient)) <= 0:
        np.testing.assert_allclose(direction, -inverse @ gradient, rtol=2e-3, atol=1e-5)
    assert np.isfinite(after[0].weights_memory).all()


@pytest.mark.parametrize("method", ["lbfgs", "adam", "sgd"])
def test_blow_up_goes_back_to_the_best_point(method):
    # Not finite beyond 2: the unit steps cross it, the best point never does.
    def cliff(x, args):
        value = jnp.sum(jnp.where(x > 2, jnp.nan, (x - 1.9) ** 2))
        return value, {"total": value}

    rate = {"lbfgs": 1.0, "adam": 1.5, "sgd": 1.9}[method]
    state, trace = minimize(
        cliff,
        jnp.float32([-1.0]),
        optimizer=Optimizer(method),
        learning_rate=rate,
        evaluations=30,
    )
    totals = np.asarray(trace.terms["total"])
    assert np.isfinite(state.best)
    assert float(state.best) == np.nanmin(totals)
    assert int(state.restarts) == np.isnan(totals).sum() == np.asarray(trace.restarted).sum()
    if method != "lbfgs":
        assert int(state.restarts) > 0


def test_bounds_are_kept_and_lanes_are_independent(rng):
    matrix, b = spd(rng, 5, 10.0), jnp.asarray(rng.normal(size=5), jnp.float32)
    optimizer = Optimizer("adam", bounds=(0.0, 0.3))

    def solve(scale):
        return minimize(
            quadratic,
            jnp.zeros(5),
            (matrix, scale * b),
            optimizer=optimizer,
            learning_rate=0.1,
            evaluations=50,
        )[0].best_x

    scales = jnp.float32([0.5, 1.0, 4.0])
    lanes = jax.jit(jax.vmap(solve))(scales)
    assert lanes.min() >= 0
    assert lanes.max() <= np.float32(0.3)
    for scale, lane in zip(scales, lanes, strict=True):
        np.testing.assert_allclose(lane, solve(scale), atol=1e-5)


def test_line_search_counts_every_evaluation(rng):
    matrix, b = spd(rng, 8, 100.0), jnp.asarray(rng.normal(size=8), jnp.float32)
    calls = []

    def counted(x, args):
        jax.debug.callback(lambda: calls.append(None))
        return quadratic(x, args)

    optimizer = Optimizer("lbfgs-zoom", history=5)
    state, trace = minimize(counted, jnp.ones(8), (matrix, b), optimizer=optimizer, evaluations=20)
    jax.effects_barrier()
    assert len(calls) == int(state.evaluations)
    assert int(state.evaluations) >= 20
    assert int(trace.evaluations[int(trace.steps) - 1]) == int(state.evaluations)

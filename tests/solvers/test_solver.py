"""Solvers against scipy, torch.optim and closed forms, on functions that know no pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from oracles import torch_lbfgs

from nst_jax.solvers import solver
from nst_jax.solvers.lbfgs import scale_by_lbfgs
from nst_jax.solvers.schedules import Ramp
from nst_jax.solvers.solver import Optimizer, minimize


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
        (Optimizer("adam"), Ramp("cosine", 0.05, 0.0, 2000.0), 2000),
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
    tm, tb = torch.tensor(np.asarray(matrix)), torch.tensor(np.asarray(b))
    values = torch_lbfgs(torch, lambda x: 0.5 * x @ tm @ x - tb @ x, torch.zeros(30), 20)
    np.testing.assert_allclose(trace.terms["total"], values, rtol=1e-3)


def dense_direction(pairs, gradient):
    """The inverse Hessian of BFGS as a matrix, from its definition, times the gradient."""
    s, y = pairs[-1]
    inverse = np.eye(gradient.size) * (s @ y) / (y @ y)
    for s, y in pairs:
        rho = 1 / (s @ y)
        v = np.eye(gradient.size) - rho * np.outer(y, s)
        inverse = v.T @ inverse @ v + rho * np.outer(s, s)
    return inverse @ gradient


@pytest.mark.parametrize("history", [2, 3, 10])
def test_direction_is_that_of_the_dense_matrix(rng, history):
    matrix = np.asarray(spd(rng, 6, 20.0), np.float64)
    points = rng.normal(size=(6, 6))
    # The pair to the fourth point has negative curvature: it must leave no trace.
    gradients = points @ matrix
    gradients[3] = gradients[2] - (points[3] - points[2])
    gradients[4:] = gradients[3] + (points[4:] - points[3]) @ matrix
    transformation = scale_by_lbfgs(history)
    state = transformation.init(jnp.zeros(6))
    for x, g in zip(points, gradients, strict=True):
        direction, state = transformation.update(jnp.float32(g), state, jnp.float32(x))
    pairs = list(zip(np.diff(points, axis=0), np.diff(gradients, axis=0), strict=True))
    assert pairs[2][0] @ pairs[2][1] < 0
    del pairs[2]
    assert int(state.pairs) == 4
    expected = dense_direction(pairs[-history:], gradients[-1])
    np.testing.assert_allclose(direction, expected, rtol=1e-3, atol=1e-5)


def test_first_step_of_lbfgs_has_norm_one(rng):
    matrix, b = spd(rng, 6, 10.0), jnp.full(6, 100.0)
    optimizer = Optimizer("lbfgs")
    state = solver.start(optimizer, jnp.zeros(6))
    state, _ = solver.advance(quadratic, optimizer, state, (matrix, b), 1.0, 1, capacity=1)
    assert np.linalg.norm(state.x) == pytest.approx(1.0, rel=1e-5)


def test_lbfgs_leaves_a_start_of_negative_curvature():
    """Two wells a thousand times as far away as the first step is long."""

    def wells(x, _):
        value = jnp.sum(x**4 / 4e6 - x**2 / 2)
        return value, {"total": value}

    state, _ = minimize(wells, jnp.array([1.0, -2.0, 0.5, 3.0]), evaluations=60)
    assert float(state.best) == pytest.approx(-1e6, rel=1e-3)
    np.testing.assert_allclose(np.abs(state.best_x), 1000, rtol=1e-2)


def test_lbfgs_grows_its_steps_no_faster_than_it_may():
    """A bowl whose minimum is a million times as far away as the first step is long."""
    value = jax.value_and_grad(lambda x: jnp.mean((x - 1e6) ** 2))

    def norms(**options):
        lbfgs, x, found = scale_by_lbfgs(5, **options), jnp.zeros(8), []
        state = lbfgs.init(x)
        step = jax.jit(lambda x, state: lbfgs.update(value(x)[1], state, x))
        for _ in range(12):
            update, state = step(x, state)
            x = x - update
            found.append(float(jnp.linalg.norm(update)))
        return np.array(found), float(state.scale)

    slow, scale = norms(growth=2.0, stretch=3.0)
    np.testing.assert_allclose(slow, 2.0 ** np.arange(12), rtol=1e-4)
    # y = 2 s / 8, so y.s / y.y = 4; three times that was asked for.
    assert scale == pytest.approx(12, rel=1e-4)
    # What is handed on from scale to scale is the guess before it is widened.
    wide, scale = norms(growth=2.0, stretch=3.0, widening=0.5)
    np.testing.assert_allclose(wide, slow, rtol=1e-4)
    assert scale == pytest.approx(12, rel=1e-4)
    # At once, as far as gradients that differ by a millionth can tell.
    fast, _ = norms(growth=1e7)
    assert fast[1] == pytest.approx(1e6 * np.sqrt(8), rel=0.1)


def test_lbfgs_widens_its_guess_with_its_pairs():
    """Of one pair along the first axis the second knows nothing but the guess, s.y / y.y."""
    lbfgs = scale_by_lbfgs(5, widening=0.5)
    state = lbfgs.init(jnp.zeros(2))
    _, state = lbfgs.update(jnp.array([1.0, 2.0]), state, jnp.zeros(2))
    update, _ = lbfgs.update(jnp.array([-3.0, 2.0]), state, jnp.array([-1.0, 0.0]))
    assert float(update[1]) == pytest.approx(1.5 * 0.25 * 2, rel=1e-5)


def test_lbfgs_stays_where_the_gradient_is_zero():
    def bowl(x, _):
        value = jnp.sum(x**2)
        return value, {"total": value}

    state, trace = minimize(bowl, jnp.zeros(3), evaluations=300)
    np.testing.assert_array_equal(state.x, np.zeros(3))
    assert not np.asarray(trace.terms["total"]).any()
    assert int(state.restarts) == 0


def test_lbfgs_goes_on_growing_its_steps_under_a_schedule():
    """At every tenth evaluation the function is another; steps of norm 1 would come to 120."""

    def wells(x, weight):
        value = weight * jnp.sum(x**4 / 4e12 - x**2 / 2)
        return value, {"total": value}

    start = jnp.array([1.0, -2.0, 0.5, 3.0])
    weight = Ramp("linear", 1.0, 2.0, 1e4, 10)
    state, _ = minimize(wells, start, weight, evaluations=120)
    assert np.abs(state.best_x).min() > 1e5


def test_chunks_make_no_difference_and_compile_once(rng):
    matrix, b = spd(rng, 8, 50.0), jnp.asarray(rng.normal(size=8), jnp.float32)
    traces = []

    def counted(x, args):
        traces.append(None)
        return quadratic(x, args)

    def run(chunks):
        state, totals = solver.start_jit(optimizer, jnp.zeros(8)), []
        for end in np.cumsum(chunks):
            state, trace = solver.advance_jit(
                counted, optimizer, state, (matrix, b), 1.0, end, capacity=16
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


@pytest.mark.parametrize("method", ["lbfgs", "lbfgs-zoom", "adam", "sgd"])
def test_the_first_state_has_the_types_of_the_later_ones(method):
    # A weakly typed leaf would compile the loop a second time.
    state = solver.start(Optimizer(method, history=3), jnp.zeros(4))
    assert not [leaf for leaf in jax.tree.leaves(state) if leaf.weak_type]


@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_averages_are_those_of_numpy(rng, method):
    matrix, b = spd(rng, 5, 10.0), jnp.asarray(rng.normal(size=5), jnp.float32)
    optimizer, points = Optimizer(method, average=0.8), []
    state = solver.start(optimizer, jnp.zeros(5))
    for n in range(1, 8):
        state, _ = solver.advance(quadratic, optimizer, state, (matrix, b), 0.05, n, capacity=1)
        points.append(np.asarray(state.x))
        weights = 0.8 ** np.arange(n)[::-1]
        expected = np.average(points, axis=0, weights=weights)
        np.testing.assert_allclose(solver.point(state), expected, rtol=1e-5)
    lanes = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), state)
    np.testing.assert_allclose(solver.point(lanes), np.stack([expected] * 2), rtol=1e-5)


def test_averages_calm_a_restless_optimizer(rng):
    # Gradients of a random point beside x: the points never come to rest, their average does.
    def noisy(x, args):
        seed = jnp.sum(jnp.abs(x) * 1e4).astype(jnp.int32)
        off = jax.random.normal(jax.random.key(seed), x.shape)
        return 0.5 * jnp.sum(x**2) + jax.lax.stop_gradient(off) @ x, {}

    options = {"learning_rate": 0.05, "evaluations": 600}
    plain, _ = minimize(noisy, jnp.ones(20), optimizer=Optimizer("sgd", momentum=0.0), **options)
    calm, _ = minimize(
        noisy, jnp.ones(20), optimizer=Optimizer("sgd", momentum=0.0, average=0.99), **options
    )
    np.testing.assert_array_equal(plain.x, calm.x)
    assert np.linalg.norm(solver.point(calm)) < 0.7 * np.linalg.norm(plain.x)


@pytest.mark.parametrize("precondition", [0.0, 1.0])
def test_the_first_step_has_the_length_that_was_asked_for(precondition, rng):
    optimizer = Optimizer("lbfgs", history=3, precondition=precondition, growth=2.0, first=0.25)
    start, goal = jnp.zeros((6, 8, 3)), jnp.float32(rng.normal(size=(6, 8, 3)))

    def fn(x, args):
        value = 100 * jnp.square(x - goal).sum()
        return value, {"total": value}

    state = solver.start(optimizer, start)
    state, _ = solver.advance(fn, optimizer, state, (), 1.0, 1, capacity=1)
    assert float(jnp.sqrt(jnp.square(state.x).mean())) == pytest.approx(0.25, rel=1e-5)

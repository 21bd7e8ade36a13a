"""The loop on the host, on small functions: chunks, stopping, Ctrl-C, blow-ups."""

import signal
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.solvers import chunks, loop, stopping
from nst_jax.solvers.solver import Optimizer
from nst_jax.solvers.stopping import Limits


def bowl(x, centre):
    value = jnp.sum(jnp.arange(1.0, 6.0) * (x - centre) ** 2)
    return value, {"total": value, "tv": 2 * value}


def run(
    fn=bowl, x=None, args=1.0, *, method="lbfgs", rate=1.0, iterations=30, limits=None, **options
):
    return loop.run(
        fn,
        Optimizer(method, history=5),
        jnp.zeros(5) if x is None else x,
        jnp.float32(args),
        learning_rate=rate,
        limits=limits or Limits(iterations),
        **options,
    )


def test_outcome_of_a_quiet_run():
    outcome = run(iterations=150)
    np.testing.assert_allclose(outcome.x, 1, atol=1e-3)
    assert (outcome.status, outcome.restarts) == ("finished", 0)
    np.testing.assert_array_equal(outcome.evaluations, np.arange(1, 151))
    assert set(outcome.losses) == {"total", "tv"}
    np.testing.assert_array_equal(outcome.losses["tv"], 2 * outcome.losses["total"])
    assert outcome.losses["total"][0] == 15
    assert outcome.losses["total"].min() == bowl(outcome.x, 1.0)[0]
    assert outcome.compile_seconds > 0
    assert outcome.run_seconds > 0


@pytest.mark.parametrize("method", ["lbfgs", "lbfgs-zoom", "adam", "sgd"])
@pytest.mark.parametrize("iterations", [1, 2, 65])
def test_the_length_of_chunks_changes_nothing(monkeypatch, method, iterations):
    long = run(method=method, rate=0.1, iterations=iterations)
    monkeypatch.setattr(chunks, "_CHUNK_SECONDS", 0.0)
    short = run(method=method, rate=0.1, iterations=iterations)
    np.testing.assert_array_equal(long.x, short.x)
    np.testing.assert_array_equal(long.losses["total"], short.losses["total"])
    np.testing.assert_array_equal(long.evaluations, short.evaluations)
    # A started line search is finished, of at most 20 evaluations.
    beyond = 20 if method == "lbfgs-zoom" else 0
    assert iterations <= long.evaluations[-1] <= iterations + beyond
    assert np.all(np.diff(long.evaluations) >= 1)


def test_reports_come_after_each_chunk_with_the_best_point():
    seen = []

    def report(now):
        seen.append((now.evaluations, now.losses, np.asarray(now.x)))

    outcome = run(iterations=100, report=report)
    counts = [count for count, _, _ in seen]
    assert counts[0] == 1
    assert counts[-1] == 100
    assert np.all(np.diff(counts) > 0)
    assert np.all(np.diff(counts) <= 64)
    for count, losses, x in seen:
        assert losses["total"] == outcome.losses["total"][count - 1]
        so_far = outcome.losses["total"][:count].min()
        assert float(bowl(x, 1.0)[0]) == pytest.approx(so_far, abs=1e-6)


def test_a_true_report_stops_with_what_was_reported():
    points = []

    def report(now):
        points.append(np.asarray(now.x))
        return now.evaluations > 1

    outcome = run(iterations=500, report=report)
    assert outcome.status == "stopped"
    assert outcome.evaluations[-1] == outcome.losses["total"].size < 500
    np.testing.assert_array_equal(outcome.x, points[-1])
    assert run(iterations=1, report=lambda now: True).status == "finished"


@pytest.mark.parametrize("after", [1, 2, 3])
def test_ctrl_c_in_a_report_keeps_the_best(after):
    calls = []

    def report(now):
        calls.append(now)
        if len(calls) == after:
            raise KeyboardInterrupt

    outcome = run(iterations=500, report=report)
    assert outcome.status == "interrupted"
    assert outcome.evaluations[-1] == calls[-1].evaluations
    np.testing.assert_array_equal(outcome.x, calls[-1].x)


def test_a_signal_at_any_moment_keeps_the_best():
    def slow(x, centre):
        value, terms = bowl(x, centre)
        rows = jnp.broadcast_to(x, (3000, 5))
        for _ in range(20):
            rows = jnp.sin(rows)
        return value + 1e-9 * rows.sum(), terms

    run(slow, iterations=1)
    for delay in np.linspace(0.2, 0.5, 6):
        timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
        timer.start()
        try:
            outcome = run(slow, iterations=10**7)
        finally:
            timer.join()
        assert outcome.status == "interrupted"
        assert np.isfinite(outcome.x).all()
        assert outcome.evaluations[-1] == outcome.losses["total"].size


def test_a_signal_while_a_state_is_given_up_keeps_the_best(monkeypatch):
    advance = loop.solver.advance_jit

    def pressed(*args, **options):
        state, trace = advance(*args, **options)
        if 1 < state.evaluations < 20:
            signal.raise_signal(signal.SIGINT)
        return state, trace

    monkeypatch.setattr(loop.solver, "advance_jit", pressed)
    monkeypatch.setattr(chunks, "_CHUNK_SECONDS", 0.0)
    outcome = run()
    assert outcome.status == "interrupted"
    assert outcome.evaluations[-1] == outcome.state.evaluations == 2


def test_ctrl_c_before_the_first_evaluation_is_just_that(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(chunks, "_fetch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()


def test_the_starting_point_is_not_given_up():
    x = jnp.zeros(5)
    run(x=x)
    np.testing.assert_array_equal(x, 0)


def cliff(x, edge):
    """Like `bowl`, with NaN beyond the edge, in one of the terms."""
    _, terms = bowl(x, 1.0)
    style = jnp.where(jnp.max(x) > edge, jnp.nan, terms["total"])
    return style, {"total": style, "style": style, "tv": terms["tv"]}


def test_nan_names_term_and_step_and_the_run_goes_on():
    # The first steps are over the edge: from the best point, with no memory, there is a way.
    with pytest.warns(RuntimeWarning) as caught:
        outcome = run(cliff, method="adam", rate=0.4, args=1.05, iterations=40)
    assert outcome.restarts > 0
    blown = np.flatnonzero(np.isnan(outcome.losses["total"]))
    message = str(caught[0].message)
    assert message.startswith(f"At evaluation {blown[0] + 1} style became non-finite: went back")
    assert "\n" not in message
    assert outcome.restarts == blown.size
    np.testing.assert_array_less(outcome.x, 1.06)
    best = np.nanmin(outcome.losses["total"])
    assert float(cliff(outcome.x, 1.05)[0]) == pytest.approx(best)


@pytest.mark.parametrize("method", ["lbfgs", "adam", "sgd"])
def test_three_blow_ups_without_progress_end_the_run(method):
    # Every step from the start is over the edge; the start itself is not.
    start = jnp.full(5, 0.9)
    with pytest.warns(RuntimeWarning) as caught:
        outcome = run(cliff, start, 0.9 + 1e-6, method=method, rate=1.0, iterations=300)
    assert outcome.status == "diverged"
    assert outcome.restarts == np.isnan(outcome.losses["total"]).sum() >= 3
    np.testing.assert_array_equal(outcome.x, start)
    assert outcome.evaluations[-1] < 300
    messages = [str(w.message) for w in caught]
    assert len(messages) == 2
    assert "went back to the best picture" in messages[0]
    assert "stopped with the best picture, after 3 blow-ups without progress" in messages[1]


def test_nan_from_the_start_ends_with_the_start():
    with pytest.warns(RuntimeWarning) as caught:
        outcome = run(cliff, jnp.full(5, 2.0), 1.0, iterations=300)
    assert [str(w.message)[:41] for w in caught] == [
        f"At evaluation {i} style became non-finite: "[:41] for i in (1, 3)
    ]
    assert outcome.status == "diverged"
    assert outcome.evaluations[-1] < 300
    np.testing.assert_array_equal(outcome.x, 2.0)


def test_blow_ups_are_counted_from_the_last_better_point():
    def rows(*steps):
        totals = [np.nan if step == "x" else step for step in steps]
        n = len(steps)
        restarted = np.array([step == "x" for step in steps])
        return stopping.Rows({"total": np.float32(totals)}, np.arange(1, n + 1), restarted)

    def ends(*chunks):
        blow_ups = stopping._BlowUps()
        return [blow_ups.too_many(rows(*chunk)) for chunk in chunks]

    with warnings.catch_warnings(record=True, action="always") as caught:
        assert ends([3, "x", 3, "x", 2, "x", 2, "x"]) == [False]
        assert ends([3, "x", 3, "x"], [3, "x"]) == [False, True]
        assert ends(["x"], ["x", "x", 1]) == [False, True]
        assert ends([3, "x", 4, "x", 2.9], ["x", "x"], [1, "x"]) == [False] * 3
    assert len(caught) == 6, "the first of each run, and the one that ends it"


def test_nothing_is_compiled_twice():
    traces = []

    def counted(x, centre):
        traces.append(None)
        return bowl(x, centre)

    run(counted, iterations=70)
    first = len(traces)
    run(counted, jnp.ones(5), 3.0, rate=0.5, iterations=20)
    assert len(traces) == first


def flattening(x, args):
    """A loss that falls by ever smaller shares."""
    value = x[0] + 0 * args
    return value, {"total": 1 + 1 / (1 - value)}


def test_a_plateau_ends_the_run_at_the_same_evaluation_whatever_the_chunks(monkeypatch):
    options = {"method": "sgd", "rate": 1.0}
    totals = run(flattening, jnp.zeros(1), iterations=500, **options).losses["total"]

    def flat(tolerance, patience):
        """By the definition."""
        for n in range(2 * patience, 500, patience):
            if totals[n - patience - 1] - totals[n - 1] < tolerance * totals[n - patience - 1]:
                return n
        return 500

    for tolerance, patience in [(0.01, 10), (0.002, 7), (0.5, 400), (1e-9, 50)]:
        lengths = []
        for seconds in (0.0, 0.5):
            monkeypatch.setattr(chunks, "_CHUNK_SECONDS", seconds)
            limits = Limits(500, tolerance=tolerance, patience=patience)
            outcome = run(flattening, jnp.zeros(1), limits=limits, **options)
            lengths.append(outcome.evaluations[-1])
            assert outcome.status == ("plateau" if lengths[-1] < 500 else "finished")
        assert lengths == [flat(tolerance, patience)] * 2
    assert flat(0.01, 10) < 500


def test_time_is_up():
    run(iterations=2)
    outcome = run(limits=Limits(10**7, seconds=0.3))
    assert outcome.status == "time"
    assert outcome.evaluations[-1] < 10**7
    assert outcome.compile_seconds + outcome.run_seconds >= 0.3
    outcome = run(limits=Limits(100, seconds=0.0))
    assert (outcome.status, outcome.evaluations.tolist()) == ("time", [1])


def test_a_chunk_takes_three_seconds_or_those_that_are_left():
    assert chunks.chunk_after(0.25) == 12
    assert [chunks.chunk_after(s) for s in (4.0, 0.0)] == [1, 64]
    assert [chunks.chunk_after(0.25, left) for left in (9.0, 1.1, 0.1, -2.0)] == [12, 4, 1, 1]


def test_chunks_are_told_what_is_left_of_the_time(monkeypatch):
    told = []
    monkeypatch.setattr(chunks, "chunk_after", lambda each, left: told.append(left) or 1)
    run(limits=Limits(6, seconds=100.0))
    assert 100 > told[0] > told[-1] > 0
    assert told == sorted(told, reverse=True)
    told.clear()
    run(limits=Limits(6))
    assert set(told) == {np.inf}


@pytest.mark.parametrize("method", ["lbfgs", "lbfgs-zoom", "adam", "sgd"])
def test_a_run_goes_on_from_what_was_carried_as_if_it_had_never_stopped(method):
    kept = []

    def keep(carried):
        kept.append(jax.device_get(carried))

    whole = run(method=method, rate=0.1, iterations=60, keep=keep, keep_every=25)
    assert [len(c.rows.evaluations) for c in kept] == [
        np.searchsorted(whole.evaluations, c.state.evaluations, "right") for c in kept
    ]
    for carried in kept:
        assert carried.state.evaluations % 25 < 20
        again = run(x=carried, method=method, rate=0.1, iterations=60)
        np.testing.assert_array_equal(again.x, whole.x)
        np.testing.assert_array_equal(again.evaluations, whole.evaluations)
        for name, values in whole.losses.items():
            np.testing.assert_array_equal(again.losses[name], values)
        assert again.run_seconds > carried.run_seconds
    over = run(x=kept[-1], method=method, rate=0.1, iterations=10)
    assert over.evaluations[-1] == kept[-1].state.evaluations


def test_chunks_end_at_marks():
    ends = []
    run(iterations=50, marks=(7, 20), report=lambda now: ends.append(now.evaluations))
    assert {7, 14, 20, 21, 28, 35, 40, 42, 49} <= set(ends)


def test_blow_ups_before_are_counted_but_not_told_again():
    start, kept = jnp.full(5, 0.9), []
    with pytest.warns(RuntimeWarning):
        run(
            cliff,
            start,
            0.9 + 1e-6,
            method="adam",
            iterations=300,
            keep=lambda carried: kept.append(jax.device_get(carried)),
            keep_every=3,
        )
    assert kept[0].rows.restarted.any()
    with pytest.warns(RuntimeWarning) as caught:
        outcome = run(cliff, kept[0], 0.9 + 1e-6, method="adam", iterations=300)
    assert outcome.status == "diverged"
    assert ["stopped with the best" in str(w.message) for w in caught] == [True]

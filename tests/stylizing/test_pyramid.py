"""Coarse to fine: sizes, counts, what is handed on; what comes of it where runs end early."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import nst_jax as nst
from nst_jax.networks.base import Options
from nst_jax.pictures import reading, resizing
from nst_jax.solvers import loop, solver
from nst_jax.stylizing import pyramid, scales
from nst_jax.stylizing.inputs import Pictures
from nst_jax.stylizing.presets import resolve
from nst_jax.stylizing.request import Request

CONTENT, STYLE, NETWORK = tiny.picture(20, 32), tiny.picture(24, 24, seed=2), tiny.network()


def stylize(content=CONTENT, style=STYLE, **options):
    wanted = {"size": None, "iterations": 10, "network": NETWORK, "progress": False}
    return nst.stylize(content, style, **wanted | tiny.SHALLOW | options)


def request(height, width, **options):
    content = reading.Picture(np.zeros((height, width, 3), np.float32))
    style = np.zeros((height, 2 * width, 3), np.float32)
    pictures = Pictures(content, [style], None, None, {})
    return Request(resolve(**tiny.SHALLOW | options), NETWORK, pictures)


@pytest.mark.parametrize(
    ("size", "min_size", "expected"),
    [
        (512, None, [512]),
        (512, 256, [256, 362, 512]),
        (512, 257, [362, 512]),
        (512, 128, [128, 181, 256, 362, 512]),
        (700, 512, [700]),
        (100, 512, [100]),
        (512, 512, [512]),
    ],
)
def test_sizes_grow_by_the_root_of_two_up_to_the_last(size, min_size, expected):
    one = request(size // 2, size, min_size=min_size, coarse_iterations=7, iterations=30)
    plan = scales.scales(one)
    assert [scale.width for scale in plan] == expected
    for height, width, *_ in plan:
        assert height == pytest.approx(width / 2, abs=0.51)
    assert [scale.evaluations for scale in plan] == [7] * (len(expected) - 1) + [30]
    assert scales.total(one) == 7 * (len(expected) - 1) + 30


def test_scales_too_small_for_the_deepest_layer_are_left_out():
    shallow = request(40, 160, min_size=10)
    deep = request(40, 160, min_size=10, style_layers="relu3_1")
    assert scales.scales(shallow)[0].width == 10
    # One position at relu3_1 is four pixels a side.
    assert scales.scales(deep)[0][:2] == (5, 20)


def test_styles_shrink_with_the_picture():
    one = request(64, 100, min_size=50)
    small = one.at(scales.scales(one)[0], 9)
    assert small.pictures.content.rgb.shape == (32, 50, 3)
    assert small.pictures.styles[0].shape == (32, 100, 3)
    assert small.settings.iterations == 9


def test_a_pyramid_of_one_scale_is_a_plain_run():
    plain, other = stylize(), stylize(min_size=30)
    np.testing.assert_array_equal(plain.image, other.image)
    assert plain.scales == other.scales == ((20, 32, 10, False, False),)


@pytest.mark.parametrize("optimizer", ["lbfgs-zoom", "adam"])
def test_scales_one_after_the_other(optimizer):
    ends = []
    result = stylize(
        min_size=22,
        coarse_iterations=6,
        optimizer=optimizer,
        callback=lambda now: ends.append((now.x.shape, now.evaluations)),
    )
    sizes = [(14, 23), (20, 32)]
    assert [scale[:2] for scale in result.scales] == sizes
    assert result.evaluations[-1] == sum(scale.evaluations for scale in result.scales)
    assert list(dict.fromkeys(shape[:2] for shape, _ in ends)) == sizes
    if optimizer != "lbfgs-zoom":
        assert [scale.evaluations for scale in result.scales] == [6, 10]
    assert result.image.shape == CONTENT.shape
    # The best of the last scale, though losses at the others may be lower.
    begin = result.evaluations[-1] - result.scales[-1].evaluations
    last = result.losses["total"][result.evaluations > begin]
    assert result.losses["total"][result.best] == last.min()
    assert result.evaluations[result.best] > begin
    assert result.record()["scales"] == [list(scale) for scale in result.scales]


def test_the_first_scale_is_the_small_picture_and_the_next_begins_with_its_best():
    seen = {}
    stylize(
        min_size=22,
        coarse_iterations=8,
        iterations=1,
        callback=lambda now: seen.setdefault(now.x.shape[:2], []).append(np.asarray(now.x)),
    )
    small = resizing.resize(CONTENT / np.float32(255), (14, 23))
    style = resizing.resize(STYLE / np.float32(255), (17, 17))
    preview = stylize(small, style, iterations=8)
    np.testing.assert_allclose(seen[14, 23][-1], preview.image, atol=1e-5)
    enlarged = np.clip(jax.image.resize(preview.image, (20, 32, 3), "cubic"), 0, 1)
    # Where the optimiser has left [0, 1] the picture that was clipped says less than it knows.
    close = np.abs(seen[20, 32][0] - enlarged) < 1e-4
    assert close.mean() > 0.7


@pytest.fixture(scope="module")
def wide():
    return tiny.wide()


def test_a_draft_draws_all_scales_and_the_network_the_last_once_more(wide):
    seen = []
    result = stylize(
        network=wide,
        draft=True,
        min_size=22,
        coarse_iterations=6,
        iterations=4,
        callback=lambda now: seen.append((now.scale, np.asarray(now.x))),
    )
    scales = [(14, 23, 6, True, False), (20, 32, 6, True, False), (20, 32, 4, False, False)]
    assert list(result.scales) == list(dict.fromkeys(scale for scale, _ in seen)) == scales
    assert result.record()["scales"] == [list(scale) for scale in scales]
    # A draft keeps less of the content than its weight promises: it draws at twice that.
    options = {"min_size": 22, "coarse_iterations": 6, "iterations": 6, "content_weight": 2.0}
    drawn = stylize(network="vgg19-lite", **options)
    np.testing.assert_array_equal([x for scale, x in seen if scale == scales[1]][-1], drawn.image)
    # The network's own losses begin there: where the optimiser had left [0, 1] it knows more.
    problem = nst.prepare(result.settings, wide, CONTENT / np.float32(255), STYLE / np.float32(255))
    clipped, _ = problem.fn(jnp.asarray(drawn.image) * 255, problem.args)
    own = result.losses["total"][12:]
    assert (result.network, result.network_digest) == (wide.name, wide.digest)
    assert own.size == 4
    assert own[0] == pytest.approx(float(clipped), rel=0.1)
    assert result.losses["total"][result.best] == own.min()


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (NETWORK, {}),
        ("vgg19-lite", {}),
        (tiny.wide(Options(pooling="average")), {}),
        (NETWORK, {"style_layers": "relu1_2"}),
    ],
    ids=["other widths", "itself", "average pooling", "a layer that it lacks"],
)
def test_a_draft_that_cannot_be_is_left_out(network, options):
    options |= {"network": network, "iterations": 2}
    plain, drafted = stylize(**options, draft=False), stylize(**options, draft=True)
    np.testing.assert_array_equal(plain.image, drafted.image)
    assert plain.scales == drafted.scales == ((20, 32, 2, False, False),)


def test_adams_moments_go_on():
    def moments(shape, value):
        state = solver.start(solver.Optimizer("adam"), jnp.zeros(shape))
        adam, *rest = state.optimizer
        full = jax.tree.map(lambda m: m + value, (adam.mu, adam.nu))
        return (adam._replace(mu=full[0], nu=full[1], count=adam.count + 5), *rest)

    adam, *_ = scales._resized_moments(moments((4, 6, 3), 2.0), (8, 12, 3))
    # Gradients of a mean over four times the pixels are a quarter, their squares a sixteenth.
    np.testing.assert_allclose(adam.mu, np.full((8, 12, 3), 2 / 4), rtol=1e-6)
    np.testing.assert_allclose(adam.nu, np.full((8, 12, 3), 2 / 16), rtol=1e-6)
    assert int(adam.count) == 5


def test_lbfgs_goes_on_with_a_quarter_of_the_step_and_no_pairs():
    def bowl(x, _):
        value = jnp.mean(x**2)
        return value, {"total": value}

    small, _ = solver.minimize(bowl, jnp.ones((4, 6, 3)) * 300, evaluations=5)
    anew = solver.start(solver.Optimizer(), jnp.ones((8, 12, 3)))
    lbfgs, *_ = scales._with_step(anew.optimizer, small.optimizer)
    # The minimum lies half the number of values times the gradient away.
    assert float(lbfgs.scale) == pytest.approx(8 * 12 * 3 / 2 / 4, rel=1e-4)
    assert int(lbfgs.pairs) == 0


def test_a_run_that_ends_in_its_draft_names_the_drafts_network(wide):
    result = stylize(network=wide, draft=True, coarse_iterations=50, callback=lambda _: True)
    assert (result.status, result.network) == ("stopped", "vgg19-lite")


def test_a_run_that_ends_at_a_coarse_scale_gives_an_enlarged_picture():
    def stop(now):
        return now.evaluations > 3

    result = stylize(min_size=16, coarse_iterations=50, callback=stop)
    assert result.status == "stopped"
    assert [scale[:2] for scale in result.scales] == [(10, 16)]
    assert result.image.shape == CONTENT.shape
    assert 0 <= result.image.min() <= result.image.max() <= 1
    assert result.losses["total"][result.best] == result.losses["total"].min()


def test_ctrl_c_between_two_scales_gives_what_there_is(monkeypatch):
    run, calls = loop.run, []

    def interrupted(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(*args, **options)

    monkeypatch.setattr(loop, "run", interrupted)
    result = stylize(min_size=22, coarse_iterations=6, optimizer="adam")
    assert (result.status, result.scales) == ("interrupted", ((14, 23, 6, False, False),))
    assert result.image.shape == CONTENT.shape


@pytest.mark.parametrize(
    "options",
    [{"optimizer": "lbfgs-zoom"}, {"optimizer": "adam", "average": 0.9}],
    ids=repr,
)
def test_the_next_scale_is_compiled_while_one_is_drawn(caplog, options):
    solver.advance_jit.clear_cache()
    with caplog.at_level("DEBUG", logger="jax._src.dispatch"):
        stylize(min_size=22, coarse_iterations=2, iterations=2, **options)
    done = "Finished XLA compilation of jit(advance_jit)"
    threads = [r.thread for r in caplog.records if r.getMessage().startswith(done)]
    # Each once: the run found what another thread had compiled.
    assert len(threads) == 2
    assert threads.count(threading.get_ident()) == 1


def test_ctrl_c_while_a_scale_is_made_ready_gives_what_there_is(monkeypatch):
    problem, calls = pyramid._problem, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return problem(*args)

    monkeypatch.setattr(pyramid, "_problem", interrupted)
    result = stylize(min_size=16, coarse_iterations=6, optimizer="adam")
    assert (result.status, len(result.scales)) == ("interrupted", 1)
    assert result.image.shape == CONTENT.shape


def test_a_plateau_ends_a_scale_and_the_next_has_its_own_evaluations():
    options = {"tolerance": 0.5, "patience": 4, "optimizer": "adam"}
    result = stylize(min_size=22, coarse_iterations=500, iterations=8, **options)
    assert result.scales[0].evaluations < 500
    assert result.scales[1].evaluations == 8


def test_a_schedule_runs_over_all_scales():
    ramps = []
    schedule = {"style_weight_schedule": "linear:0:1"}
    one = request(32, 32, min_size=16, coarse_iterations=30, iterations=500, **schedule)
    for scale in scales.scales(one):
        ramps.append(one.problem_at(scale, scales.total(one)).args.factors["style"])
    assert {float(ramp.length) for ramp in ramps} == {2 * 30 + 500}


def test_too_little_memory_for_the_last_scale_is_told_at_once(monkeypatch):
    monkeypatch.setattr("nst_jax.devices.available", lambda: 3_000_000)
    monkeypatch.setattr("nst_jax.solvers.loop.run", lambda *_, **__: pytest.fail("computed"))
    content = tiny.picture(200, 200)
    with pytest.raises(nst.InputError, match="A picture of 200x200 pixels needs"):
        stylize(content, min_size=32, history=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_size": 0}, "min_size is 0, but must be a whole number from 1 to 100000, or None."),
        ({"coarse_iterations": 0}, "coarse_iterations is 0, but must be a whole number from 1"),
        ({"draft": "vgg19-lite"}, "draft is 'vgg19-lite', but must be True or False."),
    ],
    ids=str,
)
def test_bad_options_get_a_sentence(options, said):
    with pytest.raises(nst.InputError) as caught:
        stylize(**options)
    assert said in str(caught.value)


def test_an_average_is_handed_on_evaluated_and_given_back():
    seen = []
    result = stylize(
        optimizer="adam",
        average=0.9,
        min_size=22,
        coarse_iterations=6,
        callback=lambda now: seen.append((now.evaluations, np.asarray(now.x))),
    )
    assert result.evaluations[-1] == 6 + 10 + 1
    assert result.best == result.evaluations.size - 1
    np.testing.assert_allclose(seen[-1][1], result.image, atol=1e-6)
    # What is told of it is its own loss: the objective's, of the picture that came out.
    problem = nst.prepare(
        result.settings, NETWORK, CONTENT / np.float32(255), STYLE / np.float32(255)
    )
    value, _ = problem.fn(jnp.asarray(result.image) * 255, problem.args)
    assert result.losses["total"][-1] == pytest.approx(float(value), rel=1e-4)

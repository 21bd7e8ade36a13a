"""Several styles: blends of their statistics, sizes, and series from one to the next."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from objectives import gatys
from PIL import Image

import nst_jax as nst
from nst_jax.cli import main
from nst_jax.pictures import reading
from nst_jax.solvers.solver import advance_jit
from nst_jax.stylizing.interpolation import path
from nst_jax.stylizing.problem import ScaledObjective

CONTENT = tiny.picture()
STYLES = [tiny.picture(32, 32, seed=2), tiny.picture(24, 44, seed=3)]
NETWORK = tiny.network()
FAST = {"size": None, "iterations": 6, "network": NETWORK, "progress": False, **tiny.SHALLOW}


def stylize(styles=STYLES, **options):
    return nst.stylize(CONTENT, styles, **FAST | options)


def refusal(function, *args, **options) -> str:
    with pytest.raises(nst.InputError) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "shares"), [(None, (0.5, 0.5)), ("1,3", (0.25, 0.75)), ((0, 2.0), (0, 1))]
)
def test_a_blend_is_of_the_grams(given, shares):
    losses = stylize(style_blend=given).losses
    grams = [
        nst.gram(nst.features(NETWORK, style / np.float32(255), ["relu1_1"])["relu1_1"])
        for style in STYLES
    ]
    target = sum(share * np.asarray(g) for share, g in zip(shares, grams, strict=True))
    own = nst.gram(nst.features(NETWORK, CONTENT / np.float32(255), ["relu1_1"])["relu1_1"])
    expected = 1e3 * nst.style_loss(own, target)
    np.testing.assert_allclose(losses["relu1_1"][0], expected, rtol=1e-4)


def test_one_style_alone_in_a_blend_is_that_style():
    mixed, alone = stylize(style_blend=(0, 1)), stylize(STYLES[1])
    np.testing.assert_allclose(mixed.losses["total"], alone.losses["total"], rtol=1e-3)
    np.testing.assert_allclose(mixed.image, alone.image, atol=2e-2)
    listed = stylize([STYLES[1]])
    np.testing.assert_array_equal(listed.image, alone.image)


def test_blends_are_traced_and_vmap():
    settings = nst.Settings(**tiny.SHALLOW)
    content, *styles = (a / np.float32(255) for a in (CONTENT, *STYLES))
    problem = nst.prepare(settings, NETWORK, content, styles)
    args = problem.args
    traces = []

    @jax.jit
    def total(blend):
        traces.append(None)
        return problem.fn(problem.x, args._replace(weights=args.weights._replace(blend=blend)))[0]

    blends = jnp.float32(path(2, 3))
    each = [float(total(blend)) for blend in blends]
    assert len(traces) == 1
    assert len(set(each)) == 3
    np.testing.assert_allclose(jax.vmap(total)(blends), each, rtol=1e-5)


def test_each_style_has_its_size(monkeypatch):
    seen = []

    def prepare(settings, network, content, styles, start, regions, **_):
        seen.append([style.shape[:2] for style in styles])
        raise nst.InputError("Enough.")

    monkeypatch.setattr("nst_jax.stylizing.request.prepare", prepare)
    for options in (
        {},
        {"size": 20},
        {"size": 20, "style_size": 10},
        {"size": 20, "style_scale": 2},
        {"size": 20, "style_scale": "0.5,1.5"},
        {"style_scale": 0.5},
        {"style_scale": 0.01},
    ):
        refusal(stylize, **options)
    assert seen == [
        [(32, 32), (24, 44)],
        [(20, 20), (11, 20)],
        [(10, 10), (5, 10)],
        [(40, 40), (22, 40)],
        [(10, 10), (16, 30)],
        [(20, 20), (11, 20)],
        [(1, 1), (1, 1)],
    ]


def test_paths_pass_through_every_style():
    np.testing.assert_allclose(path(2, 3), [[1, 0], [0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(
        path(3, 5), [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    )
    for row in path(4, 9):
        assert row.sum() == pytest.approx(1)


def test_interpolation_compiles_once_and_starts_and_ends_at_the_styles():
    shown = []
    advance_jit.clear_cache()
    results = nst.interpolate(CONTENT, STYLES, steps=3, each=shown.append, **FAST)
    assert advance_jit.count() == 1
    assert shown == results
    assert [r.settings.style_blend for r in results] == [(1, 0), (0.5, 0.5), (0, 1)]
    np.testing.assert_array_equal(results[1].image, stylize().image)
    for result, style in zip(results[::2], STYLES, strict=True):
        np.testing.assert_allclose(result.image, stylize(style).image, atol=2e-2)
    assert advance_jit.count() == 2


def test_a_stopped_interpolation_keeps_what_is_there():
    done = []

    def callback(now):
        if done:
            raise KeyboardInterrupt

    results = nst.interpolate(CONTENT, STYLES, each=done.append, callback=callback, **FAST)
    assert [r.status for r in results] == ["finished", "interrupted"]
    assert results == done


@pytest.mark.parametrize(
    ("styles", "options", "said"),
    [
        (STYLES, {"style_blend": "1,2,3"}, "style_blend has 3 weights, but the number of style"),
        (STYLES[0], {"style_blend": (1, 2)}, "pictures is 1: give one weight for each."),
        (STYLES, {"style_scale": "1,2,3"}, "style_scale has 3 numbers, but the number of style"),
        ([], {}, "no style picture in the list"),
        (STYLES, {"style_blend": "0,0"}, "style_blend is all zeros"),
        (STYLES, {"style_blend": "1,x"}, "style_blend is 'x', but must be numbers from 0"),
        (STYLES, {"style_blend": (1, -1)}, "style_blend is -1, but must be numbers from 0"),
        (STYLES, {"style_blend": ()}, "style_blend is None, but must be numbers"),
        (STYLES, {"style_scale": 0}, "style_scale is 0, but must be numbers from 0.01 to 100"),
        (STYLES, {"style_scale": float("nan")}, "style_scale is nan"),
        (STYLES, {"style_scale": 1, "style_size": 9}, "style_size and style_scale contradict"),
    ],
    ids=str,
)
def test_bad_input_gets_a_sentence(monkeypatch, styles, options, said):
    monkeypatch.setattr("nst_jax.stylizing.request.prepare", lambda *_: pytest.fail("computed"))
    assert said in refusal(stylize, styles, **options)


def test_bad_series_get_a_sentence():
    assert "two style pictures or more" in refusal(nst.interpolate, CONTENT, STYLES[:1])
    said = refusal(nst.interpolate, CONTENT, STYLES, steps=1)
    assert "steps is 1, but must be a whole number from 2 to 10000." in said
    said = refusal(nst.interpolate, CONTENT, STYLES, style_blend=(1, 2))
    assert "sets style_blend itself" in said


def test_targets_of_one_style_are_not_stacked():
    settings = nst.Settings(**tiny.SHALLOW)
    content, style = (a / np.float32(255) for a in (CONTENT, STYLES[0]))
    problem = nst.prepare(settings, NETWORK, content, style)
    _, targets, weights, _ = problem.args
    assert problem.fn == ScaledObjective(gatys(("relu2_1",), ("relu1_1", "relu2_1")), 255.0)
    assert weights.blend is None
    assert {g.ndim for g in targets.terms["style"].statistics.values()} == {2}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, picture in zip(("content", "a", "b"), (CONTENT, *STYLES), strict=True):
        Image.fromarray(picture).save(f"{name}.png")
    monkeypatch.setattr("nst_jax.stylizing.run.load_network", lambda *_, **__: NETWORK)
    monkeypatch.setattr("nst_jax.cli.cache.enable", lambda: None)
    return tmp_path


def command(*options) -> int:
    fast = [f"--{k}={v}".replace("_", "-", 1) for k, v in tiny.SHALLOW.items()]
    argv = ["stylize", "content.png", "a.png", "b.png", "-o", "out.png", "--size=none"]
    return main.main(main.parse(["nst-jax", *argv, "--iterations=6", *fast, *options]))


def test_the_command_takes_several_styles(folder, capfd):
    assert command("--style-blend=1,3", "--style-scale=0.5,1", "--quiet") == 0
    record = reading.read_settings("out.png")
    assert record["settings"]["style_blend"] == [1, 3]
    assert record["settings"]["style_scale"] == [0.5, 1]
    assert record["sources"] == {"content": "content.png", "style": ["a.png", "b.png"]}
    assert command("--style-blend=1", "--force") == 2
    assert "style_blend has 1 weights" in capfd.readouterr().err


def test_the_command_writes_a_series(folder, capfd):
    Path("out-2.png").write_bytes(b"precious")
    assert command("--steps=3") == 2
    assert "'out-2.png' exists already" in capfd.readouterr().err
    assert command("--steps=3", "--force") == 0
    out = capfd.readouterr().out
    assert re.findall(r"^out.*", out, re.M) == ["out-1.png", "out-2.png", "out-3.png"]
    assert not Path("out.png").exists()
    blends = [reading.read_settings(f"out-{n}.png")["settings"]["style_blend"] for n in (1, 2, 3)]
    assert blends == [[1, 0], [0.5, 0.5], [0, 1]]
    assert command("--steps=3", "--force", "--style-blend=1,1") == 2
    assert "sets style_blend itself" in capfd.readouterr().err

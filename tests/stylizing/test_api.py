"""stylize(): what goes in, what comes out, on a narrow network."""

import dataclasses
import inspect
import io
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image

import nst_jax as nst
from nst_jax import Options, devices
from nst_jax.losses.registry import TERMS
from nst_jax.networks import load
from nst_jax.networks.base import keep
from nst_jax.pictures import reading, resizing

CONTENT, STYLE = tiny.picture(), tiny.picture(32, 32, seed=2)
NETWORK = tiny.network()


def stylize(content=CONTENT, style=STYLE, **options):
    """A short run; the same shapes and settings again and again compile once."""
    wanted = {"size": None, "iterations": 8, "network": NETWORK, "progress": False, **tiny.SHALLOW}
    return nst.stylize(content, style, **wanted | options)


@pytest.fixture(scope="module")
def plain():
    return stylize()


def png(array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_result_of_a_plain_run(plain):
    assert plain.image.shape == CONTENT.shape
    assert plain.image.dtype == np.float32
    assert plain.image.min() >= 0
    assert plain.image.max() <= 1
    assert (plain.status, plain.restarts) == ("finished", 0)
    np.testing.assert_array_equal(plain.evaluations, np.arange(1, 9))
    assert list(plain.losses) == ["total", *TERMS, "relu2_1", "relu1_1"]
    assert all(v.shape == (8,) and v.dtype == np.float32 for v in plain.losses.values())
    assert plain.losses["total"].min() < plain.losses["total"][0] / 2
    assert 0 < plain.compile_seconds < 300
    assert 0 < plain.run_seconds < 300
    assert (plain.network, plain.network_digest) == ("tiny", NETWORK.digest)
    assert plain.settings.network == "tiny"
    assert (plain.alpha, plain.icc, plain.sources) == (None, None, {})


def test_losses_are_weighted_as_in_the_objective():
    weights = {"content_weight": 2.0, "style_weight": 50.0, "tv_weight": 3.0}
    layers = {"content_layers": "relu2_1:0.5", "style_layers": "relu1_1:0.25,relu2_1"}
    losses = stylize(**weights, **layers, init="style").losses
    np.testing.assert_allclose(losses["total"], sum(losses[name] for name in TERMS), rtol=1e-5)
    np.testing.assert_allclose(
        losses["relu1_1"] + losses["relu2_1"], losses["content"] + losses["style"], rtol=1e-5
    )
    # At the start, by the formulas.
    content, style = (a / np.float32(255) for a in (CONTENT, STYLE))
    x = resizing.cover(style, content.shape[:2])
    names = ("relu1_1", "relu2_1")
    found, p, a = (nst.features(NETWORK, image, names) for image in (x, content, style))
    first = {
        "content": 2 * 0.5 * nst.content_loss(found["relu2_1"], p["relu2_1"]),
        "relu1_1": 50 * 0.25 * nst.style_loss(nst.gram(found["relu1_1"]), nst.gram(a["relu1_1"])),
        "tv": 3 * nst.total_variation(x),
    }
    for name, value in first.items():
        np.testing.assert_allclose(losses[name][0], value, rtol=1e-3, err_msg=name)


def test_the_same_picture_in_any_form_gives_the_same_bits(plain, tmp_path):
    path = tmp_path / "content.png"
    path.write_bytes(png(CONTENT))
    forms = {
        "path": path,
        "text": str(path),
        "bytes": png(CONTENT),
        "PIL": Image.fromarray(CONTENT),
        "float": CONTENT / np.float32(255),
        "JAX": jnp.asarray(CONTENT / np.float32(255)),
        "JAX uint8": jnp.asarray(CONTENT),
    }
    for name, form in forms.items():
        result = stylize(form, Image.fromarray(STYLE))
        np.testing.assert_array_equal(result.image, plain.image, err_msg=name)
        expected = {"content": "content.png"} if name in ("path", "text") else {}
        assert result.sources == expected


def test_arrays_that_go_in_are_left_alone():
    # Units of 1: the optimiser's unknown could be the very array that was given.
    arrays = [jnp.asarray(a / np.float32(255)) for a in (CONTENT, STYLE, CONTENT)]
    copies = [np.array(a) for a in arrays]
    numpy_arrays = [np.array(a) for a in arrays]
    for content, style, init in (arrays, numpy_arrays):
        stylize(content, style, init=init, units=1.0)
        stylize(content, style, init="content", units=1.0)
    for array, other, copy in zip(arrays, numpy_arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
        np.testing.assert_array_equal(other, copy)


def sizes(monkeypatch, **options):
    """Sizes of content and style as the network gets them."""
    seen = []

    class Seen(Exception):  # noqa: N818
        pass

    def prepare(settings, network, content, styles, start, regions, **_):
        seen.extend(picture.shape[:2] for picture in (content, *styles))
        raise Seen

    monkeypatch.setattr("nst_jax.stylizing.request.prepare", prepare)
    with pytest.raises(Seen):
        stylize(tiny.picture(30, 60), tiny.picture(50, 25), **options)
    return seen


@pytest.mark.parametrize(
    ("size", "style_size", "expected"),
    [
        (None, None, [(30, 60), (50, 25)]),
        (40, None, [(20, 40), (40, 20)]),
        (120, None, [(60, 120), (120, 60)]),
        (40, 100, [(20, 40), (100, 50)]),
        (None, 10, [(30, 60), (10, 5)]),
    ],
)
def test_size_is_the_long_side(monkeypatch, size, style_size, expected):
    assert sizes(monkeypatch, size=size, style_size=style_size) == expected


def test_same_seed_same_bits_and_another_seed_another_picture():
    options = {"init": "noise", "optimizer": "adam"}
    first, again, other = (stylize(seed=seed, **options) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.losses["total"], again.losses["total"])
    assert np.abs(first.image - other.image).mean() > 0.01


def start(given=None, **options) -> np.ndarray:
    """The picture that the optimiser starts from."""
    settings = nst.Settings(**options, **tiny.SHALLOW)
    content, style = (a / np.float32(255) for a in (CONTENT, STYLE))
    problem = nst.prepare(settings, NETWORK, content, style, given)
    return np.asarray(problem.x) / settings.units


def test_starts():
    content, style = (a / np.float32(255) for a in (CONTENT, STYLE))
    given = np.full((8, 8, 3), 0.25, np.float32)
    np.testing.assert_allclose(start(), content, atol=1e-6)
    np.testing.assert_allclose(start(given, init="picture"), 0.25, atol=1e-6)
    mean = np.array([123.68, 116.779, 103.939]) / 255
    noise = start(init="noise", noise_scale=0.1)
    np.testing.assert_allclose(noise.mean((0, 1)), mean, atol=0.02)
    assert noise.std() == pytest.approx(0.1, rel=0.2)
    blend = start(init="blend", init_noise=0.25, noise_scale=0.1)
    np.testing.assert_allclose(blend, 0.75 * content + 0.25 * noise, atol=1e-6)
    covered = resizing.cover(style, content.shape[:2])
    np.testing.assert_allclose(start(init="style"), covered, atol=1e-6)


def test_a_picture_to_start_from(tmp_path):
    picture = tiny.picture(16, 20, seed=9)
    path = tmp_path / "start.png"
    path.write_bytes(png(picture))
    by_array, by_path = stylize(init=picture), stylize(init=path)
    np.testing.assert_array_equal(by_array.image, by_path.image)
    assert by_array.settings.init == "picture"
    assert by_path.settings.init == str(path)
    assert by_path.record()["settings"]["init"] == "start.png"
    with pytest.raises(nst.InputError, match=r"init is 'picture', but there is no picture"):
        start(init="picture", given=None)


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("lbfgs", None), ("lbfgs-zoom", None), ("adam", None), ("sgd", None)]
)
def test_every_optimizer_lowers_the_loss(optimizer, rate):
    result = stylize(optimizer=optimizer, learning_rate=rate)
    assert result.losses["total"][-1] < 0.9 * result.losses["total"][0]
    assert result.losses["total"][result.best] == np.min(result.losses["total"])
    assert result.status == "finished"


def test_learning_rates_are_of_pictures_in_0_to_1():
    # One step of Adam moves every pixel by the rate, whatever the units.
    for units in (1.0, 255.0):
        moved = []
        stylize(
            optimizer="adam",
            learning_rate=0.01,
            units=units,
            iterations=2,
            callback=lambda now, moved=moved: moved.append(np.asarray(now.x)),
        )
        change = np.abs(moved[-1] - CONTENT / np.float32(255))
        assert np.median(change) == pytest.approx(0.01, rel=1e-2)


def asked_for(monkeypatch, **options):
    """The settings and network options that stylize() goes on with."""
    asked = []

    class Enough(Exception):  # noqa: N818
        pass

    def load_network(name, how, **_):
        asked.append(how)
        return NETWORK

    def prepare(settings, network, *pictures, **_):
        asked.append(settings)
        raise Enough

    monkeypatch.setattr("nst_jax.stylizing.run.load_network", load_network)
    monkeypatch.setattr("nst_jax.stylizing.request.prepare", prepare)
    with pytest.raises(Enough):
        nst.stylize(CONTENT, STYLE, size=None, network="vgg19", progress=False, **options)
    how, settings = asked
    return settings, how


@pytest.mark.parametrize("preset", nst.PRESETS)
def test_presets_are_taken(monkeypatch, preset):
    settings, how = asked_for(monkeypatch, preset=preset)
    expected = nst.PRESETS[preset]
    passes = 2 if expected.statistic == "neighbours" else 1  # it has a last pass
    given = {"size": None, "network": "vgg19", "iterations": passes * expected.iterations}
    assert settings == dataclasses.replace(expected, **given)
    assert how == Options(expected.pooling, expected.padding, expected.precision, expected.remat)


def test_options_override_the_preset(monkeypatch):
    settings, how = asked_for(monkeypatch, preset="paper", pooling="max", style_weight=2)
    assert (settings.pooling, settings.style_weight, settings.init) == ("max", 2.0, "noise")
    assert how.pooling == "max"


def test_a_network_object_brings_its_own_options():
    average = tiny.network(Options(pooling="average"))
    result = stylize(preset="gatys", network=average)
    assert (result.settings.preset, result.settings.pooling) == ("gatys", "average")
    with pytest.raises(nst.InputError, match="network object has its own pooling and remat"):
        stylize(pooling="max", remat=True)
    with pytest.raises(nst.InputError, match="too coarse for L-BFGS"):
        stylize(network=tiny.network(Options(precision="bfloat16")))


def test_alpha_is_carried_and_the_record_embedded(tmp_path):
    alpha = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (32, 1))
    result = stylize(np.dstack([CONTENT, alpha]))
    np.testing.assert_allclose(result.alpha, alpha / 255, atol=1e-6)
    path = result.save(tmp_path / "out.png")
    assert reading.read_settings(path) == result.record()
    np.testing.assert_allclose(reading.read(path).alpha, alpha / 255, atol=1e-6)


def test_callback_sees_pictures_and_can_stop():
    seen = []

    def callback(now):
        seen.append(now)
        return len(seen) == 2

    result = stylize(iterations=400, history=8, callback=callback)
    assert result.status == "stopped"
    assert result.evaluations[-1] == seen[-1].evaluations < 400
    for now in seen:
        picture = np.asarray(now.x)
        assert picture.shape == CONTENT.shape
        assert 0 <= picture.min() < picture.max() <= 1
        assert now.losses["total"] == result.losses["total"][now.evaluations - 1]
    np.testing.assert_allclose(seen[-1].x, result.image, atol=1e-6)


@pytest.mark.parametrize("given", [np.ones(3), jnp.zeros(2), "yes", None])
def test_only_true_from_a_callback_stops(given):
    assert stylize(callback=lambda now: given).status == "finished"


def test_ctrl_c_returns_the_best_so_far():
    def callback(now):
        if now.evaluations > 1:
            raise KeyboardInterrupt

    result = stylize(iterations=400, history=8, callback=callback)
    assert result.status == "interrupted"
    assert 1 < result.evaluations[-1] < 400
    assert result.losses["total"][result.best] < result.losses["total"][0]


@jax.tree_util.register_pytree_node_class
class Brittle:
    """Features that turn NaN over a range of brightness; counts how often it is traced."""

    name, digest, traced = "brittle", "sha256:0", 0
    widths, strides, margins = ({"relu1_1": n, "relu2_1": n} for n in (3, 1, 0))

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, image, layers, tap=keep):
        Brittle.traced += 1
        brightness = jnp.max(image)
        bad = (brightness > self.limit) & (brightness < 2 * self.limit)
        spoilt = jnp.where(bad, jnp.nan, image)
        found = {"relu1_1": image, "relu2_1": spoilt}
        return {k: tap(k, v)[1] for k, v in found.items() if k in layers}

    def tree_flatten(self):
        return [self.limit], None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


def test_nan_names_the_term_and_keeps_the_best_picture():
    content, style = np.full((8, 8, 3), 0.1, np.float32), np.full((8, 8, 3), 0.9, np.float32)
    options = {
        "network": Brittle(jnp.float32(0.3)),
        "optimizer": "adam",
        "learning_rate": 0.1,
        "style_layers": "relu1_1:1e4,relu2_1:1e-3",
    }
    with pytest.warns(RuntimeWarning) as caught:
        result = stylize(content, style, iterations=100, **options)
    assert result.status == "diverged"
    texts = [str(w.message) for w in caught]
    assert texts[0].startswith("At evaluation 4 content, relu2_1, style became non-finite: went")
    assert "3 blow-ups without progress" in texts[1]
    assert len(caught) == 2
    assert 0.1 < result.image.max() <= 0.3 + 1e-6
    assert np.isfinite(result.losses["total"][result.best])
    result.record()


def test_one_compilation_serves_pictures_and_weights_of_one_size():
    def run(seed, **weights):
        rng = np.random.default_rng(seed)
        content, style = rng.uniform(0.2, 0.4, (2, 9, 7, 3)).astype(np.float32)
        network = Brittle(jnp.float32(1e9 + seed))
        return stylize(content, style, network=network, **weights)

    run(0)
    traced = Brittle.traced
    assert traced > 0
    run(
        1,
        content_weight=3,
        style_weight=np.float64(7),
        tv_weight=0.5,
        style_layers="relu1_1:2,relu2_1:0.1",
        learning_rate=0.9,
    )
    assert Brittle.traced == traced


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"content": CONTENT[:1, :1]}, "content picture is 1x1 pixels, too small"),
        ({"style": CONTENT[:, :8], "style_layers": "relu5_1"}, "style picture is 8x32 pixels"),
        ({"style": np.zeros((9, 9, 0), np.uint8)}, "shape (9, 9, 0)"),
        ({"style": np.zeros((9, 9, 2), np.uint8)}, "1, 3 or 4 channels"),
        ({"content": CONTENT.astype(np.int64)}, "values of type int64"),
        ({"content": CONTENT.astype(np.float32)}, "values from 0 to 255; expected 0 to 1"),
        ({"content_layers": "relu2_11"}, "no layer 'relu2_11'. Did you mean 'relu2_1'?"),
        ({"init": "nowhere.png"}, "init picture 'nowhere.png' does not exist"),
        ({"network": "vgg91"}, "Did you mean 'vgg19'?"),
        ({"stile": 1}, "no option 'stile'."),
        ({"preset": "neural-stile"}, "no preset 'neural-stile'. Did you mean 'neural-style'?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_gets_a_sentence(options, said):
    with pytest.raises(nst.InputError) as caught:
        stylize(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_told_before_and_after(monkeypatch):
    monkeypatch.setattr(devices, "available", lambda: 100_000)
    with pytest.raises(nst.InputError, match=r"40x32 pixels needs about .* GB.*: lower size"):
        stylize()
    monkeypatch.undo()

    def run(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    monkeypatch.setattr("nst_jax.solvers.loop.run", run)
    with pytest.raises(nst.InputError, match="device ran out of memory: lower size"):
        stylize()


def test_the_embedded_network_is_recorded(monkeypatch):
    def load_network(name, options, **_):
        assert (name, options) == ("auto", Options(padding="reflect"))
        return NETWORK

    monkeypatch.setattr("nst_jax.stylizing.run.load_network", load_network)
    result = stylize(network="auto", padding="reflect")
    assert (result.settings.network, result.network) == ("auto", "tiny")
    assert load.load_network is not load_network


def test_signature_and_help_show_every_option():
    parameters = inspect.signature(nst.stylize).parameters
    for field in dataclasses.fields(nst.Settings):
        assert parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[field.name].default == getattr(nst.PRESETS["default"], field.name)
        assert field.name in (nst.stylize.__doc__ or "")
    assert "normalization: whose formulas the losses follow (gatys, paper, neural-style)" in (
        nst.stylize.__doc__ or ""
    )


def test_importing_the_package_is_light_and_changes_nothing():
    program = """
import sys, warnings, signal
before = dict(warnings=list(warnings.filters), handler=signal.getsignal(signal.SIGINT))
import nst_jax
assert "jax" not in sys.modules and "numpy" not in sys.modules
import jax
values = dict(jax.config.values)
from nst_jax import *
assert nst_jax.stylize
assert jax.config.values == values
assert before["handler"] is signal.getsignal(signal.SIGINT)
"""
    subprocess.run([sys.executable, "-c", program], check=True)

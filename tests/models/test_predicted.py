"""Predicted styles: statistics and embeddings in numpy, the style space, models, their training."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from commands import refusal, run
from objectives import gatys
from PIL import Image
from refusals import sentence

import nst_jax as nst
from nst_jax.cli import cache
from nst_jax.models import load as model_module
from nst_jax.models import modelfile, stages
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.predicted import Predicted
from nst_jax.models.predictor import LAYERS, Predictor, embed, initial, measure, predict
from nst_jax.models.transformer import Architecture
from nst_jax.training import api, predicting
from nst_jax.training.api import train_model
from nst_jax.training.predicting import PredictedLoss
from nst_jax.training.recipe import Recipe
from nst_jax.training.recording import Files

NETWORK = tiny.network()
WIDTHS = (4, 4, 6, 6, 6)
PREDICTOR = Predictor(Architecture("small", blocks=1), WIDTHS, hidden=8, dimensions=5)


def parameters():
    found = initial(PREDICTOR, 3) | {
        k: v
        for k, v in stages.initial(PREDICTOR.transformer.shapes, 4).items()
        if not stages.is_conditional(k)
    }

    found["style.scales.pointwise"] = 9 * found["style.scales.pointwise"]
    return found


def made(**changes):
    architecture = modelfile.plain(PREDICTOR) | {
        "encoder": "vgg19-lite",
        "encoder_digest": NETWORK.digest,
    }
    return ModelFile(modelfile.PREDICTED, architecture | changes, parameters())


FEATURES = jax.jit(lambda image: nst.features(NETWORK, image, LAYERS))
MEASURE = jax.jit(measure)
MODEL = Predicted(made(), "m", NETWORK)


@pytest.fixture(autouse=True)
def light(monkeypatch):
    monkeypatch.setattr(predicting, "_SAMPLE", 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "enable", lambda: None)
    for module in (model_module, api):
        monkeypatch.setattr(module, "load_network", lambda *_, **__: NETWORK)
    (tmp_path / "photos").mkdir()
    for n in range(4):
        Image.fromarray(tiny.picture(40, 48, n)).save(f"photos/{n}.png")
    return tmp_path


def test_embeddings_are_as_numpy_has_them():
    image = tiny.picture(40, 48) / np.float32(255)
    features = FEATURES(image)
    flat = {k: np.asarray(v, float).reshape(-1, v.shape[-1]) for k, v in features.items()}
    values = np.concatenate([v for f in flat.values() for v in (f.mean(0), f.std(0))])
    own: dict[str, Any] = parameters() | {
        "style.mean": 0.9 * values,
        "style.deviation": 0.05 * np.abs(values) + 1,
    }
    x = [4 * np.tanh((values - own["style.mean"]) / (own["style.deviation"] + 1e-6) / 4)]
    for layer, f in flat.items():
        found = np.corrcoef(f @ own[f"style.{layer}.directions"], rowvar=False)
        x += [found[i, i + 1 :] for i in range(16)]
    x = np.concatenate(x)
    for name in ("hidden1", "hidden2", "embedding"):
        x = x @ own[f"style.{name}.pointwise"] / len(x) ** 0.5 + own[f"style.{name}.bias"]
        x = x if name == "embedding" else np.maximum((x - x.mean()) / x.std(), 0)
    place = jax.jit(embed)
    found = place(own, MEASURE(NETWORK, image))
    np.testing.assert_allclose(found, x, rtol=1e-3, atol=1e-3 * np.abs(x).max())
    # What all units of a layer have in common turns none of them off.
    lower = own | {f"style.hidden{n}.bias": own[f"style.hidden{n}.bias"] - 100 for n in (1, 2)}
    np.testing.assert_allclose(place(lower, MEASURE(NETWORK, image)), found, rtol=1e-2, atol=1e-3)


def test_positions_without_weight_do_not_count():
    image = tiny.picture(64, 64) / np.float32(255)
    weights = {layer: np.zeros((64 // s, 64 // s)) for layer, s in NETWORK.strides.items()}
    for layer in LAYERS:
        weights[layer][: len(weights[layer]) // 2] = 3
    found = MEASURE(NETWORK, image, {k: weights[k] for k in LAYERS})
    features = FEATURES(image)
    halves = [v[: len(v) // 2].reshape(-1, v.shape[-1]) for v in features.values()]
    expected = np.concatenate([m for v in halves for m in (v.mean(0), v.std(0))])
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-4)


def test_mixing_embeddings_mixes_scales_and_shifts(rng):
    points = rng.normal(size=(2, 5)).astype(np.float32)
    found = predict(PREDICTOR, parameters(), points)
    mean = predict(PREDICTOR, parameters(), points.mean(0, keepdims=True))
    shapes = PREDICTOR.transformer.shapes
    assert {k: (1, *v.shape[1:]) for k, v in found.items() if stages.is_conditional(k)} == {
        k: v for k, v in shapes.items() if stages.is_conditional(k)
    }
    assert found.keys() == shapes.keys()
    for name in PREDICTOR.conditional:
        np.testing.assert_allclose(found[name].mean(0), mean[name][0], atol=1e-5)
    zero = predict(PREDICTOR, parameters(), np.zeros((1, 5), np.float32))
    np.testing.assert_array_equal(zero["conv1.scale"], np.ones((1, 32)))
    np.testing.assert_array_equal(zero["up1.shift"], np.zeros((1, 32)))


def test_strength_and_tiles():
    picture, one, other = tiny.picture(40, 48), tiny.picture(48, 40, 2), tiny.picture(48, 40, 3)
    drawn, second = MODEL(picture, one).image, MODEL(picture, other).image
    assert np.abs(drawn - second).max() > 0.01
    assert MODEL.embed(one).shape == (5,)
    wide = tiny.picture(60, 210)
    weak = MODEL(wide, one, strength=0.0).image
    np.testing.assert_allclose(weak, MODEL(wide, wide).image, atol=1e-4)
    np.testing.assert_allclose(
        MODEL(wide, one).image, MODEL(wide, one, tile=64).image, atol=1 / 255
    )


def test_the_edge_of_a_picture_is_not_drawn():
    found = MODEL(np.full((40, 48, 3), 0.4, np.float32), tiny.picture(48, 40, 2)).image
    np.testing.assert_allclose(found, np.broadcast_to(found[20, 24], found.shape), atol=1e-3)


def test_films_are_drawn_frame_by_frame():
    frames = np.stack([tiny.picture(32, 44, n) for n in range(3)]) / np.float32(255)
    paint = MODEL.painter(tiny.picture(40, 48, 5), 32, 44)
    np.testing.assert_allclose(
        paint(frames), [paint(frame[None])[0] for frame in frames], atol=1e-5
    )


def test_a_model_draws_in_the_style_of_pictures(folder, capfd):
    modelfile.save("any.safetensors", made())
    model = nst.load("any.safetensors")
    picture = tiny.picture(40, 48)
    one, other = (model(picture, f"photos/{n}.png").image for n in (1, 2))
    first = model(picture, {"photos/1.png": 1, "photos/2.png": 0}).image
    np.testing.assert_allclose(first, one, atol=1e-5)
    left = np.zeros((40, 48), np.uint8)
    left[:, :24] = 255
    halves = {"photos/1.png": left, "photos/2.png": 255 - left}
    masked = model(picture, halves).image
    assert np.abs(masked - one)[:, :8].max() < np.abs(masked - other)[:, :8].max()
    assert np.abs(masked - other)[:, -8:].max() < np.abs(masked - one)[:, -8:].max()
    drawn = ["apply", "any.safetensors", "photos/0.png", "--style=photos/1.png"]
    assert run(*drawn, "--output=out", "--strength=0.5", "--quiet") == 0
    for more, said in (
        (["--strength=2"], "from 0 to 1"),
        (["--style=photos/9.png"], "does not exist"),
    ):
        assert said in refusal(capfd, *drawn, *more, "--output=x", "--quiet")
    assert "no style picture" in refusal(capfd, *drawn[:3], "-o", "x", "--quiet")


def test_what_does_not_fit_is_refused():
    long = np.zeros((20, 400, 3), np.uint8)
    assert "too small" in sentence(MODEL.embed, long)
    dot = np.zeros((47, 48, 4), np.uint8)
    dot[46, 0] = 255  # pooling leaves out the last row
    assert "opaque of the style is empty" in sentence(MODEL.embed, dot)
    assert "trained with other weights" in sentence(Predicted, made(), "m", tiny.network(seed=1))
    transformer = modelfile.plain(PREDICTOR.transformer)
    for change in (
        {"hidden": 0},
        {"widths": [4, 4]},
        {"dimensions": "many"},
        {"encoder": "../x"},
        {"transformer": transformer | {"styles": 2}},
        {"transformer": transformer | {"variant": "huge"}},
        {"transformer": None},
        {"more": 1},
    ):
        assert "does not know" in sentence(Predicted, made(**change), "m", NETWORK)
    tensors = {k: v for k, v in made().tensors.items() if k != "style.embedding.bias"}
    short = dataclasses.replace(made(), tensors=tensors)
    assert "style.embedding.bias is missing" in sentence(Predicted, short, "m", NETWORK)


def test_the_loss_compares_with_both_pictures():
    layers = {"content_layers": "relu3_1", "style_layers": "relu1_1,relu2_1"}
    recipe = Recipe(kind="predicted", network="vgg19-lite", crop=32, batch=2, **layers)
    pictures = np.stack([tiny.picture(32, 32, n) for n in range(4)]) / np.float32(255)
    task = predicting.predicted(recipe, PREDICTOR, NETWORK, NETWORK, lambda *_: pictures[2:])
    contents, styles = task.batch(0, pictures[:2])
    compare = jax.jit(cast(PredictedLoss, task.loss).compare)
    total, terms = compare(jnp.asarray(styles), task.frozen, (contents, styles))
    spec = gatys(("relu3_1",), ("relu1_1", "relu2_1"))
    expected = []
    for content, style in zip(contents, styles, strict=True):
        seen, aim = (nst.features(NETWORK, x, "relu3_1")["relu3_1"] for x in (style, content))
        expected.append(np.square(seen - aim).sum() / np.square(aim).sum())
    np.testing.assert_allclose(terms["content"], np.mean(expected), rtol=1e-4)
    np.testing.assert_allclose(terms["style"], 0, atol=1e-6)
    floor = 0.1 * 2 * np.log(0.01)
    np.testing.assert_allclose(total, np.log(expected).mean() + floor, rtol=1e-4)
    _, same = compare(jnp.asarray(contents), task.frozen, (contents, styles))
    assert float(same["content"]) == 0
    shares = []
    for found, aim in zip(contents, styles, strict=True):
        grams = [nst.style_targets(spec, NETWORK, x)["relu2_1"] for x in (found, aim)]
        shares.append(np.square(grams[0] - grams[1]).sum() / np.square(grams[1]).sum())
    np.testing.assert_allclose(same["relu2_1"], np.mean(shares), rtol=1e-4)
    values = task.parameters["style.mean"]
    sample, other = (MEASURE(NETWORK, style).values for style in styles)
    np.testing.assert_allclose(values, (sample + other) / 2, rtol=1e-4, atol=1e-4)


def test_training_lowers_the_loss(folder):
    path = train_model(
        "photos",
        ["photos"],
        "m.safetensors",
        files=Files(trace="t.jsonl", previews="seen", previews_every=12),
        progress=False,
        kind="predicted",
        blocks=0,
        content_layers="relu2_1",
        style_layers="relu1_1,relu2_1",
        crop=32,
        batch=2,
        steps=12,
        learning_rate=1e-2,
    )
    losses = [
        float(line.split('"total": ')[1].split(",")[0].strip("}\n "))
        for line in (folder / "t.jsonl").read_text().splitlines()
    ]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1
    assert nst.load(path)(tiny.picture(24, 32), "photos/1.png").image.shape == (24, 32, 3)
    assert [p.name for p in (folder / "seen").iterdir()] == ["0000012.png"]
    assert "has none" in sentence(
        train_model, "photos", ["photos"], "n.safetensors", base=path, kind="predicted", crop=32
    )

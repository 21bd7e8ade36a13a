"""Training for films: what the frames of a crop show, the start from a model, the model's file."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image

import nst_jax as nst
from nst_jax.models import modelfile, stages, transformer
from nst_jax.models.transformer import Architecture
from nst_jax.motion.warping import warp
from nst_jax.training import api, coherence
from nst_jax.training.api import train_model

FAST = {"blocks": 0, "crop": 48, "batch": 2, "style_size": 32, "network": "vgg19-lite"} | {
    "content_layers": "relu2_1",
    "style_layers": "relu1_1,relu2_1",
}


def test_frames_come_from_each_other_by_the_flow_that_is_told(monkeypatch):
    monkeypatch.setattr(coherence, "_LIGHT", 0.0)
    rng = np.random.default_rng(3)
    motion, holes, seeds = coherence._random(rng, 8)
    crop = np.float32(tiny.picture(96, 96)) / 255
    crop = np.asarray(jax.image.resize(crop[::4, ::4], crop.shape, "cubic"))
    moving = int(np.abs(motion).max((1, 2, 3, 4)).argmax())
    one = (jnp.asarray(x) for x in (crop, motion[moving], holes[moving], seeds[moving]))
    seen = jax.jit(coherence._film)(*one)
    assert seen.clean.shape == (coherence.FRAMES, 64, 64, 3)
    assert not seen.trusted[0].any(), "nothing is carried to the first frame"
    assert 0.6 < np.asarray(seen.trusted[1:]).mean() < 0.99
    for t in range(1, coherence.FRAMES):
        warped, inside = warp(seen.clean[t - 1], seen.flow[t])
        apart = np.abs(np.asarray(warped - seen.clean[t])).mean(-1)[np.asarray(inside)]
        still = np.abs(np.asarray(seen.clean[t - 1] - seen.clean[t])).mean()
        assert apart.mean() < 0.02
        assert apart.mean() < 0.3 * still


def test_a_network_for_films_begins_as_one_for_pictures(rng):
    plain = Architecture("small", 1, blocks=0)
    films = Architecture("small", 1, blocks=0, carried=True)
    parameters = stages.initial(plain.shapes, 1)
    wide = transformer.for_films(plain, parameters)
    assert {k: v.shape for k, v in wide.items()} == films.shapes
    picture, carried = (rng.random((1, 16, 24, c)).astype(np.float32) for c in (3, 4))
    blend = np.ones((1, 1), np.float32)
    expected = jax.jit(partial(transformer.transform, plain))(parameters, picture, blend)
    draw = jax.jit(partial(transformer.transform, films))
    for more in (picture, np.concatenate([picture, carried], -1)):
        found = draw(wide, more, blend)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "load_network", lambda *_, **__: tiny.network())
    (tmp_path / "photos").mkdir()
    Image.fromarray(tiny.picture(60, 70)).save("photos/0.png")
    Image.fromarray(tiny.picture(32, 32, 10)).save("night.png")
    architecture = Architecture("small", 1, blocks=0)
    tensors = {k: np.asarray(v) for k, v in stages.initial(architecture.shapes, 4).items()}
    plain = modelfile.plain(architecture)
    model = modelfile.ModelFile(modelfile.TRANSFORMER, plain, tensors, ("night",))
    modelfile.save("pictures.safetensors", model)
    return tmp_path


def test_training_goes_from_a_model_for_pictures_to_one_that_carries(folder, monkeypatch):
    tasks = []
    monkeypatch.setattr(
        api.loop, "run", lambda task, recipe, crops, state, *_: tasks.append(task) or state
    )
    options = {"steps": 1, "coherence_weight": 3.0, "progress": False, "style_weight": 2.0}
    train_model(
        "photos", ["night.png"], "films.safetensors", init="pictures.safetensors", **FAST, **options
    )
    model = nst.load("films.safetensors")
    assert model.carries
    assert model.training["coherence_weight"] == 3
    begun = modelfile.load("pictures.safetensors")
    begun = transformer.for_films(modelfile.architecture_of(begun, "it"), begun.tensors)
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, begun[name], atol=2e-3)
    frame, more = (np.ones((1, 16, 16, c), np.float32) for c in (3, 4))
    assert model.painter("night", 16, 16)(frame, more).shape == frame.shape

    # The loss, frame by frame.
    (task,) = tasks
    crops = np.float32([tiny.picture(48, 48, seed) for seed in (1, 2)]) / 255
    batch = task.batch(0, crops)
    total, terms = jax.jit(task.loss)(task.parameters, task.frozen, batch)
    (_, blend, _), moving = batch
    seen = jax.jit(jax.vmap(coherence._film))(jnp.asarray(crops), *map(jnp.asarray, moving))
    architecture = Architecture("small", 1, blocks=0, carried=True)
    draw = jax.jit(partial(transformer.transform, architecture))
    last, apart = np.zeros((2, 16, 16, 3), np.float32), []
    for t in range(coherence.FRAMES):
        pairs = [warp(x, flow) for x, flow in zip(last, seen.flow[:, t], strict=True)]
        warped = np.stack([np.asarray(pair[0]) for pair in pairs])
        inside = np.stack([np.asarray(pair[1]) for pair in pairs])[..., None]
        trusted = np.asarray(seen.trusted[:, t]) * inside
        image = np.concatenate([seen.noisy[:, t], warped * trusted, trusted], -1)
        last = np.asarray(draw(task.parameters, image, blend))
        apart.append((trusted * (last - warped) ** 2).mean())
    coherent = 3 * 255**2 * np.mean(apart[1:])
    assert float(terms["coherence"]) == pytest.approx(coherent, rel=1e-3)
    parts = sum(float(terms[name]) for name in ("coherence", "content", "style"))
    assert float(total) == pytest.approx(parts, rel=1e-4)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kind": "adain", "crop": 48}, "Coherence is learned by a transformer"),
        ({"crop": 32}, "crops of at least 48 pixels"),
        ({"base": "pictures.safetensors"}, "give init in place of base"),
    ],
)
def test_what_cannot_be_trained_for_films_is_refused(folder, more, said):
    Image.fromarray(tiny.picture(32, 32, 11)).save("ink.png")
    options = FAST | {"steps": 1, "coherence_weight": 1.0, "progress": False} | more
    if options.get("kind") == "adain":
        options["content_layers"] = "relu4_1"
    with pytest.raises(nst.InputError, match=said):
        train_model("photos", ["ink.png"], "out.safetensors", **options)

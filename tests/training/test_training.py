"""Training: what a step sees, one step by hand, resumption with the same bits, the command line."""

import json
import os
import re
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from commands import refusal, run
from objectives import aims, gatys, weigh
from PIL import Image

import nst_jax as nst
from nst_jax.cli import cache
from nst_jax.files import weightfile
from nst_jax.models import modelfile, stages, transformer
from nst_jax.models.transformer import Architecture
from nst_jax.networks.base import Options
from nst_jax.pictures.reading import Picture
from nst_jax.training import api, loop, tasks
from nst_jax.training.api import train_model
from nst_jax.training.crops import Crops
from nst_jax.training.recipe import OTHERS, Recipe
from nst_jax.training.recording import Files

NETWORK = tiny.network()
ARCHITECTURE = Architecture("small", 2, blocks=0)
FAST = {"blocks": 0, "crop": 16, "batch": 2, "style_size": 32, "network": "vgg19-lite"} | {
    "content_layers": "relu2_1",
    "style_layers": "relu1_1,relu2_1",
    "licence": "CC0-1.0",
}


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """A narrow loss network, one program for every test."""
    monkeypatch.setattr(api, "load_network", lambda *_, **__: NETWORK)
    monkeypatch.setattr(cache, "enable", lambda: None)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for n in range(3):
        Image.fromarray(tiny.picture(24, 40, n)).save(f"photos/{n}.png")
    Image.fromarray(tiny.picture(60, 70, 4)).save("photos/more/4.jpg")
    Image.fromarray(tiny.picture(12, 40, 4)).save("photos/small.png")
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "photos" / "notes.txt").write_text("no picture either")
    for n, name in enumerate(("night", "ink")):
        Image.fromarray(tiny.picture(32, 32, 10 + n)).save(f"{name}.png")
    return tmp_path


def test_crops_are_parts_of_the_pictures_and_the_same_on_every_run(folder):
    crops = Crops("photos", 16, seed=3)
    batch = crops.batch(5, 40)
    assert batch.shape == (40, 16, 16, 3)
    assert 0 <= batch.min() < batch.max() <= 1
    np.testing.assert_array_equal(Crops("photos", 16, seed=3).batch(5, 40), batch)
    assert np.abs(crops.batch(6, 40) - batch).max() > 0
    assert sorted(crops.skipped.values()) == ["cannot be read", "smaller than the crop"]
    steps = range(5, 5 + 3 * (os.cpu_count() or 1))  # more than are read ahead
    streamed = list(crops.stream(5, steps.stop, 4))
    np.testing.assert_array_equal(streamed, [crops.batch(step, 4) for step in steps])


def test_a_crop_of_a_flat_picture_is_flat(tmp_path):
    Image.new("RGB", (50, 40), (10, 200, 30)).save(tmp_path / "flat.png")
    batch = Crops(tmp_path, 32).batch(0, 3)
    np.testing.assert_allclose(batch, np.full_like(batch, 1) * np.float32([10, 200, 30]) / 255)


@pytest.fixture(scope="module")
def task():
    recipe = Recipe(**FAST)
    styles = [Picture(tiny.picture(32, 32, n) / np.float32(255)) for n in (10, 11)]
    return tasks.stylizers(recipe, ARCHITECTURE, NETWORK, styles), styles


@pytest.fixture(scope="module")
def stepped(task):
    """The state after a step, its terms, its batch."""
    task, _ = task
    crops = np.stack([tiny.picture(16, 16, n) for n in (1, 2)]) / np.float32(255)
    batch = task.batch(0, crops)
    rates = jnp.float32(1e-2), jnp.float32(0.9)
    state = loop.start(task)
    state, terms = loop.advance(task.loss, "adam", state, task.frozen, task.masks, batch, *rates)
    return state, terms, batch


def test_the_loss_is_the_objective_of_each_crop(stepped, task):
    _, terms, batch = stepped
    task, styles = task
    spec = gatys(("relu2_1",), ("relu1_1", "relu2_1"))
    drawn = jax.jit(transformer.transform, static_argnums=0)(
        ARCHITECTURE, task.parameters, *batch[:2]
    )
    expected = []
    for image, crop, blend in zip(drawn, *batch[:2], strict=True):
        style = styles[int(np.argmax(blend))].rgb
        targets = aims(spec, NETWORK, crop, style)
        expected.append(nst.objective(spec, image, NETWORK, targets, weigh())[0])
    np.testing.assert_allclose(terms["total"], np.mean(expected), rtol=1e-4)
    assert {"total", "content", "style", *OTHERS, "relu1_1", "relu2_1"} == terms.keys()


def test_every_style_comes_equally_often(task):
    task, _ = task
    crops = np.zeros((3, 16, 16, 3), np.float32)
    blends = np.concatenate([task.batch(step, crops)[1] for step in range(400)])
    assert (blends.sum(1) == 1).all()
    np.testing.assert_allclose(blends.mean(0), 0.5, atol=0.05)


def test_muon_makes_all_singular_values_of_a_step_alike(task):
    """Of kernels; all else moves as with Adam, and about as far (Liu et al. 2025)."""
    task, _ = task
    crops = np.stack([tiny.picture(16, 16, n) for n in (1, 2)]) / np.float32(255)
    rates = jnp.float32(1e-2), jnp.float32(0.9)
    for optimizer in ("adam", "muon"):
        state, _ = loop.advance(
            task.loss,
            optimizer,
            loop.start(task, optimizer),
            task.frozen,
            task.masks,
            task.batch(0, crops),
            *rates,
        )
        step = {k: np.asarray(v - task.parameters[k]) for k, v in state.parameters.items()}
        values = np.linalg.svd(step["conv2.kernel"].reshape(-1, 64), compute_uv=False)
        # Five Newton-Schulz iterations bring all but the smallest to between 0.7 and 1.2.
        assert (values[10] > 0.5 * values[0]) == (optimizer == "muon")
        assert 0.5e-3 < np.sqrt(np.square(step["conv2.kernel"]).mean()) < 1.1e-2
        # Adam's first step is equally long for all, with Nesterov's momentum half as long again.
        length = {"adam": 1e-2, "muon": 1.47e-2}[optimizer]
        np.testing.assert_allclose(np.abs(step["conv2.scale"]), length, rtol=0.05)


def test_muon_goes_along_the_polar_factor_of_each_kernels_own_gradient(task):
    """By numpy's SVD; kernels of one shape are stacked, so one could get another's step."""
    two_alike = Architecture("small", 2, blocks=1)
    task = tasks.stylizers(Recipe(**FAST), two_alike, NETWORK, task[1])
    crops = np.stack([tiny.picture(16, 16, n) for n in (1, 2)]) / np.float32(255)
    batch, rates = task.batch(0, crops), (jnp.float32(1e-2), jnp.float32(0.9))
    state = loop.start(task, "muon")
    state, _ = loop.advance(task.loss, "muon", state, task.frozen, task.masks, batch, *rates)
    gradient, _ = jax.jit(jax.grad(task.loss, has_aux=True))(task.parameters, task.frozen, batch)
    shapes = [v.shape for k, v in task.parameters.items() if k.endswith((".kernel", ".pointwise"))]
    assert len(set(shapes)) < len(shapes)
    for name, g in gradient.items():
        if name.endswith((".kernel", ".pointwise")):
            matrix = np.asarray(g, np.float64).reshape(-1, g.shape[-1])
            u, _, v = np.linalg.svd(matrix, full_matrices=False)
            step = np.asarray(task.parameters[name] - state.parameters[name]).reshape(matrix.shape)
            # Five Newton-Schulz iterations bring the large ones to between 0.7 and 1.2.
            core = u[:, :3].T @ step @ v[:3].T
            np.testing.assert_allclose(
                core / core.diagonal().mean(), np.eye(3), atol=0.35, err_msg=name
            )


def _steep(parameters, frozen, batch):
    """Zero, with a gradient that is not finite."""
    value = jnp.sqrt(sum(jnp.square(0 * p).sum() for p in parameters.values()))
    return value, {"total": value}


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_gradient_that_is_not_finite_is_left_out(task, optimizer):
    task, _ = task
    gradient, _ = jax.grad(_steep, has_aux=True)(task.parameters, None, None)
    assert not np.isfinite(gradient["conv1.kernel"]).any()
    rates = jnp.float32(1e-2), jnp.float32(0.9)
    state = loop.start(task, optimizer)
    state, _ = loop.advance(_steep, optimizer, state, None, task.masks, None, *rates)
    assert int(state.step) == 1
    for name, before in task.parameters.items():
        np.testing.assert_array_equal(state.parameters[name], before)


def test_a_step_is_adams_and_moves_every_parameter(stepped, task):
    state, *_ = stepped
    for name, before in task[0].parameters.items():
        # Adam's first step is as long as the learning rate, whatever the gradient.
        moved = np.abs(state.parameters[name] - before)
        assert np.median(moved) == pytest.approx(1e-2, rel=1e-2), name
        # The average of one step is that step.
        np.testing.assert_allclose(state.average[name], state.parameters[name], atol=1e-6)


def test_the_learning_rate_falls_in_the_last_third():
    recipe = Recipe(**FAST | {"steps": 9, "learning_rate": 1.0})
    rates = [loop.learning_rate(recipe, step) for step in range(9)]
    np.testing.assert_allclose(rates, [1, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3])


def test_every_step_is_reported_and_its_state_where_that_is_due(task):
    task, _ = task
    crops = np.stack([tiny.picture(16, 16, n) for n in (1, 2)]) / np.float32(255)
    recipe, seen = Recipe(**FAST | {"steps": 5}), []

    def stream(first, end, count):
        return iter([crops] * (end - first))

    def run(until):
        seen.clear()

        def report(now):
            seen.append((now.step, now.state and int(now.state.step)))
            return now.step == until

        state = loop.run(task, recipe, stream, loop.start(task), report, lambda n: n % 2 == 0)
        assert int(state.step) == seen[-1][0]
        return seen

    assert run(None) == [(1, None), (2, 2), (3, None), (4, 4), (5, None)]
    assert run(2) == [(1, None), (2, 2)]
    # One more was on its way, and what was done is told.
    assert run(3) == [(1, None), (2, 2), (3, None), (4, 4)]


def test_a_batch_that_devices_cannot_share_is_refused(task):
    with pytest.raises(nst.InputError, match="multiple of 3"):
        loop.run(task[0], Recipe(**FAST), lambda *_: [], loop.start(task[0]), devices=[None] * 3)


def trained(steps, output="model.safetensors", **more):
    files = Files(
        checkpoint="run.ckpt",
        checkpoint_every=2,
        resume=Path("run.ckpt").exists(),
        trace="t.jsonl",
        previews="seen",
        previews_every=3,
    )
    return train_model(
        "photos",
        ["night.png", "ink.png"],
        output,
        files=files,
        progress=False,
        steps=steps,
        **FAST | more,
    )


def test_a_training_that_was_killed_goes_on_with_the_same_bits(folder, monkeypatch):
    path = trained(6)
    whole = modelfile.load(path)
    assert weightfile.load(path).metadata["licence"] == FAST["licence"]
    trace = (folder / "t.jsonl").read_text()
    assert [json.loads(line)["step"] for line in trace.splitlines()] == [1, 2, 3, 4, 5, 6]
    assert sorted(p.name for p in (folder / "seen").iterdir()) == ["0000003.png", "0000006.png"]
    assert whole.styles == ("night", "ink")
    assert whole.training["steps"] == 6
    assert whole.training["skipped"] == 2
    (folder / "run.ckpt").unlink()

    class KilledError(Exception):
        pass

    keep = loop.save

    def killed(path, state, asked):
        keep(path, state, asked)
        if int(state.step) == 4:
            raise KilledError

    monkeypatch.setattr(loop, "save", killed)
    with pytest.raises(KilledError):
        trained(6)
    with (folder / "t.jsonl").open("a") as file:
        file.write("what came after the checkpoint\n")
    monkeypatch.setattr(loop, "save", keep)
    again = modelfile.load(trained(6, "again.safetensors"))
    assert again.digest == whole.digest
    assert (folder / "t.jsonl").read_text() == trace
    with pytest.raises(nst.InputError, match=r"training with style_weight 1000.0, not 5.0"):
        trained(8, style_weight=5)


@pytest.fixture
def pressed(monkeypatch):
    """Ctrl-C within the third step."""
    step = loop.advance

    def interrupted(*args):
        state, terms = step(*args)
        if state.step == 3:
            signal.raise_signal(signal.SIGINT)
        return state, terms

    monkeypatch.setattr(loop, "advance", interrupted)


@pytest.mark.usefixtures("pressed")
def test_ctrl_c_in_a_step_keeps_the_model(folder):
    assert modelfile.load(trained(6)).training["steps"] == 3
    assert modelfile.load(trained(6)).training["steps"] == 6


def test_a_style_is_added_without_touching_the_others(folder):
    before = modelfile.load(trained(2))
    (folder / "run.ckpt").unlink()
    Image.fromarray(tiny.picture(32, 32, 30)).save("new.png")
    path = train_model(
        "photos",
        ["new.png"],
        "three.safetensors",
        base="model.safetensors",
        progress=False,
        steps=3,
        **FAST,
    )
    after = modelfile.load(path)
    assert after.styles == ("night", "ink", "new")
    for name, value in before.tensors.items():
        if stages.is_conditional(name):
            np.testing.assert_array_equal(after.tensors[name][:2], value)
            assert np.abs(after.tensors[name][2] - value.mean(0)).max() > 1e-4
        else:
            np.testing.assert_array_equal(after.tensors[name], value)
    with pytest.raises(nst.InputError, match="has a style 'ink' already"):
        train_model("photos", ["ink.png"], "x.safetensors", base=path, progress=False, **FAST)


def test_a_training_begins_with_the_parameters_of_another(folder):
    before = modelfile.load(trained(2))
    (folder / "run.ckpt").unlink()
    styles = {"a": "ink.png", "b": "night.png"}
    # A rate next to nothing: what it began with is what it ends with.
    more = FAST | {"steps": 1, "learning_rate": 1e-12, "init": "model.safetensors"}
    after = modelfile.load(train_model("photos", styles, "b.safetensors", progress=False, **more))
    assert after.styles == ("a", "b")
    assert after.training["init"] == before.digest
    for name, value in before.tensors.items():
        np.testing.assert_array_equal(after.tensors[name], value)
    with pytest.raises(
        nst.InputError, match=r"number of styles: .*scale is \(2, 32\), expected \(1"
    ):
        train_model("photos", ["ink.png"], "c.safetensors", progress=False, **more)
    with pytest.raises(nst.InputError, match="Give base or init, not both"):
        train_model("photos", styles, "c.safetensors", base="b.safetensors", progress=False, **more)


def test_bfloat16_is_near_float32(task):
    task, styles = task
    crops = np.stack([tiny.picture(16, 16, n) for n in (1, 2)]) / np.float32(255)
    coarse = tasks.stylizers(
        Recipe(**FAST | {"precision": "bfloat16"}),
        ARCHITECTURE,
        tiny.network(Options(precision="bfloat16")),
        styles,
    )
    losses = [
        float(jax.jit(t.loss)(t.parameters, t.frozen, t.batch(0, crops))[0]) for t in (task, coarse)
    ]
    assert abs(losses[1] / losses[0] - 1) < 0.1


def flags(**more):
    return [f"--{k.replace('_', '-')}={v}" for k, v in (FAST | more).items()]


def test_train_writes_a_model_that_apply_takes(folder, capfd):
    styles = ["--style=night.png", "--style=ink.png", "--output=m.safetensors"]
    assert run("train", "photos", *styles, *flags(steps=2), "--json") == 0
    out, err = capfd.readouterr()
    assert "2/2" in err
    told = json.loads(out)
    assert (told["output"], told["finished"]) == ("m.safetensors", True)
    assert told["styles"] == ["night", "ink"]
    assert told["bytes"] == Path("m.safetensors").stat().st_size
    assert told["digest"] == weightfile.load("m.safetensors").digest
    assert told["training"]["steps"] == 2
    assert run("apply", "m.safetensors", "night.png", "--style=ink", "-o", "out", "--quiet") == 0


@pytest.mark.usefixtures("pressed")
def test_train_tells_that_it_was_interrupted(folder, capfd):
    assert (
        run("train", "photos", "--style=ink.png", "--output=m.safetensors", *flags(steps=5)) == 130
    )
    assert re.search(r"^m.safetensors \(0.* MB, after 3 of 5 steps\)$", capfd.readouterr().out)


@pytest.mark.parametrize(
    ("folder_", "more", "said"),
    [
        ("nowhere", {}, "no folder 'nowhere'"),
        ("empty", {}, "holds no pictures"),
        ("broken", {}, r"of 2 files 1 cannot be read and 1 are smaller than the crop of 16"),
        ("photos", {"crop": 64}, "smaller than the crop of 64 pixels"),
        ("photos", {"crop": 20}, "multiple of 16"),
        ("photos", {"variant": "smal"}, "Did you mean 'small'"),
        ("photos", {"steps": 0}, "whole number from 1"),
        ("photos", {"style_layers": "relu9_1"}, "no layer 'relu9_1'"),
        ("photos", {"style": "none.png"}, "does not exist"),
        ("photos", {"output": "m.pth"}, "Model files are .safetensors"),
        ("photos", {"base": "night.png"}, "cannot be read"),
        ("photos", {"init": "night.png"}, "cannot be read"),
        ("photos", {"checkpoint": "night.png", "resume": None}, "damaged or cannot be read"),
        ("photos", {"resume": None}, "nothing to resume from"),
        ("photos", {"style": "thin.png"}, "style picture 'thin' is 32x1 pixels, too small for"),
        ("photos", {"checkpoint_every": 0}, "checkpoint_every is 0, but must be a whole number"),
        ("photos", {"previews_every": -1}, "previews_every is -1, but must be a whole number"),
        ("photos", {"checkpoint": "night.png"}, "is there already: go on from it with resume"),
    ],
)
def test_bad_input_gets_one_sentence(folder, capfd, folder_, more, said):
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "a.jpg").write_bytes(b"x")
    Image.fromarray(tiny.picture(12, 12)).save("broken/b.png")
    Image.fromarray(tiny.picture(2, 200)).save("thin.png")
    if folder_ == "photos" and more.get("crop") == 64:
        (folder / "photos" / "more" / "4.jpg").unlink()
    more = {"style": "ink.png", "output": "m.safetensors"} | more
    given = [flag.removesuffix("=None") for flag in flags(**more)]
    assert said in refusal(capfd, "train", folder_, *given, "--quiet")
    assert not (folder / "m.safetensors").exists()

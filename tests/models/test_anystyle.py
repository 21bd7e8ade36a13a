"""AdaIN, whitening and style swap by hand, decoders, models for any style, their training."""

import jax
import numpy as np
import pytest
import tiny
from commands import refusal, run
from PIL import Image
from scipy import linalg

import nst_jax as nst
from nst_jax.cli import cache
from nst_jax.models import anystyle, modelfile, stages, transfer
from nst_jax.models import load as model_module
from nst_jax.models.anystyle import AnyStyle
from nst_jax.models.modelfile import ModelFile
from nst_jax.pictures import reading, resizing
from nst_jax.training import api, kinds, tasks
from nst_jax.training.api import train_model
from nst_jax.training.recipe import Recipe
from nst_jax.training.recording import Files

NETWORK = tiny.network()


@pytest.fixture
def features(rng):
    """Of a content and two styles: (h, w, c), of correlated channels."""
    mix = rng.normal(size=(6, 6))
    return [
        (rng.normal(size=shape) @ mix * 3 + k).astype(np.float32)
        for k, shape in enumerate([(9, 11, 6), (13, 8, 6), (7, 9, 6)])
    ]


def test_adain_gives_means_and_deviations(features):
    content, style, _ = features
    found = transfer.adain(content, transfer.measure("adain", style))
    f, s = (x.reshape(-1, 6).astype(float) for x in (content, style))
    expected = (f - f.mean(0)) / f.std(0) * s.std(0) + s.mean(0)
    np.testing.assert_allclose(found.reshape(-1, 6), expected, atol=1e-4, rtol=1e-5)


def test_whitening_and_colouring_give_covariances(features):
    content, style, _ = features
    found = transfer.whiten_and_color(content, transfer.measure("wct", style)).reshape(-1, 6)
    f, s = (x.reshape(-1, 6).astype(float) for x in (content, style))
    np.testing.assert_allclose(found.mean(0), s.mean(0), atol=1e-4)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.cov(s.T, bias=True), rtol=2e-4)

    def power(x, p):
        values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
        return vectors @ np.diag(values**p) @ vectors.T

    expected = (f - f.mean(0)) @ power(f, -0.5) @ power(s, 0.5) + s.mean(0)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_damped_whitening_by_hand(features):
    content, style, _ = features
    measured = transfer.measure("whitened", style)
    found = transfer.whiten_and_color(content, measured, damping=0.01).reshape(-1, 6)
    f, s = (x.reshape(-1, 6).astype(float) for x in (content, style))
    own, wanted = (np.cov(x.T, bias=True) for x in (f, s))
    white = linalg.inv(linalg.sqrtm(own + 0.01 * np.square(f).sum(1).mean() * np.eye(6)))
    expected = (f - f.mean(0)) @ white @ linalg.sqrtm(wanted) + s.mean(0)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_flat_features_get_the_style_s_mean(features, rng):
    """Rounding is no content, which whitening would make as large as the style."""
    flat = np.float32(3 + 1e-6 * rng.normal(size=(4, 5, 6)))
    style = transfer.measure("whitened", features[1])
    found = transfer.transfer("whitened", flat, [style], np.ones(1, np.float32))
    np.testing.assert_allclose(found, np.broadcast_to(style.mean, found.shape), atol=2e-3)


def test_directions_without_variance_are_left_out(features):
    content, style, _ = features
    flat = content.copy()
    flat[..., 5] = flat[..., 4]
    found = transfer.whiten_and_color(flat, transfer.measure("wct", style))
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 10 * np.abs(style).max()


def swapped(content, style, allowed):
    """Style swap by loops: correlate with unit patches, choose, lay out, divide by the coverage."""

    def corners(f):
        return [(y, x) for y in range(f.shape[0] - 2) for x in range(f.shape[1] - 2)]

    patches = [style[y : y + 3, x : x + 3] for y, x in corners(style) if allowed[y + 1, x + 1]]
    unit = [patch / np.linalg.norm(patch) for patch in patches]
    total, covered = np.zeros_like(content), np.zeros((*content.shape[:2], 1))
    for y, x in corners(content):
        here = np.s_[y : y + 3, x : x + 3]
        total[here] += patches[np.argmax([(content[here] * u).sum() for u in unit])]
        covered[here] += 1
    return total / covered


def test_style_swap_by_loops(features, rng):
    content, style, _ = (f.astype(float) for f in features)
    everywhere = np.ones(style.shape[:2], np.float32)
    found = transfer.swap(content, transfer.measure("swap", style))
    np.testing.assert_allclose(found, swapped(content, style, everywhere), rtol=1e-4, atol=1e-4)
    some = np.float32(rng.uniform(size=style.shape[:2]) > 0.6)
    found = transfer.swap(content, transfer.measure("swap", style, some))
    np.testing.assert_allclose(found, swapped(content, style, some), rtol=1e-4, atol=1e-4)
    # Only the directions of the content's patches count.
    louder = transfer.swap(3 * content, transfer.measure("swap", style, some))
    np.testing.assert_allclose(louder, found, rtol=1e-6)


@pytest.mark.parametrize("method", transfer.METHODS)
def test_strength_and_shares(features, method):
    transferred = jax.jit(transfer.transfer, static_argnums=0)
    content, *styles = features
    measured = [transfer.measure(method, style) for style in styles]
    alone = [transferred(method, content, [style], np.ones(1, np.float32)) for style in measured]
    shares = np.float32([0.3, 0.7])
    both = transferred(method, content, measured, shares)
    np.testing.assert_allclose(both, 0.3 * alone[0] + 0.7 * alone[1], atol=1e-4)
    where = np.zeros((9, 11, 2), np.float32)
    where[:4, :, 0] = where[4:, :, 1] = 1
    mixed = transferred(method, content, measured, where)
    np.testing.assert_allclose(mixed[:4], alone[0][:4], atol=1e-4)
    np.testing.assert_allclose(mixed[4:], alone[1][4:], atol=1e-4)
    np.testing.assert_allclose(
        transferred(method, content, measured, shares, 0.0), content, atol=1e-5
    )


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("level", transfer.LEVELS["wct"])
def test_decoders_lead_back_to_the_pictures_size(level, full):
    stride = 2 ** (int(level[4]) - 1)
    decoder = transfer.decoder(level, 6, full)
    parameters = stages.initial(stages.shapes(decoder))
    found = jax.eval_shape(
        lambda x: transfer.decode(decoder, parameters, x), np.zeros((2, 4, 5, 6), np.float32)
    )
    assert found.shape == (2, 4 * stride, 5 * stride, 3)
    assert found.dtype == np.float32


def made(method, encoder="vgg19-lite"):
    """A model of random decoders."""
    levels = transfer.LEVELS["adain" if method == "whitened" else method][-2:]
    widths = {level: (4, 4, 6, 6)[int(level[4]) - 1] for level in levels}
    rows = {level: transfer.decoder(level, width, False) for level, width in widths.items()}
    shapes = {k: v for row in rows.values() for k, v in stages.shapes(row).items()}
    tensors = stages.initial(shapes, 4)
    tensors = {k: 9 * v if k.endswith("out.kernel") else v for k, v in tensors.items()}
    return ModelFile(
        modelfile.ANY_STYLE,
        {"method": method, "levels": widths, "full": False}
        | {"encoder": encoder, "encoder_digest": NETWORK.digest},
        tensors,
    )


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


@pytest.mark.parametrize("method", transfer.METHODS)
def test_tiles_leave_no_seam(method):
    model = AnyStyle(made(method), "m", NETWORK)
    picture, style = tiny.picture(60, 210), tiny.picture(40, 48, 3)
    whole = model(picture, style).image
    tiled = model(picture, style, tile=64).image
    assert whole.shape == (60, 210, 3)
    assert np.abs(whole - tiled).max() < 1 / 255


@pytest.mark.parametrize("method", ["adain", "whitened"])
def test_the_edge_of_a_picture_is_not_drawn(method):
    model = AnyStyle(made(method), "m", NETWORK)
    # What has no fine detail gives a flat picture none.
    waves = np.cos(np.pi * (np.arange(76) + 0.5) / 76)[:, None] * np.array([0.1, 0.05, -0.1])
    style = np.broadcast_to(np.float32(0.5 + waves), (60, 76, 3))
    found = model(np.full((60, 76, 3), 0.4, np.float32), style).image
    np.testing.assert_allclose(found, np.broadcast_to(found[30, 38], found.shape), atol=1e-3)


def test_a_model_draws_in_the_style_of_pictures(folder, capfd):
    modelfile.save("any.safetensors", made("adain"))
    model = nst.load("any.safetensors")
    picture = tiny.picture(40, 48)
    one, other = (model(picture, f"photos/{n}.png").image for n in (1, 2))
    assert np.abs(one - other).max() > 0.01
    mixed = model(picture, {"photos/1.png": 1, "photos/2.png": 0}).image
    np.testing.assert_allclose(mixed, one, atol=1e-5)
    weak = model(picture, "photos/1.png", strength=0.0).image
    np.testing.assert_allclose(weak, model(picture, "photos/2.png", strength=0.0).image, atol=1e-5)
    drawn = ["apply", "any.safetensors", "photos/0.png", "--style=photos/1.png"]
    assert run(*drawn, "--output=out", "--strength=0.5", "--quiet") == 0
    both = ["apply", "any.safetensors", "photos", "--style=photos/1.png:2,photos/2.png", "-o", "b"]
    assert run(*both, "--quiet") == 0
    assert len(list((folder / "b").iterdir())) == 4
    for more, said in (
        (["--strength=2"], "from 0 to 1"),
        (["--style=photos/9.png"], "does not exist"),
    ):
        assert said in refusal(capfd, *drawn[:3], *drawn[3:], *more, "--output=x", "--quiet")
    assert "no style picture" in refusal(capfd, *drawn[:3], "-o", "x", "--quiet")


def test_a_style_that_shows_too_little_is_refused():
    dot = np.zeros((47, 48, 4), np.uint8)
    dot[46, 0] = 255  # pooling leaves out the last row
    with pytest.raises(nst.InputError, match="opaque of the style is empty"):
        AnyStyle(made("adain"), "m", NETWORK).painter(dot, 40, 48)


def test_pictures_without_a_patch_are_refused():
    model = nst.load("swap")
    with pytest.raises(nst.InputError, match=r"40x16 pixels.*at least 17"):
        model.painter(tiny.picture(40, 48), 16, 40)
    corner = np.zeros((48, 48, 4), np.uint8)
    corner[:8] = 255  # opaque where no patch has its middle
    with pytest.raises(nst.InputError, match="opaque of the style is empty"):
        model.painter(corner, 40, 48)
    with pytest.raises(nst.InputError, match="too small"):
        model.painter([tiny.picture(40, 48), tiny.picture(16, 48)], 40, 48)


def test_the_packages_style_swap_takes_a_picture_s_own_patches_for_itself():
    model, other = nst.load("swap"), nst.load("anystyle")
    photo = resizing.resize(nst.samples.content("cat"), (96, 128))
    drawn, wanted = (model(photo, photo, strength=s).image for s in (1.0, 0.0))
    # Beyond the edge features of the style see nothing, those of the content its reflection.
    inside = np.s_[32:-32, 32:-32]
    np.testing.assert_allclose(drawn[inside], wanted[inside], atol=0.02)
    assert len({model.digest, other.digest, nst.load("adain").digest}) == 3
    assert model.draw(reading.read(photo), photo).about["model"] == "swap"


def test_other_models_are_refused(folder):
    with pytest.raises(nst.InputError, match="trained with other weights"):
        AnyStyle(made("adain"), "m", tiny.network(seed=1))
    strange = made("adain")
    broken = ModelFile(strange.kind, dict(strange.architecture) | {"method": "magic"}, {})
    with pytest.raises(nst.InputError, match="does not know"):
        AnyStyle(broken, "m", NETWORK)


@pytest.mark.parametrize("method", ["adain", "wct"])
def test_training_lowers_the_loss(folder, monkeypatch, method):
    monkeypatch.setitem(transfer.LEVELS, "wct", ("relu2_1", "relu1_1"))
    layers = {"style_layers": "relu1_1,relu2_1"} if method == "adain" else {}
    path = train_model(
        "photos",
        ["photos"],
        "m.safetensors",
        files=Files(trace="t.jsonl", previews="seen", previews_every=12),
        progress=False,
        kind=method,
        crop=32,
        batch=2,
        steps=12,
        learning_rate=1e-2,
        **layers,
    )
    losses = [
        float(line.split('"total": ')[1].split(",")[0].strip("}\n "))
        for line in (folder / "t.jsonl").read_text().splitlines()
    ]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert nst.load(path)(tiny.picture(24, 32), "photos/1.png").image.shape == (24, 32, 3)
    assert images_of(folder / "seen") == ["0000012.png"]


def test_style_swap_is_trained_as_wct_at_one_level(folder):
    recipe = Recipe(kind="swap", crop=16, network="vgg19-lite")
    made = kinds.decoding(recipe, NETWORK, ["photos"], None)
    file = made.model(made.task.parameters)
    assert isinstance(made.task.loss, tasks.ReconstructionLoss)
    assert (file.architecture["method"], file.architecture["levels"]) == ("swap", {"relu3_1": 6})
    assert AnyStyle(file, "m", NETWORK).method == "swap"


def images_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_styles_are_read_at_the_size_of_the_drawing():
    model = AnyStyle(made("adain"), "m", NETWORK)
    picture, style = tiny.picture(40, 64), np.float32(tiny.picture(96, 128, 3) / 255)
    small = resizing.resize(style, (48, 64))
    expected = model(picture, small).image
    np.testing.assert_array_equal(model(picture, style).image, expected)
    frames = reading.read(picture).rgb[None]
    kept = model.painter(style, 40, 64, resized=False)(frames)[0]
    assert np.abs(kept - expected).max() > 1e-3
    np.testing.assert_array_equal(model.painter(small, 40, 64, resized=False)(frames)[0], expected)


def test_a_style_is_no_larger_than_1024_pixels_however_large_the_drawing():
    style = np.float32(tiny.picture(40, 60, 3) / 255)
    assert anystyle._style(style, 128).rgb.shape == (85, 128, 3)
    assert anystyle._style(style, 16).rgb.shape == (32, 48, 3)
    seen, whole = [], reading.read(style)
    model = AnyStyle(made("adain"), "m", NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anystyle, "_style", lambda source, size: seen.append(size) or whole)
        for width, resized in ((64, True), (3000, True), (3000, False)):
            model.painter(style, 32, width, resized=resized)
    assert seen == [64, 1024, None]


def floats(*size):
    return np.float32(tiny.picture(*size) / 255)


@pytest.mark.parametrize("places", [False, True])
def test_tiles_change_no_detail(places):
    drawing, frame = floats(64, 608, 1), floats(60, 604, 2)
    styles = [anystyle._own(floats(40, 48, seed), None) for seed in (3, 4)]
    shares = np.float32([0.25, 0.75])
    if places:
        across = np.linspace(0, 1, 604, dtype=np.float32)
        shares = np.broadcast_to(np.stack([across, 1 - across], -1), (60, 604, 2))
    whole = anystyle._redrawn(drawing, frame, styles, shares, 1.0, None)
    tiled = anystyle._redrawn(drawing, frame, styles, shares, 1.0, 96)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    first = anystyle._redrawn(drawing, frame, styles[:1], np.ones(1, np.float32), 1.0, None)
    right = np.abs(whole - first)[:60, 450:604].mean()
    assert right < 0.05 if places else right > 0.05


def test_detail_is_taken_from_what_is_opaque(monkeypatch):
    seen = []

    def noted(drawing, frame, styles, *rest):
        seen.extend(styles)
        return drawing

    monkeypatch.setattr(anystyle, "_redrawn", noted)
    style = np.dstack([tiny.picture(48, 64, 3), np.full((48, 64), 255, np.uint8)])
    style[:, 32:, 3] = 0
    AnyStyle(made("whitened"), "m", NETWORK)(tiny.picture(48, 64), style)
    tones, found = seen[0]
    shown = np.asarray(found.corners)[:, 1] + anystyle.detail.SIDE <= 32
    np.testing.assert_array_equal(np.asarray(found.penalty) == 0, shown)
    opaque = anystyle.tinting.tones(np.float32(style[:, :32, :3] / 255))
    np.testing.assert_allclose(tones.mean, opaque.mean, atol=1e-5)

"""Transparent pixels of a style are no style: what colour is hidden under them changes nothing."""

import numpy as np
import pytest
import tiny
from scipy import linalg

import nst_jax as nst
from nst_jax.models import transfer
from nst_jax.models.transformer import Architecture
from nst_jax.pictures import transparency
from nst_jax.stylizing.inputs import Sources, read_pictures
from nst_jax.stylizing.presets import resolve
from nst_jax.stylizing.problem import prepare
from nst_jax.training import tasks
from nst_jax.training.recipe import Recipe

CONTENT = tiny.picture(48, 64)
NETWORK = tiny.network()
PIXELS = {"style_layers": "relu1_1", "content_layers": "relu1_1", "content_weight": 0}
FAST = {"size": None, "iterations": 4, "network": NETWORK, "progress": False, **tiny.SHALLOW}


def sticker(hidden: int, side: int = 48, soft: bool = False) -> np.ndarray:
    """A disc on a clear ground, RGBA; `hidden` is the grey under the ground."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    distance = np.hypot(y, x)
    alpha = np.clip((0.4 * side - distance) / (6 if soft else 1e-3), 0, 1)
    rgb = np.where(alpha[..., None] > 0, tiny.picture(side, side, 4), hidden)
    return np.dstack([rgb, np.rint(255 * alpha)]).astype(np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {"style_size": 33, "color": "match-symmetric"},
        {"statistic": "sliced", "style_weight": 10, "color": "luminance"},
        {"tile": 16, "keep": np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))},
        {"content_regions": np.repeat([[0, 1]], 48, 0).repeat(32, 1), "region_styles": "0:1,1:1"},
    ],
)
def test_hidden_colours_change_no_picture(options):
    black, white = (nst.stylize(CONTENT, sticker(v), **FAST, **options) for v in (0, 255))
    np.testing.assert_array_equal(black.image, white.image)


def test_the_ground_is_not_drawn():
    options = FAST | {"iterations": 60, "preset": "gatys", "style_weight": 1e6, "init": "noise"}
    shown = sticker(0)[..., 3] > 0
    mean = sticker(0)[shown, :3].mean(0) / 255
    found, black = (
        nst.stylize(CONTENT, style, **options | {"network": tiny.Pixels()} | PIXELS).image
        for style in (sticker(0), sticker(0)[..., :3])
    )
    np.testing.assert_allclose(found.mean((0, 1)), mean, atol=0.05)
    assert (black.mean((0, 1)) < mean - 0.1).all()


def test_statistics_are_those_of_the_visible_pixels():
    """With features that are the pixels, in numpy: guides are squared opacities."""
    network, picture = tiny.Pixels(), sticker(0, soft=True)
    options = {"style_layers": "relu1_1", "content_layers": "relu1_1", "size": None}
    settings = resolve("gatys", **options)
    pictures = read_pictures(settings, Sources(CONTENT, picture))
    problem = prepare(
        settings, network, pictures.content.rgb, pictures.styles, regions=pictures.regions
    )
    found = problem.args.targets.terms["style"].statistics["relu1_1"]
    rgb, alpha = picture[..., :3] / 255.0, picture[..., 3] / 255.0
    weights = alpha**2 / (alpha**2).sum()
    expected = np.einsum("hw,hwi,hwj->ij", weights, rgb, rgb)
    np.testing.assert_allclose(np.squeeze(found), expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["adain", "wct", "whitened"])
def test_models_for_any_style_measure_the_visible(method, rng):
    features = rng.normal(size=(9, 7, 5)).astype(np.float32)
    weights = rng.uniform(size=(9, 7)).astype(np.float32) * (rng.uniform(size=(9, 7)) > 0.5)
    mean, spread = transfer.measure(method, features, weights)
    flat, share = features.reshape(-1, 5).astype(float), weights.reshape(-1).astype(float)
    expected = np.cov(flat.T, aweights=share, bias=True)
    np.testing.assert_allclose(mean, np.average(flat, axis=0, weights=share), atol=1e-6)
    wanted = np.diag(expected) if method == "adain" else linalg.sqrtm(expected)
    np.testing.assert_allclose(spread, wanted, atol=1e-5)
    whole = transfer.measure(method, features, np.ones((9, 7), np.float32))
    for a, b in zip(whole, transfer.measure(method, features), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_models_for_any_style_do_not_see_what_is_hidden():
    model = nst.load("anystyle")
    black, white = (model(CONTENT, sticker(v, 96)).image for v in (0, 255))
    np.testing.assert_array_equal(black, white)


def test_training_does_not_see_what_is_hidden():
    recipe = Recipe(crop=16, batch=2, style_size=32, network="vgg19-lite", **tiny.SHALLOW)
    architecture = Architecture("small", 1, blocks=0)
    black, white, opaque = (
        tasks.stylizers(recipe, architecture, NETWORK, [transparency.read_style(style)])
        for style in (sticker(0), sticker(255), sticker(0)[..., :3])
    )
    for layer in ("relu1_1", "relu2_1"):
        a, b, c = (task.frozen.style[layer] for task in (black, white, opaque))
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 0.01 * np.abs(c).max()


def test_an_opaque_alpha_changes_nothing():
    style = tiny.picture(48, 48, 4)
    clear = np.dstack([style, np.full((48, 48), 255, np.uint8)])
    found = [nst.stylize(CONTENT, given, **FAST).image for given in (style, clear)]
    np.testing.assert_array_equal(*found)


def test_a_style_that_shows_nothing_is_refused():
    with pytest.raises(nst.InputError, match="transparent everywhere"):
        nst.stylize(CONTENT, np.zeros((40, 40, 4), np.uint8), **FAST)
    dot = np.zeros((63, 64, 4), np.uint8)
    dot[62, 0] = 255  # pooling leaves out the last row
    with pytest.raises(nst.InputError, match="that is opaque of the style is empty"):
        nst.stylize(CONTENT, dot, **FAST | {"style_layers": "relu2_1"})

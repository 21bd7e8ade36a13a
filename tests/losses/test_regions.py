"""Regions: guided Gram matrices by their formula, what is kept, and how labels find each other."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from objectives import aims, gatys, weigh
from PIL import Image

import nst_jax as nst
from nst_jax import Options, objective, style_targets
from nst_jax.cli import main
from nst_jax.losses.regions import at_layers, match
from nst_jax.losses.statistics.base import Given, measure
from nst_jax.losses.statistics.gram import Gram
from nst_jax.networks.layers import pool2x2
from nst_jax.pictures import reading, resizing

CONTENT, STYLE, OTHER = tiny.picture(), tiny.picture(32, 32, 2), tiny.picture(24, 44, 3)
HALVES = np.repeat([0, 1], 20)[None].repeat(32, 0)  # of the content: left and right
STYLE_HALVES = np.repeat([0, 1], 16)[:, None].repeat(32, 1)  # of the style: top and bottom
NETWORK = tiny.network()
FAST = {"size": None, "iterations": 6, "network": NETWORK, "progress": False, **tiny.SHALLOW}
MASK = np.ones((2, 2), np.float32)


def unit(picture):
    return picture / np.float32(255)


def stylize(content=CONTENT, style=STYLE, **options):
    return nst.stylize(content, style, **FAST | options)


def refusal(function, *args, **options) -> str:
    with pytest.raises(nst.InputError) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_guided_grams_by_the_papers_formula(rng):
    features = rng.normal(size=(5, 7, 4)).astype(np.float32)
    channels = rng.uniform(size=(3, 5, 7)).astype(np.float32)  # T^r
    found = measure(Gram(), jnp.asarray(features), Given(jnp.square(channels)))
    for channel, gram in zip(channels.astype(np.float64), found, strict=True):
        guided = (channel / np.sqrt(np.sum(channel**2)))[..., None] * features
        flat = guided.reshape(-1, 4)
        np.testing.assert_allclose(gram, flat.T @ flat, rtol=1e-4)


def test_the_gradient_of_a_guided_gram(rng):
    features, weights = rng.normal(size=(3, 4, 2)), rng.uniform(size=(3, 4))
    features, weights = features.astype(np.float32), weights.astype(np.float32)
    g = rng.normal(size=(2, 2)).astype(np.float32)

    def plain(f):
        return jnp.sum(g * jnp.einsum("hwi,hwj,hw->ij", f, f, weights))

    ours = jax.grad(lambda f: jnp.sum(g * nst.gram(f, weights)))(features)
    np.testing.assert_allclose(ours, jax.grad(plain)(features), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (37, 51)])
def test_guides_lie_as_pooling_lays_them(rng, size):
    masks = rng.uniform(size=(2, *size)).astype(np.float32)
    guides = at_layers(masks, NETWORK, ["relu1_1", "relu2_1", "relu3_1"])
    image = rng.uniform(size=(*size, 3)).astype(np.float32)
    features = jax.eval_shape(lambda image: NETWORK(image, tuple(guides)), image)
    for layer, halvings in (("relu1_1", 0), ("relu2_1", 1), ("relu3_1", 2)):
        x = jnp.moveaxis(jnp.asarray(masks), 0, -1)
        for _ in range(halvings):
            x = pool2x2(x, "average")
        np.testing.assert_allclose(guides[layer], jnp.moveaxis(x, -1, 0) ** 2, rtol=1e-5)
        assert guides[layer].shape[1:] == features[layer].shape[:2]


def both(content, whole, **options):
    """Value and gradient of the objective with the regions, and of the plain one."""
    settings = nst.Settings(**tiny.SHALLOW)
    found = []
    for given in (whole, None):
        problem = nst.prepare(settings, NETWORK, unit(content), unit(STYLE), regions=given)
        start = problem.x + 10  # off the content, where the content loss has no gradient
        total = jax.value_and_grad(lambda x, args, fn=problem.fn: fn(x, args)[0])
        found.append(jax.jit(total)(start, problem.args))
    return found


def test_one_region_is_no_region():
    whole = match({"9": MASK}, [{"9": MASK}], [1.0])
    (value, gradient), (plain, plain_gradient) = both(CONTENT, whole)
    assert value == pytest.approx(float(plain), rel=1e-5)
    np.testing.assert_allclose(
        gradient, plain_gradient, atol=1e-4 * float(jnp.abs(plain_gradient).max())
    )


def test_equal_halves_of_an_equal_picture_are_no_regions():
    # Two regions that measure the same, drawn to the same: their shares make up the whole.
    image, pixels = np.tile(unit(CONTENT)[:, :20], (1, 2, 1)), tiny.Pixels()
    spec = gatys((), ("relu1_1",))
    halves = np.stack([HALVES == 0, HALVES == 1]).astype(np.float32)
    guides = at_layers(halves, pixels, ["relu1_1"])
    weights = weigh(0.0, 1.0)
    target = style_targets(spec, pixels, unit(STYLE))
    plain = objective(spec, image, pixels, aims(spec, pixels, None, target), weights)
    sources, blend = {"relu1_1": target["relu1_1"][None]}, jnp.ones((2, 1))
    split = objective(
        spec,
        image,
        pixels,
        aims(spec, pixels, None, sources, guides),
        weights._replace(blend=blend),
    )
    np.testing.assert_allclose(split[0], plain[0], rtol=1e-5)


def test_each_region_is_drawn_to_its_own_style():
    regions = {"content_regions": HALVES, "region_styles": "0:2,1:1"}
    result = stylize(style=[STYLE, OTHER], iterations=12, **regions)
    layer = "relu1_1"
    features = nst.features(NETWORK, unit(CONTENT), [layer])[layer]
    expected = 0
    for half, style in ((features[:, :20], OTHER), (features[:, 20:], STYLE)):
        target = nst.gram(nst.features(NETWORK, unit(style), [layer])[layer])
        expected += 0.5 * 1e3 * nst.style_loss(nst.gram(half), target)
    np.testing.assert_allclose(result.losses[layer][0], expected, rtol=1e-3)
    assert result.losses["total"][-1] < 0.5 * result.losses["total"][0]
    assert result.settings.region_styles == {"0": 2, "1": 1}


def test_regions_are_matched_by_label():
    result = stylize(content_regions=HALVES, style_regions=1 - STYLE_HALVES)
    layer = "relu1_1"
    features = nst.features(NETWORK, unit(CONTENT), [layer])[layer]
    style = nst.features(NETWORK, unit(STYLE), [layer])[layer]
    expected = 0
    for half, target in ((features[:, :20], style[16:]), (features[:, 20:], style[:16])):
        expected += 0.5 * 1e3 * nst.style_loss(nst.gram(half), nst.gram(target))
    np.testing.assert_allclose(result.losses[layer][0], expected, rtol=1e-3)


def test_the_style_of_a_region_stays_in_it():
    settings = nst.Settings(content_layers="", style_layers="relu2_1", size=None)
    left = match({"0": np.float32(HALVES == 0)}, [None], [1.0], chosen={"0": 1})
    problem = nst.prepare(settings, NETWORK, unit(CONTENT), unit(STYLE), regions=left)
    gradient = jax.jit(jax.grad(lambda x, args: problem.fn(x, args)[0]))(problem.x, problem.args)
    gradient = np.abs(gradient).max(axis=(0, 2))
    reach = 2 * 2 + 1  # of relu2_1: two convolutions, one of them after pooling
    assert (gradient[: 20 - reach] > 0).all()
    assert (gradient[20 + reach :] == 0).all()


def test_what_is_kept_stays_and_has_no_style():
    keep = np.zeros((32, 40), np.float32)
    keep[:, 24:] = 1
    keep[:, 20:24] = [0.2, 0.4, 0.6, 0.8]
    result = stylize(keep=keep, optimizer="adam", learning_rate=0.05)
    content = unit(CONTENT)
    np.testing.assert_array_equal(result.image[:, 24:], content[:, 24:])
    assert np.abs(result.image[:, :20] - content[:, :20]).mean() > 0.02
    # No style there: what the kept pixels measure is nowhere in the loss.
    settings = nst.Settings(content_layers="", style_layers="relu1_1")
    kept = match(None, [None], [1.0], keep=keep)
    problem = nst.prepare(settings, NETWORK, content, unit(STYLE), regions=kept)
    own = nst.features(NETWORK, content, ["relu1_1"])["relu1_1"]
    style = nst.features(NETWORK, unit(STYLE), ["relu1_1"])["relu1_1"]
    weight = (1 - keep) ** 2
    guided = np.einsum("hwi,hwj,hw->ij", own, own, weight) / weight.sum()
    expected = weight.mean() * 1e3 * nst.style_loss(jnp.asarray(guided), nst.gram(style))
    assert problem.fn(problem.x, problem.args)[0] == pytest.approx(float(expected), rel=1e-4)
    gradient = jax.jit(jax.grad(lambda x: problem.fn(x, problem.args)[0]))(problem.x + 10)
    assert (gradient[:, 24:] == 0).all()
    shown = problem.picture(problem.x * 0)
    np.testing.assert_allclose(shown, keep[..., None] * content, atol=1e-6)


def test_a_label_may_keep_the_content():
    result = stylize(content_regions=HALVES, region_styles={0: 1, 1: 0}, iterations=12)
    np.testing.assert_array_equal(result.image[:, 20:], unit(CONTENT)[:, 20:])
    assert np.abs(result.image[:, :20] - unit(CONTENT)[:, :20]).mean() > 0.01


def test_a_doodle_needs_no_content():
    wanted = {k: v for k, v in FAST.items() if k != "content_layers"}
    wanted |= {"content_regions": HALVES, "style_regions": STYLE_HALVES}
    result = nst.stylize(None, STYLE, **wanted | {"size": 20})
    assert result.image.shape == (16, 20, 3)
    assert result.settings.init == "noise"
    assert result.losses["content"].max() == 0
    assert result.losses["total"][result.best] < result.losses["total"][0]
    from_style = nst.stylize(None, STYLE, **wanted | {"init": "style", "iterations": 1})
    np.testing.assert_allclose(from_style.image, resizing.cover(unit(STYLE), (32, 40)), atol=1e-5)


@pytest.mark.parametrize("remat", [False, True])
def test_regions_under_jit_vmap_and_both_gradients(rng, remat):
    network = tiny.network(Options(remat=remat))
    spec = gatys((), ("relu1_1", "relu2_1"))
    masks = rng.uniform(0.1, 1, (2, 2, 8, 12)).astype(np.float32)
    pictures = rng.uniform(size=(2, 8, 12, 3)).astype(np.float32)
    style = jax.tree.map(lambda t: t[None], style_targets(spec, network, unit(STYLE)))
    weights = weigh(0.0, 1.0, blend=jnp.ones((2, 1)))

    def total(image, mask):
        guides = at_layers(mask, network, spec.term("style").layers)
        return objective(spec, image, network, aims(spec, network, None, style, guides), weights)[0]

    gradient = jax.jit(jax.grad(total))
    each = [gradient(*one) for one in zip(pictures, masks, strict=True)]
    many = jax.jit(jax.vmap(jax.grad(total)))(pictures, masks)
    summed = jax.jit(jax.grad(lambda p: jax.vmap(total)(p, masks).sum()))(pictures)
    scale = float(jnp.abs(many).max())
    np.testing.assert_allclose(many, each, atol=1e-5 * scale)
    np.testing.assert_allclose(summed, many, atol=1e-5 * scale)


def test_weights_of_the_sources():
    sky, ground = {"s": MASK}, {"g": MASK}
    two = match(sky | ground, [sky | ground, sky, None], [0.5, 0.25, 0.25])
    # Sources: s and g of the first style, s of the second, the whole third.
    np.testing.assert_allclose(two.blend, [[0.5, 0, 0.25, 0.25], [0, 2 / 3, 0, 1 / 3]])
    chosen = match(sky | ground, [None, sky | ground], [0.5, 0.5], chosen={"s": 2, "g": 1})
    np.testing.assert_allclose(chosen.blend, [[0, 1, 0], [1, 0, 0]])
    whole = match(None, [None, None], [0.25, 0.75], keep=MASK)
    np.testing.assert_allclose(whole.blend, [[0.25, 0.75]])


def test_masks_of_another_size_are_resized_with_a_notice():
    small = HALVES[::2, ::2]
    with pytest.warns(UserWarning, match="of the content is 20x16 pixels, its picture 40x32"):
        result = stylize(content_regions=small, region_styles={0: 1, 1: 0})
    assert np.abs(result.image[:, 24:] - unit(CONTENT)[:, 24:]).max() < 1e-6
    with pytest.warns(UserWarning, match="of style 1 is 16x16 pixels, its picture 32x32"):
        stylize(content_regions=HALVES, style_regions=STYLE_HALVES[::2, ::2])
    with pytest.warns(UserWarning, match="keep mask is 2x2 pixels, its picture 40x32: it is"):
        stylize(keep=MASK / 2)
    stylize(size=20, content_regions=HALVES, style_regions=STYLE_HALVES)  # the pictures' own size


ZERO = np.zeros((32, 40), np.uint8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"content_regions": HALVES}, "content_regions alone change nothing: give style_regions"),
        ({"content_regions": HALVES}, "region_styles='0:1,1:1'."),
        ({"style_regions": STYLE_HALVES}, "need content_regions"),
        ({"region_styles": "0:1"}, "need content_regions"),
        (
            {"content_regions": HALVES + 1, "style_regions": STYLE_HALVES},
            "The regions of style 1 have 0, which the content's regions lack (they are 1, 2)",
        ),
        (
            {"content_regions": HALVES, "style_regions": STYLE_HALVES * 0},
            "The content's regions have 1, which the style's lack (they have 0)",
        ),
        ({"content_regions": HALVES, "region_styles": "0:1"}, "region_styles lacks 1, which the"),
        (
            {"content_regions": HALVES, "region_styles": "0:1,1:1,white:1"},
            "region_styles has 255, which the content's regions lack (they are 0, 1)",
        ),
        (
            {"content_regions": HALVES, "region_styles": "0:1,1:2"},
            "gives 1 style 2, but the",
        ),
        ({"content_regions": HALVES, "region_styles": "0:0,1:0"}, "keeps every region"),
        ({"region_styles": "0"}, "region_styles: ':0' is not LABEL:NUMBER"),
        ({"region_styles": "0:x"}, "region_styles: '0:x' is not LABEL:NUMBER"),
        ({"region_styles": {"0": -1}}, "region_styles: '0:-1' is not LABEL:NUMBER"),
        ({"region_styles": {}}, "region_styles is {}, but must be a mapping"),
        ({"keep": ZERO}, "keep mask is black everywhere, so its region is empty"),
        ({"keep": ZERO + 255}, "region that is drawn of the content is empty"),
        ({"content_regions": [ZERO + 9, ZERO], "region_styles": "1:1,2:1"}, "mask 2 of the region"),
        ({"content": None}, "There is no content picture: give one, or content_regions"),
        ({"content": None, "content_weight": 2}, "no content picture, but content_weight needs"),
        ({"content": None, "init": "content"}, "no content picture, but init 'content' needs"),
        ({"content": None, "keep": ZERO + 255}, "no content picture, but keep needs one"),
        (
            {"style": [STYLE, OTHER], "content_regions": HALVES, "style_regions": STYLE_HALVES},
            "style_regions must be a list of 2 region maps",
        ),
        (
            {
                "style": [STYLE, OTHER],
                "content_regions": HALVES,
                "region_styles": "0:1,1:2",
                "style_blend": "1,0",
            },
            "style_blend gives no weight to any style of the region 1",
        ),
    ],
    ids=str,
)
def test_bad_input_gets_a_sentence(options, said):
    options = dict(options)
    if "content" in options:
        options |= {} if options["content"] is not None else {"content_layers": None}
    wanted = {k: v for k, v in (FAST | options).items() if v is not None or k == "content"}
    content, style = wanted.pop("content", CONTENT), wanted.pop("style", STYLE)
    assert said in refusal(nst.stylize, content, style, **wanted)


def test_a_region_too_small_for_a_layer():
    settings = nst.Settings(content_layers="", style_layers="relu4_1")
    last = {"0": np.ones((32, 41), np.float32), "1": np.zeros((32, 41), np.float32)}
    last["1"][:, 39] = 1
    for rows, said in ((39, None), (40, "The region 1 of the content is empty, or too small")):
        last["1"][:] = 0
        last["1"][:, rows] = 1  # the 41st column is beyond the positions of relu4_1
        given = match(last, [None], [1.0], chosen={"0": 1, "1": 1})
        arguments = settings, NETWORK, unit(tiny.picture(32, 41)), unit(STYLE)
        if said is None:
            nst.prepare(*arguments, regions=given)
        else:
            assert said in refusal(nst.prepare, *arguments, regions=given)


def test_the_command_takes_regions(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nst_jax.stylizing.run.load_network", lambda *_, **__: NETWORK)
    monkeypatch.setattr("nst_jax.cli.cache.enable", lambda: None)
    pictures = {"content": CONTENT, "a": STYLE, "b": OTHER, "map": np.uint8(255 * HALVES)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(f"{name}.png")

    def run(*argv):
        fast = [f"--{k}={v}".replace("_", "-", 1) for k, v in tiny.SHALLOW.items()]
        fast += ["--size=none", "--iterations=6", "--quiet", "-o", "out.png", "--force"]
        return main.main(main.parse(["nst-jax", "stylize", *argv, *fast]))

    regions_ = "--content-regions=map.png"
    assert run("content.png", "a.png", "b.png", regions_, "--region-styles=black:1,white:2") == 0
    record = reading.read_settings("out.png")
    assert record["settings"]["region_styles"] == {"black": 1, "white": 2}
    assert record["sources"]["content_regions"] == "map.png"
    assert run("content.png", "a.png", "--keep=map.png") == 0
    kept = np.rint(reading.read("out.png").rgb * 255)
    np.testing.assert_array_equal(kept[:, 20:], CONTENT[:, 20:])
    masks = "--content-regions=map.png,map.png"
    assert run("content.png", "a.png", masks, "--region-styles=1:1,2:1") == 0
    assert capfd.readouterr() == ("", "")
    assert run("content.png", "a.png", regions_) == 2
    assert re.fullmatch(r"nst-jax: content_regions alone .*\n", capfd.readouterr().err)
    assert run("none", "a.png") == 2
    assert "There is no content picture" in capfd.readouterr().err


def test_a_region_without_pixels_in_a_frame_has_no_term():
    whole, none = np.ones((32, 40), np.float32), np.zeros((32, 40), np.float32)
    labels = {"1": whole, "2": whole}
    both_ = match(labels, [labels], [1.0]).of_frame({"1": whole, "2": none}, None)
    settings = nst.Settings(**tiny.SHALLOW)
    found = []
    for given in (both_, None):
        problem = nst.prepare(settings, NETWORK, unit(CONTENT), unit(STYLE), regions=given)
        total = jax.jit(jax.value_and_grad(lambda x, args, fn=problem.fn: fn(x, args)[0]))
        found.append(total(problem.x + 10, problem.args))
    (value, gradient), (plain, plain_gradient) = found
    assert value == pytest.approx(float(plain), rel=1e-5)
    np.testing.assert_allclose(
        gradient, plain_gradient, atol=1e-4 * float(jnp.abs(plain_gradient).max())
    )

"""Nearest neighbours as a statistic (NNST): each step of the published method, worked in numpy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from refusals import sentence

import nst_jax as nst
from nst_jax.losses.aligning import aligned
from nst_jax.losses.hypercolumns import mixed
from nst_jax.losses.regions import match
from nst_jax.losses.statistics.neighbours import Neighbours
from nst_jax.networks.base import keep
from nst_jax.stylizing import scales
from nst_jax.stylizing.inputs import Pictures, Sources
from nst_jax.stylizing.presets import PRESETS, resolve
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.run import requested

MATRIX = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
# Squares, whose quarter turns need no programs of their own.
CONTENT, STYLE, DRAWN = (tiny.picture(16, 16, seed) / np.float32(255) for seed in (1, 2, 7))
OTHER = tiny.picture(20, 8, 4) / np.float32(255)
LAYERS = ("relu1_1", "relu2_1")
WIDTHS = (3, 4)


@jax.tree_util.register_static
class Two:
    """Two layers that numpy has too: the picture, and products of its means over 2x2 pixels."""

    name, digest = "two", "sha256:0"
    widths, strides, margins = (dict(zip(LAYERS, n, strict=True)) for n in (WIDTHS, (1, 2), (0, 0)))

    def __call__(self, image, layers, tap=keep):
        image = jnp.asarray(image)
        h, w, _ = image.shape
        halves = image.reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3))
        both = {"relu1_1": image, "relu2_1": jnp.maximum(halves @ MATRIX, 0)}
        return {layer: tap(layer, both[layer])[1] for layer in layers}


NETWORK = Two()


def features(picture):
    x = np.asarray(picture, float)
    h, w, _ = x.shape
    return x, np.maximum(x.reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3)) @ MATRIX, 0)


def resized(x, *shape):
    """Bilinear, with the corners aligned."""
    for axis, count in enumerate(shape):
        places = np.linspace(0, x.shape[axis] - 1, count)
        known = np.arange(x.shape[axis])
        x = np.apply_along_axis(lambda line: np.interp(places, known, line), axis, x)  # noqa: B023
    return x


def hypercolumns(picture):
    h, w, _ = picture.shape
    parts = [resized(f, h // 4, w // 4) / n for f, n in zip(features(picture), WIDTHS, strict=True)]
    return np.concatenate(parts, -1).reshape(-1, sum(WIDTHS))


def cosines(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


def nearest(ours, theirs):
    """The nearest by the centred cosine."""
    return theirs[cosines(ours - ours.mean(0), theirs - theirs.mean(0)).argmax(1)]


def all_turns(style, of=hypercolumns):
    return np.concatenate([of(np.rot90(style, k)) for k in range(4)])


def columns_loss(picture, looked, style):
    wanted = nearest(hypercolumns(looked), all_turns(style))
    return 1 - np.diag(cosines(hypercolumns(picture), wanted)).mean()


def problem(styles=STYLE, regions=None, start=None, **options):
    given = {"statistic": "neighbours", "content_layers": "", "style_layers": LAYERS}
    settings = nst.Settings(**given | {"style_weight": 1.0} | options)
    return nst.prepare(settings, NETWORK, CONTENT, styles, start, regions)


def value(given, x=None, args=None):
    x = given.x if x is None else np.float32(255) * x
    return float(evaluated(given.fn, x, given.args if args is None else args))


@functools.partial(jax.jit, static_argnums=0)
def evaluated(fn, x, args):
    return fn(x, args)[1]["style"]


@functools.partial(jax.jit, static_argnums=0)
def gradient(fn, x, args):
    return jax.grad(lambda x: fn(255 * x, args)[1]["style"])(x)


def test_the_nearest_column_of_the_style_is_what_each_is_drawn_to(rng):
    given, other = problem(), DRAWN
    assert value(given) == pytest.approx(columns_loss(CONTENT, CONTENT, STYLE), rel=1e-4)
    # Chosen for the content, and fixed.
    assert value(given, other) == pytest.approx(columns_loss(other, CONTENT, STYLE), rel=1e-4)
    slope = gradient(given.fn, other, given.args)
    for _ in range(2):
        step = rng.normal(size=other.shape)
        ahead, behind = (columns_loss(other + s * step, CONTENT, STYLE) for s in (1e-5, -1e-5))
        assert (np.asarray(slope) * step).sum() == pytest.approx(
            (ahead - behind) / 2e-5, rel=1e-2, abs=1e-5
        )


def halved(x):
    h, w, c = x.shape
    return x.reshape(h // 2, 2, w // 2, 2, c).mean((1, 3))


def doubled(x):
    """Bilinear, between the middles of pixels; edges go on as they are."""
    for axis in range(2):
        n = x.shape[axis]
        places, known = (np.arange(2 * n) - 0.5) / 2, np.arange(n)
        x = np.apply_along_axis(lambda line: np.interp(places, known, line), axis, x)  # noqa: B023
    return x


def test_at_later_scales_they_are_chosen_for_a_mixture():
    """A quarter of what is drawn, with the content's finest band, and the content."""
    given, drawn = problem(), DRAWN
    low = [doubled(halved(np.asarray(x, float))) for x in (drawn, CONTENT)]
    looked = 0.25 * (low[0] + CONTENT - low[1]) + 0.75 * CONTENT
    np.testing.assert_allclose(mixed(drawn, CONTENT, 0.75), looked, atol=1e-6)
    renewed = given.renewed(jnp.asarray(255 * drawn), given.args, 0)
    expected = columns_loss(drawn, looked, STYLE)
    assert value(given, drawn, renewed) == pytest.approx(expected, rel=1e-4)
    assert expected != pytest.approx(columns_loss(drawn, CONTENT, STYLE), rel=1e-3)


def separate_loss(picture, looked, style):
    total = 0
    for n in range(2):
        ours, seen = (features(x)[n].reshape(-1, WIDTHS[n]) for x in (picture, looked))
        theirs = all_turns(style, lambda x, n=n: features(x)[n].reshape(-1, WIDTHS[n]))
        wanted = nearest(seen, theirs) - theirs.mean(0)
        total += 1 - np.diag(cosines(ours - ours.mean(0), wanted)).mean()
    return total


def test_the_last_pass_compares_each_layer_by_itself():
    last = Neighbours().last
    assert (last.separate, last.last) == (True, None)
    given, drawn = problem(statistic=last), DRAWN
    assert value(given) == pytest.approx(separate_loss(CONTENT, CONTENT, STYLE), rel=1e-4)
    args = given.renewed(jnp.asarray(255 * drawn), given.args, 10)
    assert value(given, drawn, args) == pytest.approx(separate_loss(drawn, drawn, STYLE), rel=1e-4)
    assert given.renewal.every == 10


def test_a_grid_of_positions_that_moves():
    content = tiny.picture(8, 140) / np.float32(255)
    settings = nst.Settings(
        statistic=Neighbours(separate=True), style_layers="relu1_1", content_layers=""
    )
    given = nst.prepare(settings, NETWORK, content, STYLE)
    offsets, args = [], given.args
    for _ in range(8):
        target = args.targets.terms["style"]
        offset = np.asarray(target.offsets["relu1_1"])
        offsets.append(tuple(offset))
        assert target.wanted["relu1_1"].shape == (1, 4, 70, 3)  # every other one
        wanted = nearest(
            content[offset[0] :: 2, offset[1] :: 2].reshape(-1, 3).astype(float),
            all_turns(STYLE, lambda x: x.reshape(-1, 3).astype(float)),
        )
        wanted -= STYLE.reshape(-1, 3).mean(0)
        found = np.asarray(target.wanted["relu1_1"]).reshape(-1, 3)
        np.testing.assert_allclose(np.diag(cosines(found, wanted)), 1, atol=1e-5)
        args = given.renewed(jnp.asarray(255 * content), args, 0)
    assert set(offsets) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_of_several_styles_each_is_compared():
    expected = [columns_loss(CONTENT, CONTENT, style) for style in (STYLE, OTHER)]
    both = value(problem([STYLE, OTHER], style_blend=(3, 1)))
    assert both == pytest.approx(0.75 * expected[0] + 0.25 * expected[1], rel=1e-4)


@pytest.mark.parametrize("statistic", [Neighbours(), Neighbours(separate=True)])
def test_regions_are_compared_as_pictures_of_their_own(statistic):
    """Each half of the picture with its own half of the style: no position sees the other half."""
    half = np.zeros((2, 16, 16), np.float32)
    half[0, :8], half[1, 8:] = 1, 1
    theirs = np.zeros((2, 32, 16), np.float32)
    theirs[0, :16], theirs[1, 16:] = 1, 1
    styles = np.concatenate([STYLE, STYLE[::-1, ::-1] ** 2])
    given = match({"1": half[0], "2": half[1]}, [{"1": theirs[0], "2": theirs[1]}], (1.0,))
    options = {"statistic": statistic, "style_layers": "relu2_1"}
    found = value(problem(styles, given, **options))

    def alone(content, style):
        settings = {"content_layers": "", "style_weight": 1.0, **options}
        one = nst.prepare(nst.Settings(**settings), NETWORK, content, style)
        return value(one)

    parts = [alone(CONTENT[:8], styles[:16]), alone(CONTENT[8:], styles[16:])]
    # Columns of a half begin at its own corners, so they are not quite the same.
    tolerance = 1e-4 if statistic.separate else 0.25
    assert found == pytest.approx(np.mean(parts), rel=tolerance)
    whole = match({"1": half.max(0)}, [{"1": theirs.max(0)}], (1.0,))
    assert value(problem(styles, whole, **options)) == pytest.approx(
        value(problem(styles, **options)), rel=1e-5
    )


def test_the_preset_has_the_numbers_of_its_code():
    found = PRESETS["nnst"]
    layers = [f"relu{b}_{i}" for b, n in ((1, 2), (2, 2), (3, 3), (4, 3)) for i in range(1, n + 1)]
    assert list(found.style_layers) == layers
    assert (found.optimizer, found.learning_rate, found.pyramid) == ("adam", 2e-3, 8)
    assert (found.iterations, found.coarse_iterations, found.init) == (200, 200, "content")
    assert (found.content_weight, found.style_weight, found.units) == (0, 1, 1)
    assert Neighbours() == Neighbours(alpha=0.75, turns=4, renew_every=200)
    content = nst.pictures.reading.Picture(np.zeros((384, 512, 3), np.float32))
    pictures = Pictures(content, [np.zeros((512, 512, 3), np.float32)], None, None, {})
    plan = scales.scales(Request(found, tiny.network(), pictures))
    assert [scale.width for scale in plan] == [64, 128, 256, 512, 512]
    assert [scale.evaluations for scale in plan] == [200] * 5
    assert [scale.last for scale in plan] == [False] * 4 + [True]


def test_the_preset_of_this_library_has_the_same_objective():
    ours, theirs = (dataclasses.asdict(PRESETS[name]) for name in ("neighbours", "nnst"))
    how = {"optimizer", "learning_rate", "pyramid", "precondition", "history", "first_step"}
    how |= {"preset", "iterations", "coarse_iterations", "range_weight"}
    assert {name for name in ours if ours[name] != theirs[name]} <= how


@pytest.mark.parametrize("shape", [(13, 9), (3, 5), (5, 1), (2, 20)])
def test_layers_are_aligned_and_so_are_their_gradients(shape):
    x = np.random.default_rng(0).normal(size=(5, 9, 2)).astype(np.float32)
    given = np.random.default_rng(1).normal(size=(*shape, 2)).astype(np.float32)
    found, pull = jax.vjp(lambda x: aligned(x, *shape), x)
    np.testing.assert_allclose(found, resized(x, *shape), atol=1e-5)
    np.testing.assert_allclose(
        np.vdot(pull(jnp.asarray(given))[0], x), np.vdot(given, found), rtol=1e-4
    )


def test_a_network_with_some_of_the_layers_takes_these():
    request = requested(Sources(CONTENT, STYLE), preset="nnst", network="vgg19-lite", size=16)
    layers = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2"]
    assert list(request.settings.style_layers) == layers


def test_a_run_from_coarse_to_fine_and_lanes_of_it():
    """Each pass lowers its loss; the last one begins with the nearest for what was drawn."""
    options = {"network": NETWORK, "preset": "nnst", "size": None, "style_layers": LAYERS}
    options |= {"min_size": 8, "coarse_iterations": 8, "iterations": 12, "progress": False}
    options |= {"color": "none"}
    content, style = np.uint8(255 * CONTENT), np.uint8(255 * STYLE)
    result = nst.stylize(content, style, learning_rate=0.02, **options)
    assert [scale[:2] for scale in result.scales] == [(8, 8), (16, 16), (16, 16)]
    loss, ends = result.losses["style"], np.cumsum([scale[2] for scale in result.scales])
    for begin, end in ((0, ends[0]), (ends[0], ends[1]), (ends[1], ends[1] + 10)):
        assert loss[end - 1] < 0.9 * loss[begin]
    lanes = nst.sweep(content, style, learning_rate=[0.02, 0.01], in_flight=2, **options)
    np.testing.assert_array_equal(lanes.at(learning_rate=0.02).image, result.image)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tile": 64}, "statistic 'neighbours' needs the whole picture: leave out tile"),
        ({"style_layers": "relu1_1:2,relu2_1"}, "give style_layers without weights"),
        ({"normalize_gradients": True}, "leave out normalize_gradients"),
        ({"tolerance": 0.1}, "'neighbours' makes its target anew"),
        ({"optimizer": "lbfgs", "pyramid": 5}, "leave out pyramid, or choose another optimizer"),
    ],
)
def test_options_that_contradict_it(options, said):
    with pytest.raises(nst.InputError) as caught:
        resolve("nnst", **options)
    assert said in str(caught.value)


def test_a_region_of_the_style_without_a_position():
    half, none = np.ones((16, 16), np.float32), np.zeros((16, 16), np.float32)
    given = match({"1": half}, [{"1": none}], (1.0,))
    assert "1 of the style is empty" in sentence(problem, STYLE, given)

"""Tiles: value and gradient are those of the whole picture; when they are chosen, and refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from objectives import aims, gatys, weigh

import nst_jax as nst
from nst_jax import Options, devices, objective
from nst_jax.losses.regions import Kept, at_layers
from nst_jax.losses.tiling import layout
from nst_jax.networks.load import load_network
from nst_jax.stylizing import memory
from nst_jax.stylizing.terms import layers

SHALLOW = {"content_layers": ("relu2_1",), "style_layers": ("relu1_1", "relu2_1")}
NETWORK, LITE = tiny.network(), load_network("vgg19-lite", Options(padding="replicate"))
HALF = np.s_[:, :37]


def pictures(height, width):
    """Content, style and a picture in between, in [0, 1]."""
    sizes = (height, width, 1), (50, 70, 2), (height, width, 3)
    return [tiny.picture(h, w, seed) / np.float32(255) for h, w, seed in sizes]


def evaluated(spec, network, pictures, masks=None, kept=None):
    """Value and terms, and gradient, of the objective; with masks, of regions of two styles."""
    content, style, image = pictures
    guides, blend, found = None, None, style
    if masks is not None:
        layers = spec.term("style").layers
        guides, blend = at_layers(masks, network, layers), np.float32([[1, 0], [0.3, 0.7]])
        found = nst.style_targets(spec, network, style)
        found = jax.tree.map(lambda t: jnp.stack([t, t / 2]), found)
    targets = aims(spec, network, content, found, guides, kept)
    weights = weigh(2.0, 300.0, 0.01, blend)
    function = jax.value_and_grad(lambda x, n, t: objective(spec, x, n, t, weights), has_aux=True)
    return jax.jit(function)(image, network, targets)


def require_equal(one, other, within=1e-4):
    """Value, every term, gradient; pixel by pixel, too: an edge of a tile would be seen there."""
    ((_, terms), gradient), ((total, known), wanted) = jax.device_get((one, other))
    for name in known:
        assert abs(terms[name] - known[name]) <= within * abs(known[name]) + 1e-7 * total, name
    assert np.linalg.norm(gradient - wanted) <= within * np.linalg.norm(wanted)
    np.testing.assert_allclose(gradient, wanted, rtol=0, atol=5 * within * np.abs(wanted).max())


def tiles(spec, network, height, width):
    found = layout(spec.tile, network, spec.layers, height, width)
    return 1 if found is None else len(found.table())


@pytest.mark.parametrize("tile", [16, 48, 200])
@pytest.mark.parametrize("size", [37, 230, 267, 480, 1001])
def test_every_position_belongs_to_one_tile(size, tile):
    axis = layout(tile, NETWORK, gatys().layers, size, 999).rows
    begins = (0, *axis.ends[:-1])
    assert axis.ends[-1] == size
    assert axis.starts[-1] + axis.length == size
    for start, begin, end in zip(axis.starts, begins, axis.ends, strict=True):
        assert begin < end
        # What a tile sees is in its window, or the window ends with the picture.
        assert start == 0 or start <= begin - NETWORK.margins["relu5_1"]
        assert start + axis.length in (size, max(size, 0)) or (
            end + NETWORK.margins["relu5_1"] <= start + axis.length
        )
        assert start % 16 == begin % 16 == 0
        assert end - begin <= tile + 2 * 80 + 15


@pytest.mark.parametrize("network", [NETWORK, LITE], ids=["vgg19", "vgg19-lite"])
def test_margins_are_as_far_as_layers_see(network, rng):
    layer, place = "relu4_1", 160
    stride, margin = network.strides[layer], network.margins[layer]
    image = rng.uniform(size=(8, 328, 3)).astype(np.float32)

    def position(x):
        return network(x, (layer,))[layer][0, place // stride].sum()

    slope = np.abs(jax.jit(jax.grad(position))(image)).max((0, 2))
    # Winograd's tiles see further, by rounding.
    seen = np.flatnonzero(slope > 1e-5 * slope.max())
    assert place - margin <= seen[0] < place - margin / 2
    assert place + margin / 2 < seen[-1] - stride < place + margin


def test_the_deepest_layers_see_no_tiles():
    size, spec = (230, 267), gatys(tile=32)
    assert tiles(spec, NETWORK, *size) == 6
    given = NETWORK, pictures(*size)
    require_equal(evaluated(spec, *given), evaluated(gatys(), *given))


def test_the_embedded_network_sees_no_tiles():
    layers = {"content_layers": ("relu3_1",), "style_layers": ("relu1_1", "relu2_1", "relu3_1")}
    given, spec = (LITE, pictures(75, 98)), gatys(**layers, tile=32)
    assert tiles(spec, LITE, 75, 98) > 2
    require_equal(evaluated(spec, *given), evaluated(gatys(**layers), *given))


MASKS = np.zeros((2, 45, 75), np.float32)
MASKS[0][HALF], MASKS[1] = 1, np.linspace(0, 1, 75)


@pytest.mark.parametrize(
    ("spec", "options", "more"),
    [
        ({"normalization": "paper"}, Options(pooling="average", padding="reflect"), {}),
        ({"statistic": "moments"}, Options(remat=True), {"masks": MASKS}),
        (
            {"statistic": "wasserstein"},
            Options(padding="replicate"),
            {"kept": Kept(MASKS[1], np.full((45, 75, 3), 0.5, np.float32))},
        ),
        ({"style_layers": ()}, Options(), {}),
    ],
    ids=["paper", "moments", "wasserstein", "content"],
)
def test_whatever_is_measured(spec, options, more):
    given = tiny.network(options), pictures(45, 75)
    spec = {**SHALLOW, **spec}
    tiled = gatys(**spec, tile=16)
    assert tiles(tiled, given[0], 45, 75) > 5
    require_equal(evaluated(tiled, *given, **more), evaluated(gatys(**spec), *given, **more))


def test_bfloat16_rounds_alike():
    given = tiny.network(Options(precision="bfloat16")), pictures(45, 75)
    one, other = (evaluated(gatys(**SHALLOW, tile=t), *given) for t in (16, 0))
    require_equal(one, other, within=0.02)


def stylize(**options):
    wanted = {"size": None, "iterations": 5, "network": NETWORK, "progress": False}
    wanted |= tiny.SHALLOW
    return nst.stylize(tiny.picture(45, 75), tiny.picture(50, 70, 2), **wanted | options)


def test_a_whole_run_in_tiles():
    options = {"optimizer": "adam", "style_weight": 1e-3, "tv_weight": 1}
    one, other = (stylize(tile=tile, **options) for tile in (16, 0))
    for name, values in other.losses.items():
        np.testing.assert_allclose(one.losses[name], values, rtol=1e-3, atol=1e-6 * values.max())
    np.testing.assert_allclose(one.image, other.image, atol=1e-3)
    assert (one.settings.tile, other.settings.tile) == (16, 0)


def fitted(gigabytes, monkeypatch, **options):
    """Tile, curvature pairs, and the share of the memory; the history alone is 14.4 GB."""
    monkeypatch.setattr(devices, "available", lambda: int(gigabytes * 1e9))
    settings = nst.Settings(**options)
    given = LITE, layers(settings), memory.Size(2000, 3000, ((500, 500),))
    found = memory.fitted(settings, *given)
    needed = memory.estimate(found, *given)
    assert needed <= gigabytes * 1e9
    told = memory.outlook(found, *given)
    assert f"{needed / 1e9:.1f} GB of memory" in told
    assert ("tiles" in told) == bool(found.tile)
    return found.tile, found.pairs, needed / (gigabytes * 1e9)


def test_memory_decides_on_tiles(monkeypatch):
    assert fitted(50, monkeypatch)[:2] == (None, 100)
    tile, pairs, share = fitted(38, monkeypatch)
    assert (tile, pairs) == (2048, 100)
    assert share < 0.5
    assert fitted(20, monkeypatch, history=20)[:2] == (None, 20)
    sides = [fitted(g, monkeypatch, optimizer="adam")[0] for g in (30, 9, 6, 4)]
    assert sides == [None, 2048, 1024, 512]
    assert fitted(30, monkeypatch, tile=256)[:2] == (256, 100)


def test_a_history_is_shortened_and_that_is_told(monkeypatch):
    with pytest.warns(UserWarning, match=r"no room for 100 curvature pairs of 3000x2000 pixels"):
        tile, pairs, share = fitted(16, monkeypatch)
    assert tile is not None
    assert 20 <= pairs < 100
    assert share < 0.5


@pytest.mark.parametrize("options", [{"history": 100}, {"tile": 0, "history": 90}], ids=str)
def test_what_does_not_fit_is_told(monkeypatch, options):
    with pytest.raises(nst.InputError, match=r"needs about \d+\.\d GB of memory, but 9\.0 GB"):
        fitted(9, monkeypatch, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tile": -1}, "tile is -1, but must be a whole number from 0 to 100000, or None."),
        ({"tile": 64, "statistic": "sliced"}, "statistic 'sliced' needs the whole picture: leave"),
        ({"tile": 64, "statistic": "histogram"}, "or use statistic gram, moments, wasserstein."),
        ({"tile": 64, "normalize_gradients": True}, "normalize_gradients needs the whole gradient"),
    ],
    ids=str,
)
def test_what_cannot_be_cut_is_refused(options, said):
    with pytest.raises(nst.InputError) as caught:
        nst.Settings(**options)
    assert said in str(caught.value)


def test_sorted_statistics_are_never_cut(monkeypatch):
    for options in ({"statistic": "sliced"}, {"normalize_gradients": True}):
        assert fitted(19, monkeypatch, optimizer="adam", **options)[0] is None


def test_a_run_that_was_cut_goes_on_cut(monkeypatch, tmp_path):
    """Whatever memory is free when it does."""
    monkeypatch.setattr(memory, "_TILES", (16,))
    monkeypatch.setattr(memory, "_PROGRAMS", {})
    settings = nst.Settings(**tiny.SHALLOW, optimizer="adam")
    needed = memory.estimate(settings, NETWORK, layers(settings), memory.Size(45, 75))
    monkeypatch.setattr(devices, "available", lambda: 1.9 * needed)
    path = tmp_path / "run"
    whole = stylize(optimizer="adam")
    assert whole.settings.tile == 16
    stylize(optimizer="adam", iterations=3, checkpoint=path, checkpoint_every=3)
    monkeypatch.undo()
    resumed = stylize(optimizer="adam", checkpoint=path, resume=True)
    np.testing.assert_array_equal(resumed.image, whole.image)

"""Image analogies: the scan against a loop over pixels, and filters learned from one pair."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from commands import refusal, run
from PIL import Image
from refusals import sentence
from scipy import ndimage

import nst_jax as nst
from nst_jax.patches.scan import Layers, Level, drawn_level
from nst_jax.pictures import reading, resizing

LUMA = np.array([0.299, 0.587, 0.114])


def neighbourhood(layers, coarser, drawn, y, x):
    """The vector of a pixel, by the paper: 5 x 5, its causal half, and 3 x 3 twice."""

    def around(padded, y, x, radius, count):
        offsets = [(i, j) for i in range(-radius, radius + 1) for j in range(-radius, radius + 1)]
        offsets = offsets[:count]
        weights = [np.exp(-(i**2 + j**2) / (2 * (radius / 1.5) ** 2)) for i, j in offsets]
        return [
            np.sqrt(w / sum(weights)) * padded[y + i + radius, x + j + radius]
            for w, (i, j) in zip(weights, offsets, strict=True)
        ]

    found = around(padded(layers.guides, 2), y, x, 2, 25) + around(drawn, y, x, 2, 12)
    (h, w), (h2, w2) = layers.guides.shape[:2], coarser.guides.shape[:2]
    for values in coarser:
        found += around(padded(values, 1), y * h2 // h, x * w2 // w, 1, 9)
    return np.concatenate(found)


def padded(values, margin):
    return np.pad(values, ((margin, margin), (margin, margin), (0, 0)), mode="edge")


def scanned(level, tolerance):
    """The algorithm of the paper, pixel by pixel."""
    above = level.coarser
    h, w, _ = level.a.guides.shape
    height, width, _ = level.b.guides.shape
    known = {
        (y, x): neighbourhood(level.a, above[0], padded(level.a.drawn, 2), y, x)
        for y in range(h)
        for x in range(w)
    }
    # Beyond the edges pixels remain what they were, as nobody draws them.
    drawn, sources = padded(level.b.drawn, 2), {}
    for y in range(height):
        for x in range(width):
            query = neighbourhood(level.b, above[1], drawn, y, x)
            cost = {p: np.square(v - query).sum() for p, v in known.items()}
            best = min(cost, key=cost.get)
            offsets = [(i, j) for i in (-2, -1, 0) for j in range(-2, 3) if (i, j) < (0, 0)]
            follow = [
                (sources[y + i, x + j][0] - i, sources[y + i, x + j][1] - j)
                for i, j in offsets
                if (y + i, x + j) in sources
            ]
            follow = [p for p in follow if p in known]
            if follow:
                coherent = min(follow, key=cost.get)
                if cost[coherent] <= cost[best] * (1 + tolerance):
                    best = coherent
            sources[y, x] = best
            drawn[y + 2, x + 2] = level.a.drawn[best]
    return np.array([[sources[y, x] for x in range(width)] for y in range(height)])


@pytest.mark.parametrize("tolerance", [0.0, 2.0])
def test_the_scan_is_that_of_the_paper(rng, tolerance):
    def layers(h, w):
        return Layers(*(rng.uniform(size=(h, w, 1)).astype(np.float32) for _ in "gd"))

    sources = np.zeros((9, 11, 2), np.int32)
    level = Level(layers(10, 8), layers(9, 11), sources, (layers(5, 4), layers(5, 6)))
    wanted = scanned(level, tolerance)
    drawn, found = drawn_level(level, jnp.float32(tolerance), 1000)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(drawn, level.a.drawn[wanted[..., 0], wanted[..., 1]])


def emboss(light):
    return 0.5 + (np.roll(light, (-1, -1), (0, 1)) - np.roll(light, (1, 1), (0, 1))) / 2


def blur(light):
    return ndimage.gaussian_filter(light, 1, mode="wrap")


@pytest.mark.parametrize("filtered", [blur, emboss])
def test_learns_a_filter_from_one_pair(filtered):
    def light_of(name, size):
        picture = nst.samples.content(name)
        picture = resizing.resize(picture, resizing.fit(*picture.shape[:2], size))
        return np.float32(picture @ LUMA)

    a, b = light_of("coffee", 256), light_of("cat", 128)
    rgb = np.repeat(b[..., None], 3, -1)
    result = nst.analogy(a, np.float32(filtered(a)), rgb, kappa=0.0, levels=1, remap=False)
    inside = np.s_[3:-3, 3:-3]
    error = (result.image @ LUMA - filtered(b))[inside]
    plain = (b - filtered(b))[inside]
    assert -10 * np.log10(np.square(error).mean()) >= 30
    assert np.square(error).mean() < np.square(plain).mean() / 2


def test_the_colours_are_b_s_and_the_luminance_is_mapped_to_it():
    a, b = tiny.picture(24, 24), tiny.picture(20, 28, 2) // 2
    result = nst.analogy(a, a, b, levels=2)
    light = result.image @ LUMA
    assert result.image.shape == (20, 28, 3)
    np.testing.assert_allclose(light.mean(), (b / 255 @ LUMA).mean(), atol=0.02)
    chroma = result.image - light[..., None] - (b / 255 - (b / 255 @ LUMA)[..., None])
    assert np.median(np.abs(chroma)) < 1e-3


def test_texture_by_numbers():
    """Every label is painted with the colours of its own texture, all of them copied."""
    labels = np.zeros((30, 30, 3), np.uint8)
    labels[:, 15:] = 255
    texture = np.where(labels > 0, tiny.picture(30, 30) // 2 + 128, tiny.picture(30, 30, 2) // 2)
    target = np.zeros((24, 26, 3), np.uint8)
    target[8:16, 6:20] = 255
    result = nst.analogy(labels, texture, target, color=True, search=300)
    found = np.rint(result.image * 255).astype(np.uint8)
    colours = [{tuple(c) for c in texture[labels[..., 0] == n]} for n in (0, 255)]
    for n, own in zip((0, 255), colours, strict=True):
        inside = ndimage.binary_erosion(target[..., 0] == n, iterations=2)
        assert {tuple(c) for c in found[inside]} <= own
    assert result.about["kappa"] == 5


def test_a_picture_is_its_own_analogue():
    a, prime = tiny.picture(20, 24), tiny.picture(20, 24, 5)
    guides = [a, tiny.picture(20, 24, 6)]
    result = nst.analogy(guides, prime, guides, kappa=0.0, guide_weights=[1.0, 0.5])
    np.testing.assert_allclose(result.image, prime / 255, atol=1e-6)


def test_bad_input():
    a, b = tiny.picture(20, 24), tiny.picture(20, 20)
    assert "24 x 20 and 20 x 20" in sentence(nst.analogy, a, b, b)
    assert "2 guides and B has 1" in sentence(nst.analogy, [a, a], a, b)
    assert "20 x 20 and 24 x 20" in sentence(nst.analogy, [a, a], a, [a, b])
    assert "there are 2" in sentence(nst.analogy, [a, a], a, [b, b], color=False)
    assert "smaller than" in sentence(nst.analogy, a, a, b[:3])
    assert "empty list" in sentence(nst.analogy, [], a, b)
    with pytest.raises(nst.InputError, match="2 numbers"):
        nst.analogy([a, a], a, [b, b], guide_weights=[1.0])
    with pytest.raises(nst.InputError, match="kappa is -1"):
        nst.analogy(a, a, b, kappa=-1.0)


def test_command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nst_jax.cli.cache.enable", lambda: None)
    pictures = {name: tiny.picture(16, 18, n) for n, name in enumerate(("a", "p", "b"))}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(f"{name}.png")
    flags = ("-o", "out.png", "--kappa=2", "--guide-weights=1,2", "--levels=1")
    assert run("analogy", "a.png,b.png", "p.png", "b.png,a.png", *flags) == 0
    assert "out.png" in capfd.readouterr().out
    a, p, b = pictures.values()
    wanted = nst.analogy([a, b], p, [b, a], kappa=2.0, guide_weights=[1.0, 2.0], levels=1).image
    np.testing.assert_allclose(reading.read("out.png").rgb, wanted, atol=1e-6)
    said = refusal(capfd, "analogy", "a.png", "p.png", "b.png", "-o", "x.png", "--guide-weights=q")
    assert "NUMBER" in said

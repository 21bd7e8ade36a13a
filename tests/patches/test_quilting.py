"""Quilting: cuts against brute force, blocks against direct sums, pixels against the source."""

import itertools
import json

import numpy as np
import pytest
import tiny
from commands import refusal, run
from PIL import Image
from refusals import sentence

import nst_jax as nst
from nst_jax.patches.blocks import Blocks
from nst_jax.patches.cuts import cut, right_of_cut
from nst_jax.pictures import reading

TEXTURE = tiny.picture(40, 44)


def windows(picture):
    """All 3 x 3 of a picture, by place, as bytes."""
    height, width, _ = picture.shape
    return {
        (y, x): picture[y : y + 3, x : x + 3].tobytes()
        for y, x in itertools.product(range(height - 2), range(width - 2))
    }


def bytes_of(image):
    return np.rint(np.asarray(image) * 255).astype(np.uint8)


def test_cut_is_the_cheapest_path(rng):
    for _ in range(20):
        errors = rng.uniform(size=(5, 4)).round(1)
        paths = [p for p in itertools.product(range(4), repeat=5) if np.abs(np.diff(p)).max() <= 1]
        least = min(errors[np.arange(5), p].sum() for p in paths)
        found = cut(errors)
        assert np.abs(np.diff(found)).max() <= 1
        assert errors[np.arange(5), found].sum() == pytest.approx(least)
        np.testing.assert_array_equal(right_of_cut(errors).sum(1), 4 - found)


def test_errors_of_blocks_are_direct_sums(rng):
    texture, light = rng.uniform(size=(13, 17, 3)), rng.uniform(size=(13, 17))
    blocks, side = Blocks(texture, light), 5
    targets = [(rng.uniform(size=(5, 5)), rng.normal(size=(5, 5, 3))) for _ in range(2)]
    level = rng.uniform(size=(5, 5))
    found = blocks.errors(targets, (0.3, level)) + 0.3 * blocks.costs(side)
    assert found.shape == (9, 13)
    for y, x in itertools.product(range(9), range(13)):
        own, shade = texture[y : y + 5, x : x + 5], light[y : y + 5, x : x + 5]
        wanted = 0.3 * np.square(shade - level).sum()
        for weight, target in targets:
            wanted += (weight[..., None] * np.square(own - blocks.middle - target)).sum()
        assert found[y, x] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("texture", [TEXTURE, TEXTURE[..., 0]])
def test_every_pixel_within_a_block_stands_in_the_source(texture):
    result = nst.quilt(texture, size=(70, 61), block=12, overlap=3)
    source = set(windows(bytes_of(reading.read(texture).rgb)).values())
    picture = bytes_of(result.image)
    assert picture.shape == (70, 61, 3)
    found = windows(picture)
    # Blocks start every 9 pixels. These windows touch no overlap.
    inside = [(y, x) for y, x in found if 3 <= y % 9 <= 6 and 3 <= x % 9 <= 6]
    assert len(inside) > 500
    assert all(found[place] in source for place in inside)
    colours = {tuple(c) for c in picture.reshape(-1, 3)}
    assert colours <= {tuple(c) for c in bytes_of(reading.read(texture).rgb).reshape(-1, 3)}


def test_the_seed_decides():
    one, again, other = (
        nst.quilt(TEXTURE, size=(30, 30), block=9, seed=seed).image for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_seams_fit_better_than_chance():
    """A texture of stripes comes out as stripes."""
    stripes = np.broadcast_to(np.uint8(np.arange(40) % 8 < 4)[None, :, None] * 255, (40, 40, 3))
    image = nst.quilt(stripes, size=(60, 60), block=10, overlap=4).image[..., 0]
    assert (image == image[:1]).all()
    assert np.abs(image[:, 8:] - image[:, :-8]).max() == 0


def test_a_content_is_drawn_by_its_luminance():
    # A ramp of greys, with a trace of colour, draws a smooth picture nearly exactly.
    ramp = np.linspace(0, 1, 48, dtype=np.float32)
    texture = np.stack([np.broadcast_to(ramp, (48, 48))] * 3, -1)
    y, x = np.mgrid[:40, :40] / 40
    content = np.stack([np.float32((1 + np.sin(3 * x + 2 * y)) / 2)] * 3, -1)
    result = nst.quilt(texture, content, block=6, passes=2)
    assert result.image.shape == content.shape
    assert result.about["passes"] == 2
    assert np.corrcoef(result.image[..., 0].ravel(), content[..., 0].ravel())[0, 1] > 0.97


def test_nothing_transparent_is_taken():
    texture = np.dstack([TEXTURE, np.full(TEXTURE.shape[:2], 255, np.uint8)])
    texture[:, 20:] = (255, 0, 0, 0)
    image = bytes_of(nst.quilt(texture, size=(40, 40), block=9).image)
    visible = {tuple(c) for c in TEXTURE[:, :20].reshape(-1, 3)}
    assert {tuple(c) for c in image.reshape(-1, 3)} <= visible
    assert "transparent" in sentence(nst.quilt, texture, block=21)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"block": 41}, "smaller than a block of 41 x 41"),
        ({"block": 3}, "block is 3"),
        ({"block": 8, "overlap": 5}, "overlap is 5"),
        ({"size": (30, 0)}, "size is (30, 0)"),
        ({"size": (30, 30), "content": TEXTURE}, "no size"),
        ({"tolerance": -1.0}, "tolerance is -1.0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_input(options, said):
    with pytest.raises(nst.InputError) as caught:
        nst.quilt(TEXTURE, **options)
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


def test_command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(TEXTURE).save("texture.png")
    Image.fromarray(tiny.picture(20, 24, 2)).save("content.png")
    assert run("quilt", "texture.png", "-o", "out.png", "--size", "30x50", "--block=9") == 0
    assert "out.png" in capfd.readouterr().out
    wanted = nst.quilt(TEXTURE, size=(50, 30), block=9).image
    np.testing.assert_array_equal(bytes_of(reading.read("out.png").rgb), bytes_of(wanted))
    assert reading.read_settings("out.png")["block"] == 9

    assert run("quilt", "texture.png", "-o", "other.png", "--size=20x20", "--json") == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["output"], said["width"], said["block"]) == ("other.png", 20, 6)

    assert run("quilt", "texture.png", "content.png", "-o", "drawn.png", "--quiet") == 0
    assert reading.read("drawn.png").rgb.shape == (20, 24, 3)
    assert capfd.readouterr().out == ""
    assert "exists" in refusal(capfd, "quilt", "texture.png", "-o", "out.png")
    assert "WIDTHxHEIGHT" in refusal(capfd, "quilt", "texture.png", "-o", "x.png", "--size=30")

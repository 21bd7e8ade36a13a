"""Masks per frame: what maps of a whole film mean, and what is drawn by them."""

from typing import Any

import clips
import numpy as np
import pytest
import tiny
from commands import refusal
from PIL import Image
from refusals import sentence

import nst_jax as nst
from nst_jax.cli import cache
from nst_jax.films import reading
from nst_jax.videos.drawing import draw_video
from nst_jax.videos.maps import Maps

HEIGHT, WIDTH = 24, 32
COLUMNS = np.arange(WIDTH)[None].repeat(HEIGHT, 0)
RED, BLUE = (200, 0, 0), (0, 0, 200)


def folder_of(place, pictures):
    place.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(np.asarray(picture)).save(place / f"{number}.png")
    return str(place)


def coloured(split):
    """A map that is red left of a column and blue right of it."""
    return np.where((split > COLUMNS)[..., None], RED, BLUE).astype(np.uint8)


def white(split):
    return np.uint8(255 * (split > COLUMNS))


@pytest.fixture
def film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "enable", lambda: None)
    return folder_of(tmp_path / "in", clips.frames(3, HEIGHT, WIDTH))


def maps(film, regions=None, keep=None, size=(HEIGHT, WIDTH)):
    return Maps(reading.probe(film), size, regions, keep)


def test_labels_are_those_of_the_whole_film(film, tmp_path):
    found = maps(film, folder_of(tmp_path / "maps", map(coloured, (16, 32, 0))))
    for number, split in ((0, 16), (1, 32), (2, 0), (0, 16)):
        regions, keep = found.at(number)
        assert keep is None
        assert set(regions) == {"#c80000", "#0000c8"}
        np.testing.assert_array_equal(regions["#c80000"], split > COLUMNS)
        np.testing.assert_array_equal(regions["#0000c8"], split <= COLUMNS)


def test_numbers_are_labels_in_folders_too(film, tmp_path):
    pictures = [np.uint16(1000 * (split > COLUMNS)) for split in (8, 0, 32)]
    found = maps(film, folder_of(tmp_path / "maps", pictures))
    np.testing.assert_array_equal(found.at(1)[0]["1000"], 0 * COLUMNS)
    np.testing.assert_array_equal(found.at(2)[0]["1000"], 1 + 0 * COLUMNS)


def test_a_compressed_film_of_greys_is_a_soft_mask(film, tmp_path):
    pictures = [np.stack([white(split)] * 3, -1) for split in (16, 0, 32)]
    clips.write(tmp_path / "masks.mp4", pictures)
    found = maps(film, "masks.mp4", "masks.mp4")
    for number, split in ((0, 16), (1, 0), (2, 32)):
        regions, keep = found.at(number)
        assert np.abs(regions["255"] - (split > COLUMNS))[:, [0, 4, -4, -1]].max() < 0.05
        np.testing.assert_allclose(regions["0"], 1 - regions["255"], atol=1e-6)
        np.testing.assert_array_equal(keep, regions["255"])
    found.store(tmp_path)
    np.testing.assert_array_equal(found.at(0)[1], maps(film, None, "masks.mp4").at(0)[1])


def test_a_mask_for_each_region_and_a_picture_for_all_frames(film, tmp_path):
    moving = folder_of(tmp_path / "moving", [np.uint8(split > COLUMNS) for split in (8, 0, 16)])
    found = maps(film, [moving, white(4)], size=(HEIGHT // 2, WIDTH // 2))
    for number, split in ((0, 8), (1, 0), (2, 16)):
        regions, _ = found.at(number)
        for label, right in (("1", split), ("2", 4)):
            half = (right > COLUMNS).reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean((1, 3))
            np.testing.assert_allclose(regions[label], half, atol=0.15)


def test_maps_that_do_not_fit_get_a_sentence(film, tmp_path):
    few = folder_of(tmp_path / "few", [coloured(16)] * 2)
    assert "has 3 frames and 'few' has 2" in sentence(maps, film, "few")
    clips.write(tmp_path / "few.mkv", [coloured(16)] * 2)
    assert "has more frames and 'few.mkv' has 2" in sentence(maps, film, "few.mkv")
    assert few.endswith("few")
    folder_of(tmp_path / "wide", [coloured(16)[:12]] * 3)
    assert "another shape" in sentence(maps, film, "wide")
    folder_of(tmp_path / "black", [0 * white(0)] * 3)
    assert "black in all frames" in sentence(maps, film, None, "black")
    folder_of(tmp_path / "colours", [coloured(16)] * 3)
    assert "has colours" in sentence(maps, film, None, "colours")
    assert "'none' does not exist" in sentence(maps, film, "none")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return nst.load(tiny.stylizer(tmp_path_factory.mktemp("models") / "styles.safetensors"))


def drawn(folder):
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def test_a_model_draws_each_region_in_its_style(film, tmp_path, model):
    given: dict[str, Any] = {
        "content_regions": folder_of(tmp_path / "maps", map(coloured, (16, 32, 0))),
        "region_styles": "#c80000:1,#0000c8:2",
        "progress": False,
    }
    draw_video(model, "in", "out", ["night", "ink"], coherent=False, **given)
    frames = np.stack(clips.frames(3, HEIGHT, WIDTH)) / np.float32(255)
    painters = [model.painter(name, HEIGHT, WIDTH) for name in ("night", "ink")]
    night, ink = (255 * paint(frames) for paint in painters)
    for n, (found, split) in enumerate(zip(drawn(tmp_path / "out"), (16, 32, 0), strict=True)):
        left = (split > COLUMNS)[..., None]
        np.testing.assert_allclose(found, np.where(left, night[n], ink[n]), atol=0.51)


@pytest.mark.parametrize("engine", ["model", "optimise"])
def test_what_is_kept_stays_and_the_rest_is_drawn(film, tmp_path, model, engine):
    keep = folder_of(tmp_path / "keep", map(white, (16, 32, 0)))
    if engine == "model":
        nst.video("in", "out", "ink", model=model, keep=keep, progress=False)
    else:
        options: dict[str, Any] = {"content_layers": "relu1_1", "style_layers": "relu1_1"}
        options |= {"preset": "gatys", "iterations": 20, "evaluations": 6, "precondition": 1.0}
        style = tiny.picture(32, 32, 2)
        nst.video("in", "out", style, keep=keep, network=tiny.PIXELS, progress=False, **options)
    pictures = zip(drawn(tmp_path / "out"), clips.frames(3, HEIGHT, WIDTH), strict=True)
    for (found, frame), split in zip(pictures, (16, 32, 0), strict=True):
        np.testing.assert_array_equal(found[:, :split], frame[:, :split])
        if split < WIDTH:
            apart = np.abs(found[:, split:].astype(float) - frame[:, split:]).mean()
            assert apart > 5, "what was kept in the frame before is drawn as well"


def test_commands_with_masks_are_refused_in_a_sentence(film, tmp_path, capfd):
    folder_of(tmp_path / "maps", [coloured(16)] * 3)
    Image.fromarray(tiny.picture(32, 32, 2)).save("style.png")
    begin = ["video", "in", "out", "--content-regions=maps", "--quiet"]
    drawing = [*begin, "--style=style.png", "--network=vgg19-lite"]
    assert "say which style each region takes" in refusal(capfd, *drawing)
    said = refusal(capfd, *drawing, "--region-styles=#c80000:1,#00ff00:1")
    assert "region_styles has #00ff00" in said, "a label that is in no frame"
    file = tiny.stylizer(tmp_path / "styles.safetensors")
    by_model = [*begin, f"--model={file}", "--style=ink"]
    assert "say which style each region takes" in refusal(capfd, *by_model)
    said = refusal(capfd, *by_model, "--region-styles=#c80000:1,#0000c8:2")
    assert "gives #0000c8 style 2, but the number of style pictures is 1" in said
    assert not (tmp_path / "out").exists()

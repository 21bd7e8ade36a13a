"""A result made again from what it carries: the same bits, or varied; and what may be missing."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
from PIL import Image

import nst_jax as nst
from nst_jax.cli import cache, main
from nst_jax.files import weightfile, weights
from nst_jax.pictures import metadata, reading
from nst_jax.stylizing.repeat import recall

NETWORK = tiny.network()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with pictures and a narrow network's weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "search_path", lambda: [tmp_path])
    monkeypatch.setattr(weightfile, "WIDTHS", (4, 4, 6, 6, 6))
    monkeypatch.setattr(cache, "enable", lambda: None)
    np.savez("net.npz", **tiny.tensors())
    weights.convert_file("net.npz", "net.safetensors", preprocessing="caffe", transpose=False)
    for name, picture in {
        "content": tiny.picture(16, 20),
        "style": tiny.picture(16, 16, 2),
        "other": tiny.picture(16, 18, 3),
    }.items():
        Image.fromarray(picture).save(f"{name}.png")
    return tmp_path


MAPPED = {"size": None, "iterations": 3, "network": "net.safetensors", "style_layers": "relu1_1"}
OPTIONS = {"size": None, "iterations": 6, "network": "net.safetensors", **tiny.SHALLOW}


def make(content="content.png", style="style.png", output="out.png", **options):
    result = nst.stylize(content, style, progress=False, **OPTIONS | options)
    result.save(output)
    return result


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "preset": "neural-style",
            "optimizer": "adam",
            "pooling": "average",
            "learning_rate_schedule": "cosine:1:0",
            "init": "other.png",
        },
        {"style": ["style.png", "other.png"], "style_blend": "1,3"},
    ],
    ids=str,
)
def test_the_same_bits_come_of_it(folder, options):
    result = make(**options)
    again = nst.repeat("out.png", progress=False)
    np.testing.assert_array_equal(again.image, result.image)
    for name, values in result.losses.items():
        np.testing.assert_array_equal(again.losses[name], values)
    keys = ("settings", "sources", "network", "network_digest", "losses", "scales")
    one, other = again.record(), result.record()
    assert {k: one[k] for k in keys} == {k: other[k] for k in keys}


def test_options_that_its_version_lacked_are_off_whatever_the_preset_says(folder, monkeypatch):
    record = make().record()
    assert nst.PRESETS["default"].draft
    record["settings"] = {k: v for k, v in record["settings"].items() if k != "draft"}
    monkeypatch.setattr("nst_jax.pictures.reading.read_settings", lambda _: record)
    assert nst.repeat("out.png", progress=False).settings.draft is False


def test_options_and_pictures_vary_it(folder):
    made = make(style_weight=50.0)
    varied = nst.repeat("out.png", style="other.png", iterations=3, progress=False)
    assert varied.sources == {"content": "content.png", "style": "other.png"}
    expected = dataclasses.replace(made.settings, iterations=3)
    assert dataclasses.replace(varied.settings, network="net.safetensors") == expected
    by_object = nst.repeat("out.png", network=NETWORK, progress=False)
    np.testing.assert_allclose(by_object.image, made.image, atol=1e-6)


def test_files_are_looked_for_beside_the_result_and_then_here(folder):
    (folder / "results").mkdir()
    make(output="results/out.png")
    found = recall("results/out.png")
    assert str(found["content"]) == "content.png"
    (folder / "content.png").rename(folder / "results" / "content.png")
    assert str(recall("results/out.png")["content"]) == "results/content.png"


def test_auto_takes_the_network_that_it_was(folder):
    make(output="out.png")
    record = reading.read_settings("out.png")
    record["settings"]["network"] = "auto"
    save_record(record)
    assert recall("out.png")["network"] == "net"


def save_record(record):
    with Image.open("content.png") as image:
        image.save("out.png", pnginfo=metadata.png_text(record))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (
            {"sources": {"content": "gone.png"}},
            {},
            "file 'gone.png', content of 'out.png', is neither",
        ),
        ({"sources": {}}, {}, "does not name the file of its content picture: give it."),
        ({"sources": {"content": "content.png", "style": [None, "other.png"]}}, {}, "its style"),
        ({"settings": 3}, {}, "carries no settings of nst-jax"),
        ({}, {"preset": "paper"}, "so leave out preset."),
        ({}, {"iterations": -1}, "iterations is -1"),
    ],
    ids=str,
)
def test_what_is_missing_gets_a_sentence(folder, change, options, said):
    make()
    save_record(reading.read_settings("out.png") | change)
    with pytest.raises(nst.InputError) as caught:
        nst.repeat("out.png", **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_start_without_a_name(folder):
    make(init=tiny.picture(16, 20))
    with pytest.raises(nst.InputError, match="does not name the file of its init picture"):
        nst.repeat("out.png")
    assert recall("out.png", init="noise")["init"] == "noise"


def test_a_picture_from_a_map_alone_has_no_content(folder):
    for name, width in {"map": 20, "style-map": 16}.items():
        labels = np.where(np.arange(width) < width // 2, np.zeros((16, 1)), 255)
        Image.fromarray(labels.astype(np.uint8)).save(f"{name}.png")
    maps = {"content_regions": "map.png", "style_regions": "style-map.png"}
    result = nst.stylize(None, "style.png", progress=False, **maps, **MAPPED)
    result.save("out.png")
    again = nst.repeat("out.png", progress=False)
    np.testing.assert_array_equal(again.image, result.image)
    assert again.sources == result.sources


def test_other_weights_and_options_of_another_version_are_told(folder):
    make()
    record = reading.read_settings("out.png")
    save_record(record | {"network_digest": "sha256:0"})
    with pytest.warns(UserWarning, match="are not those that made the picture"):
        recall("out.png")
    save_record(record | {"settings": record["settings"] | {"magic": 3}, "version": "9.9"})
    with pytest.warns(UserWarning, match="made by nst-jax 9.9, whose magic this version lacks"):
        assert "magic" not in recall("out.png")


def run(*argv) -> int:
    try:
        return main.main(main.parse(["nst-jax", *argv]))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def test_the_command_line_repeats_and_varies(folder, capfd):
    result = make()
    assert run("stylize", "--from", "out.png", "-o", "same.png", "--quiet") == 0
    np.testing.assert_array_equal(reading.read("same.png").rgb, reading.read("out.png").rgb)
    varied = ["stylize", "content.png", "--from=out.png", "-o", "b.png", "--seed=4", "--quiet"]
    assert run(*varied) == 0
    record = reading.read_settings("b.png")
    assert record["settings"] == result.record()["settings"] | {"seed": 4}
    both = ["stylize", "content.png", "other.png", "--from=out.png", "-o", "c.png", "--quiet"]
    assert run(*both) == 0
    assert reading.read_settings("c.png")["sources"]["style"] == "other.png"
    assert run("stylize", "--from=content.png", "-o", "d.png") == 2
    assert "carries no settings" in capfd.readouterr().err
    assert run("stylize", "-o", "d.png") == 2
    assert "required: CONTENT, STYLE" in capfd.readouterr().err
    json.dumps(record)

"""Going on from a result: larger, or longer."""

import copy
import pickle
import re

import numpy as np
import pytest
import tiny

import nst_jax as nst
from nst_jax.pictures import resizing

CONTENT, STYLE = tiny.picture(48, 64), tiny.picture(40, 48, 2)
NETWORK = tiny.Pixels()
FAST = {"iterations": 4, "coarse_iterations": 3, "progress": False, "optimizer": "adam"}


def stylize(content=CONTENT, style=STYLE, **options):
    return nst.stylize(content, style, network=NETWORK, **FAST | {"size": 16} | options)


@pytest.fixture(scope="module")
def small():
    return stylize()


def test_a_print_is_drawn_from_the_result_at_all_larger_scales(small):
    large = small.enlarge(40)
    assert large.image.shape == (30, 40, 3)
    assert [scale.width for scale in large.scales] == [20, 28, 40]
    # As with init and the sizes given by hand: the style has the same share of the picture.
    same = stylize(init=small.image, size=40, style_size=40, min_size=19)
    np.testing.assert_array_equal(large.image, same.image)
    shrunk = resizing.resize(large.image, small.image.shape[:2])
    anew = resizing.resize(stylize(size=40, init="noise").image, small.image.shape[:2])
    assert np.abs(shrunk - small.image).mean() < np.abs(anew - small.image).mean()


@pytest.mark.parametrize(
    ("sizes", "scale"),
    [
        ({"size": 32, "style_size": 16}, 0.5),
        ({"size": 32, "style_scale": 0.75}, 0.75),
        ({"size": None, "style_size": None}, 48 / 64),
    ],
)
def test_strokes_keep_their_share_of_the_picture(sizes, scale):
    found = stylize(**sizes, iterations=1)
    assert found.style_scales == pytest.approx((scale,))
    assert found.enlarge(80, iterations=1).style_scales == pytest.approx((scale,), rel=0.02)


def test_a_result_goes_on_from_its_picture(small):
    longer = small.go_on(6)
    same = stylize(init=small.image, iterations=6)
    np.testing.assert_array_equal(longer.image, same.image)
    assert longer.settings.iterations == 6
    assert min(longer.losses["total"]) <= longer.losses["total"][0]


def test_options_and_pictures_can_be_replaced(small):
    assert small.go_on(1, style_weight=7.0).settings.style_weight == 7
    other = tiny.picture(24, 32, 5)
    np.testing.assert_array_equal(
        small.go_on(2, content=other).image,
        stylize(other, init=small.image, iterations=2).image,
    )


def test_a_copy_goes_on_too(small):
    for copied in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        np.testing.assert_array_equal(copied.go_on(1).image, small.go_on(1).image)


@pytest.mark.parametrize("size", [16, 8])
def test_a_print_that_is_not_larger_is_refused(small, size):
    said = f"size is {size}, but the picture has 16 pixels on its long side: a print must be"
    with pytest.raises(nst.InputError, match=said):
        small.enlarge(size)


def test_a_result_without_its_pictures_says_so(small):
    lone = nst.Stylization(**{**vars(small), "redraw": None})
    with pytest.raises(nst.InputError, match="The result does not know its pictures"):
        lone.go_on(3)


def test_a_sweep_from_a_folder_goes_on_where_its_pictures_are(tmp_path):
    from PIL import Image

    for name, picture in (("c.png", CONTENT), ("s.png", STYLE)):
        Image.fromarray(picture).save(tmp_path / name)
    options = {"network": "vgg19-lite", "style_layers": "relu1_1", "content_layers": "relu1_1"}
    options = FAST | options | {"size": 16}
    sweep = nst.sweep(tmp_path / "c.png", tmp_path / "s.png", style_weight=[1, 2], **options)
    sweep.save(tmp_path / "out")
    loaded = nst.load_sweep(tmp_path / "out").at(style_weight=2)
    with pytest.raises(nst.InputError, match=re.escape("'c.png', content of")):
        loaded.enlarge(24)
    pictures = {"content": tmp_path / "c.png", "style": tmp_path / "s.png"}
    large = loaded.enlarge(24, **pictures, progress=False)
    assert large.image.shape == (18, 24, 3)
    assert large.settings.style_weight == 2
    for name in ("c.png", "s.png"):
        (tmp_path / name).rename(tmp_path / "out" / name)
    np.testing.assert_array_equal(loaded.enlarge(24, progress=False).image, large.image)
    (file,) = (tmp_path / "out").glob("001*.png")
    np.testing.assert_array_equal(nst.enlarge(file, 24, progress=False).image, large.image)


def test_the_command_prints_a_result(tmp_path, monkeypatch, capfd):
    from commands import refusal, run
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for name, picture in (("c.png", CONTENT), ("s.png", STYLE)):
        Image.fromarray(picture).save(name)
    options = ["--network=vgg19-lite", "--iterations=2", "--style-layers=relu1_1", "--quiet"]
    options += ["--content-layers=relu1_1", "--coarse-iterations=2"]
    assert run("stylize", "c.png", "s.png", "-o", "small.png", "--size=16", *options) == 0
    assert run("stylize", "--from", "small.png", "--size=24", "-o", "large.png", "--quiet") == 0
    python = nst.enlarge("small.png", 24, progress=False)
    np.testing.assert_array_equal(
        np.asarray(Image.open("large.png")), np.rint(python.image * 255).astype(np.uint8)
    )
    anew = ["--from", "small.png", "--size=24", "--init=content", "--quiet"]
    assert run("stylize", *anew, "-o", "anew.png") == 0
    plain = nst.repeat("small.png", size=24, init="content", progress=False)
    np.testing.assert_array_equal(
        np.asarray(Image.open("anew.png")), np.rint(plain.image * 255).astype(np.uint8)
    )
    (tmp_path / "c.png").unlink()
    said = refusal(capfd, "stylize", "--from", "small.png", "--size=24", "-o", "x.png")
    assert "'c.png', content of 'small.png', is neither beside it" in said

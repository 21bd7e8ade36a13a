"""Models: tiles without seams, styles and masks, files that are none, and `nst-jax apply`."""

import dataclasses
import functools
import io
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tiny
from commands import refusal, run
from PIL import Image
from refusals import sentence
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

import nst_jax as nst
import nst_jax.films
from nst_jax.cli import cache
from nst_jax.files import weightfile
from nst_jax.models import modelfile, tiling
from nst_jax.models.modelfile import ModelFile
from nst_jax.pictures import reading, resizing

ROOT = Path(__file__).parents[2]
STYLES = tiny.STYLES


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tiny.stylizer(tmp_path_factory.mktemp("models") / "styles.safetensors")


@pytest.fixture(scope="module")
def model(file):
    return nst.load(file)


@pytest.fixture(scope="module")
def picture():
    return tiny.picture(70, 90)


def test_a_file_keeps_the_model(file, model):
    assert model.styles == STYLES
    assert model.training == {"steps": 3}
    assert model.digest == weightfile.load(file).digest
    assert all(np.asarray(v).dtype == np.float32 for v in model.parameters.values())
    assert file.stat().st_size < 150_000, "float16"


def test_a_picture_keeps_size_transparency_and_profile(model):
    pixels = np.dstack([tiny.picture(41, 50), np.full((41, 50), 99, np.uint8)])
    drawn = model(pixels, "ink")
    assert drawn.image.shape == (41, 50, 3)
    assert drawn.alpha is not None
    assert 0 <= drawn.image.min() < drawn.image.max() <= 1
    assert drawn.about["style"] == "ink"
    assert drawn._repr_png_()[:4] == b"\x89PNG"


@pytest.mark.parametrize("variant", ["small", "medium", "johnson"])
def test_tiles_leave_no_seam(tmp_path, picture, variant):
    model = nst.load(tiny.stylizer(tmp_path / "m.safetensors", variant))
    style = {"night": 1, "ink": np.linspace(0, 1, 90 * 70).reshape(70, 90).astype(np.float32)}
    whole = model(picture, style)
    tiled = model(picture, style, tile=24)
    assert np.abs(whole.image - tiled.image).max() < 1 / 255


def test_tiles_cover_each_position_once():
    for length, side, halo in ((100, 24, 8), (24, 24, 8), (30, 7, 3), (5, 8, 2)):
        pieces = tiling._pieces(length, side, halo)
        own = np.concatenate(
            [np.arange(p.start + p.own.start, p.start + p.own.stop) for p in pieces]
        )
        np.testing.assert_array_equal(own, np.arange(length))
        assert len({p.stop - p.start for p in pieces}) == 1, "one program"
        for p in pieces:
            assert p.own.start >= halo or p.start == 0
            assert p.stop - p.start - p.own.stop >= halo or p.stop == length


def test_tiles_are_taken_where_memory_is_short(model):
    assert tiling.tile_side(model.architecture.widest, 512, 512, 10**9) is None
    side = tiling.tile_side(model.architecture.widest, 20_000, 20_000, 10**9)
    assert side is not None
    assert side % 4 == 0
    assert 256 <= side < 5000


def test_styles_and_their_blends(model, picture):
    one, other, both, mapped = (
        model(picture, style).image
        for style in ("night", "ink", "night:1,ink:3", {"ink": 0.75, "night": 0.25})
    )
    assert np.abs(one - other).max() > 0.02
    np.testing.assert_array_equal(both, mapped)
    frames = np.stack([picture, picture]) / np.float32(255)
    np.testing.assert_allclose(model.painter("ink", 70, 90)(frames)[1], other, atol=1e-5)


def test_a_mask_says_where(model, picture):
    mask = np.zeros((70, 90), np.uint8)
    mask[:, 45:] = 255
    mixed = model(picture, {"night": 255 - mask, "ink": mask}).image
    everywhere = model(picture, {"night": mask * 0 + 255}).image
    np.testing.assert_allclose(everywhere, model(picture, "night").image, atol=1e-5)
    assert np.abs(mixed - everywhere)[:, 60:].mean() > np.abs(mixed - everywhere)[:, :30].mean()


def test_colours_may_stay(model, picture):
    kept = model(picture, "ink", keep_colors=True).image
    grey = model(np.repeat(picture.mean(-1, keepdims=True), 3, -1).astype(np.uint8), "ink")
    again = nst.with_lightness(np.repeat(kept.mean(-1, keepdims=True), 3, -1), kept)
    assert np.ptp(kept, axis=-1).mean() > 0.05
    assert np.ptp(np.asarray(again), axis=-1).max() < 1e-3
    assert grey.image.shape == kept.shape


@pytest.mark.parametrize(
    ("style", "said"),
    [
        (None, "has 3 styles: say which, of night, ink, glass"),
        ("nihgt", "no style 'nihgt'. Did you mean 'night'"),
        ("night:0", "all zero"),
        ({"night": np.eye(20, dtype=np.float32)}, "all zero at some pixels"),
        ("night:x", "is not NAME or NAME:WEIGHT"),
    ],
)
def test_bad_styles_get_a_sentence(model, picture, style, said):
    with pytest.raises(nst.InputError, match=said):
        model(picture, style)


def test_a_tiny_picture_gets_a_sentence(model):
    assert "at least 16" in sentence(model, tiny.picture(9, 30), "ink")


def rewritten(file, path, **changes):
    """The file with other metadata."""
    found = weightfile.load(file)
    metadata = {k: v for k, v in (dict(found.metadata) | changes).items() if v is not None}
    safetensors.numpy.save_file(dict(found.tensors), path, metadata)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, file):
    """The current folder, with pictures and broken models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "enable", lambda: None)
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        Image.fromarray(tiny.picture(24, 32)).save(f"in/{name}.png")
    data = file.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.safetensors").write_text("hello")
    rewritten(file, "version.safetensors", version="99")
    rewritten(file, "other.safetensors", model=None)
    named = json.loads(weightfile.load(file).metadata["model"])
    named["architecture"]["variant"] = "huge"
    rewritten(file, "huge.safetensors", model=json.dumps(named))
    named["architecture"] |= {"variant": "small", "blocks": 2}
    rewritten(file, "blocks.safetensors", model=json.dumps(named))
    return tmp_path


def test_apply_draws_files_and_folders(folder, file, monkeypatch, capfd):
    shown = functools.partialmethod(tqdm.__init__, mininterval=0)  # also what is quickly drawn
    monkeypatch.setattr(tqdm, "__init__", shown)
    assert run("apply", file, "in", "--style=ink", "--output=out") == 0
    out, err = capfd.readouterr()
    assert out == "out\n"
    assert "2/2" in err
    assert reading.read("out/a.png").rgb.shape == (24, 32, 3)
    assert reading.read_settings("out/b.png")["model"] == file.name
    several = ("apply", file, "in/a.png", "--style=ink", "--style=night:1,ink:1", "--output=two")
    assert run(*several, "--quiet", "--format=jpg") == 0
    assert capfd.readouterr() == ("", "")
    assert sorted(p.name for p in (folder / "two").iterdir()) == [
        "a-ink.jpg",
        "a-night-1-ink-1.jpg",
    ]
    masks = ("--mask=ink=in/a.png", "--mask=night=in/b.png")
    assert "has colours" in refusal(capfd, "apply", file, "in/a.png", *masks, "-o", "x", "--quiet")


def test_a_bad_file_in_a_folder_ends_nothing(folder, file, capfd):
    (folder / "in" / "aa.png").write_bytes(b"not a picture")
    assert run("apply", file, "in", "--style=ink", "--output=out", "--quiet") == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert (folder / "out" / "b.png").exists()


def test_a_bad_file_in_a_list_ends_nothing_and_a_list_goes_on(folder, file, capfd):
    (folder / "in/bad.png").write_bytes(b"none")
    Image.fromarray(tiny.picture(3, 64)).save("in/thin.png")
    given = ("apply", file, "in/a.png", "in/bad.png", "in/thin.png", "in/b.png", "--style=ink")
    assert run(*given, "--output=out") == 2
    out, err = capfd.readouterr()
    assert out == "out\n"
    told = [line for line in err.splitlines() if line.startswith("nst-jax: ")]
    assert [name in line for name, line in zip(("bad.png", "thin.png"), told, strict=True)]
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.png", "b.png"]
    (folder / "out/b.png").unlink()
    kept = (folder / "out/a.png").stat().st_mtime_ns
    assert "exists already" in refusal(capfd, *given, "--output=out", "--quiet")
    good = [part for part in given if "bad" not in str(part) and "thin" not in str(part)]
    assert run(*good, "--output=out", "--quiet", "--skip-existing") == 0
    assert (folder / "out/b.png").exists()
    assert (folder / "out/a.png").stat().st_mtime_ns == kept


def test_names_that_are_there_twice_are_numbered(folder, file, capfd):
    Image.fromarray(tiny.picture(24, 32, 5)).save("in/a.jpg")
    assert run("apply", file, "in", "--style=ink", "--output=out", "--json", "--quiet") == 0
    done = json.loads(capfd.readouterr().out)
    names = {one["input"]: one["output"] for one in done["results"]}
    assert names == {
        "in/a.jpg": "out/a.png",
        "in/a.png": "out/a-2.png",
        "in/b.png": "out/b.png",
    }
    assert (done["failed"], done["skipped"]) == ([], [])
    about = reading.read_settings("out/a-2.png")
    assert done["results"][1].items() >= about.items()
    both = ("in/b.png", "--style=ink", "--style=ink", "--output=two", "--quiet")
    assert run("apply", file, *both) == 0
    assert sorted(p.name for p in Path("two").iterdir()) == ["b-ink-2.png", "b-ink.png"]


def test_apply_draws_from_standard_input_to_standard_output(
    folder, file, model, capfdbinary, monkeypatch
):
    data = Path("in/a.png").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run("apply", file, "-", "--style=ink", "-o", "-") == 0
    out = capfdbinary.readouterr().out
    drawn = np.rint(model("in/a.png", "ink").image * 255)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(out))), drawn)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run("apply", file, "-", "--style=ink", "-o", "out", "--quiet") == 0
    assert [p.name for p in Path("out").iterdir()] == ["stdin.png"]


def test_apply_lists_styles(folder, file, capfd):
    assert run("apply", file, "--list") == 0
    assert capfd.readouterr().out == "night\nink\nglass\n"
    assert run("apply", file, "--list", "--json") == 0
    assert json.loads(capfd.readouterr().out) == {
        "model": file.name,
        "styles": ["night", "ink", "glass"],
    }


def test_a_sheet_shows_a_picture_in_all_styles(folder, file, model, capfd):
    assert run("sheet", "in/a.png", "--model", file, "--size=32") == 0
    assert capfd.readouterr().out == "sheet.png\n"
    found = np.asarray(Image.open("sheet.png"))
    gap, foot = found.shape[1] - 2 * 32, (found.shape[0] - 2 * 24) // 2
    picture = np.asarray(Image.open("in/a.png"))
    shown = [picture, *(np.rint(model(picture, s).image * 255) for s in STYLES)]
    for n, one in enumerate(shown):
        x, y = n % 2 * (32 + gap), n // 2 * (found.shape[0] - 24 - foot + gap // 2)
        assert (found[y : y + 24, x : x + 32] == one).all(), n
        below = found[y + 24 : y + 24 + foot - gap, x : x + 32]
        assert (below < 100).any() == (n > 0), "the name of the style"
    assert "exists already" in refusal(capfd, "sheet", "in/a.png", "--model", file)
    more = ("--style=ink", "--size=32", "--force", "--json")
    assert run("sheet", "in/a.png", "--model", file, *more) == 0
    done = json.loads(capfd.readouterr().out)
    assert (done["output"], done["styles"], done["width"]) == ("sheet.png", ["ink"], 64 + gap)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sheet", "in/a.png", "--model=nowhere"], "no weight file nowhere"),
        (["sheet", "in/none.png", "--model", "MODEL"], "does not exist"),
        (["sheet", "in/a.png", "--model", "MODEL", "--style=imk"], "Did you mean 'ink'"),
        (["sheet", "in/a.png", "--model", "MODEL", "--size=0"], "size is"),
        (["sheet", "in/a.png", "--model", "MODEL", "-o", "x.gif"], "must end in one of"),
        (["sheet", "in/a.png", "--model=anystyle"], "say which styles the sheet shows"),
        (["apply", "MODEL", "in", "--style=ink", "-o", "-"], "takes one picture, not 2"),
        (["apply", "MODEL", "in/a.png", "--style=ink", "-o", "-", "--json"], "not both"),
        (["apply", "MODEL", "in/a.png", "--style=ink", "--style=imk", "-o", "x"], "Did you mean"),
        (["apply", "MODEL", "in", "--style=ink", "-o", "x.png"], "has the name of a picture"),
    ],
)
def test_bad_sheets_and_streams_get_one_sentence(folder, file, capfd, arguments, said):
    arguments = [str(file) if a == "MODEL" else a for a in arguments]
    assert said in refusal(capfd, *arguments, "--quiet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cut.safetensors", "in", "-o", "x"], "truncated"),
        (["text.safetensors", "in", "-o", "x"], "cannot be read"),
        (["nowhere.safetensors", "in", "-o", "x"], "no weight file nowhere"),
        (["version.safetensors", "in", "-o", "x"], "version 99"),
        (["other.safetensors", "in", "-o", "x"], "not a model"),
        (["huge.safetensors", "in", "-o", "x"], "does not know"),
        (["blocks.safetensors", "in", "-o", "x"], "res2.a.depthwise is missing"),
        (["MODEL", "in", "-o", "x", "--style=imk"], "Did you mean 'ink'"),
        (["MODEL", "in/none.png", "-o", "x", "--style=ink"], "does not exist"),
        (["MODEL", ".", "-o", "x", "--style=ink"], "holds no pictures"),
        (["MODEL", "--style=ink"], "nothing to draw"),
        (["MODEL", "in/a.png", "-o", "in", "--style=ink"], "exists already"),
        (["MODEL", "in/a.png", "-o", "x", "--mask=ink"], "NAME=FILE"),
    ],
)
def test_bad_input_gets_one_sentence(folder, file, capfd, arguments, said):
    arguments = [str(file) if a == "MODEL" else a for a in arguments]
    assert said in refusal(capfd, "apply", *arguments, "--quiet")


def test_a_model_of_other_shapes_is_refused(tmp_path, model):
    tensors = {k: np.asarray(v) for k, v in model.parameters.items()}
    tensors["out.bias"] = np.float32([0, np.nan, 0])
    broken = ModelFile(
        modelfile.TRANSFORMER, dataclasses.asdict(model.architecture), tensors, STYLES
    )
    modelfile.save(tmp_path / "m.safetensors", broken)
    with pytest.raises(nst.InputError, match=r"out\.bias holds NaN"):
        nst.load(tmp_path / "m.safetensors")


def test_the_packages_model_has_six_styles_and_tells_them_apart():
    model = nst.load("styles")
    assert set(nst.samples.style_names()) < set(model.styles)
    assert len(model.styles) >= 6
    assert (ROOT / "weights" / "styles.safetensors").stat().st_size <= 3e6
    photo = resizing.resize(nst.samples.content("cat"), (128, 192))
    drawn = [model(photo, style).image for style in model.styles]

    def lightness(image):
        """Of cells of 8x8 pixels: leads and joints are darker than anything in the photograph."""
        return image.mean(-1).reshape(16, 8, 24, 8).mean((1, 3)).ravel()

    for i, one in enumerate(drawn):
        # The content is there, in other colours than any other style's.
        assert np.corrcoef(lightness(one), lightness(photo))[0, 1] > 0.5
        assert min(np.abs(one - other).mean() for other in drawn[:i] + drawn[i + 1 :]) > 0.03


def test_the_packages_model_for_any_style_takes_the_style_of_a_picture_it_has_not_seen():
    model = nst.load("anystyle")
    smooth = gaussian_filter(nst.samples.style("night"), (80, 80, 0))
    grey = model(np.full((96, 128, 3), 0.5, np.float32), smooth).image
    assert np.abs(grey - grey[48, 64]).max() <= 2 / 255  # without a pattern of its own
    assert (ROOT / "weights" / "adain.safetensors").stat().st_size <= 3e6
    photo = resizing.resize(nst.samples.content("cat"), (96, 128))
    network = nst.load_network("vgg19-lite")
    grey, light = model(photo, nst.samples.style("ink")).image.mean(-1), photo.mean(-1)
    assert np.corrcoef(grey.ravel(), light.ravel())[0, 1] > 0.4

    def apart(image, style):
        """Of means and deviations at relu3_1, which the decoder is not given."""
        found = [
            nst.features(network, picture, ["relu3_1"])["relu3_1"] for picture in (image, style)
        ]
        (mean, deviation), (aim, spread) = [(f.mean((0, 1)), f.std((0, 1))) for f in found]
        return float(np.square(mean - aim).sum() + np.square(deviation - spread).sum())

    for name in ("night", "ink", "autumn"):
        style = resizing.resize(nst.samples.style(name), (128, 128))
        assert apart(model(photo, style).image, style) < 0.5 * apart(photo, style)

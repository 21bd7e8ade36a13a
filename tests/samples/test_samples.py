import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_jax import samples
from nst_jax.errors import InputError

FOLDER = Path(samples.__file__).parent
SCRIPTS = FOLDER.parent.parent / "scripts"
SHAPES = {"cat": (300, 451), "coffee": (400, 600)} | dict.fromkeys(
    samples.style_names(), (512, 640)
)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("make_samples")


@pytest.mark.parametrize("name", samples.content_names() + samples.style_names())
def test_a_sample_is_a_picture_of_the_promised_kind(name):
    read = samples.content if name in samples.content_names() else samples.style
    picture = read(name)
    assert picture.shape == (*SHAPES[name], 3)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert picture.std() > 0.1
    with Image.open(samples.path(name)) as file:
        np.testing.assert_allclose(picture, np.asarray(file) / 255, atol=1e-6)


def test_the_first_name_is_the_default():
    np.testing.assert_array_equal(samples.content(), samples.content(samples.content_names()[0]))
    np.testing.assert_array_equal(samples.style(), samples.style(samples.style_names()[0]))


def test_every_file_has_a_name_a_small_size_and_an_origin():
    files = sorted(FOLDER.glob("*.jpg"))
    assert {file.stem for file in files} == set(SHAPES)
    origin = (FOLDER / "ORIGIN.md").read_text(encoding="utf-8")
    for file in files:
        height, width = SHAPES[file.stem]
        assert f"| `{file.name}` | {width}x{height} |" in origin
        assert file.stat().st_size <= 150_000


@pytest.mark.parametrize("name", samples.style_names())
def test_a_style_has_colour_and_detail_at_every_scale(name):
    """Octave bands of a style hold energy: it is neither flat, nor noise, nor a smooth blur."""
    grey = samples.style(name).mean(axis=2)
    bands = []
    for _ in range(6):
        smaller = grey.reshape(grey.shape[0] // 2, 2, grey.shape[1] // 2, 2).mean((1, 3))
        bands.append((grey - smaller.repeat(2, 0).repeat(2, 1)).std())
        grey = smaller
    assert min(bands) > 0.01
    assert max(bands) < 0.2


@pytest.mark.parametrize(
    ("function", "given", "near", "known"),
    [
        (samples.content, "cats", "cat", samples.content_names()),
        (samples.style, "wave", "waves", samples.style_names()),
        (samples.path, "cofee", "coffee", samples.content_names() + samples.style_names()),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(function, given, near, known):
    with pytest.raises(InputError) as caught:
        function(given)
    message = str(caught.value)
    assert f"'{given}'" in message
    assert f"Did you mean '{near}'?" in message
    assert all(name in message for name in known)


@pytest.mark.parametrize("name", ["", "night.jpg", "../samples/night", "ORIGIN"])
def test_only_names_are_taken(name):
    with pytest.raises(InputError, match="sample picture"):
        samples.path(name)
    with pytest.raises(InputError, match="sample content picture"):
        samples.content(name)


def test_a_style_is_no_content_picture():
    with pytest.raises(InputError, match="no sample content picture 'night'"):
        samples.content("night")


def test_reading_samples_does_not_load_jax():
    program = (
        "import sys, nst_jax.samples as s; s.content(); s.style(); sys.exit('jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=FOLDER.parent.parent)


@pytest.mark.parametrize("name", ["glass", "ink"])  # one without and one with a brush
def test_the_script_draws_the_same_twice(script, name):
    """In one process, so that hidden state or a global seed would show."""
    draw = script.STYLES[name]
    first, second, other = (np.asarray(draw(60, 48, seed=seed)) for seed in (1, 1, 2))
    assert first.shape == (48, 60, 3)
    np.testing.assert_array_equal(first, second)
    assert np.any(first != other)


def test_the_script_draws_what_is_shipped(script):
    """The shipped file is that of today's script, but for JPEG and the platform's rounding."""
    drawn = np.asarray(script.STYLES["waves"](*script.SIZE)) / 255
    assert np.abs(drawn - samples.style("waves")).mean() < 0.03


def test_the_script_writes_files_that_keep_to_the_limit(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "STYLES", {"glass": lambda w, h: script.glass(w // 4, h // 4)})
    monkeypatch.setattr(script, "LIMIT", 8_000)
    monkeypatch.setattr(sys, "argv", ["make_samples.py", str(tmp_path), "--only", "glass"])
    script.main()
    (file,) = tmp_path.iterdir()
    assert 5_000 < file.stat().st_size <= 8_000
    assert str(file) in capsys.readouterr().out
    with pytest.raises(SystemExit, match="No JPEG"):
        script.encode(Image.effect_noise((512, 512), 90))


def test_the_photographs_are_those_of_scikit_image(script):
    for name in samples.content_names():
        original = np.asarray(script.photograph(name)) / 255
        assert np.abs(original - samples.content(name)).mean() < 0.02

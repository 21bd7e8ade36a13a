import io
import json
import os
import stat

import numpy as np
import pytest
from PIL import Image
from refusals import plain_user_folder as plain_user_folder
from refusals import sentence

from nst_jax.errors import InputError
from nst_jax.pictures import reading, writing

SUFFIXES = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"]
SETTINGS = {
    "version": "1.0",
    "settings": {"size": 512, "style_layers": {"relu1_1": 1.0}, "style_size": None},
    "sources": {"content": "Nächte & <Träume> \U0001f305.jpg"},
    "losses": {"total": 1.25e-3},
}


@pytest.fixture
def pixels(rng) -> np.ndarray:
    return rng.integers(0, 256, (11, 17, 3), dtype=np.uint8)


@pytest.fixture
def smooth() -> np.ndarray:
    y, x = np.mgrid[0:1:40j, 0:1:60j]
    return np.stack([x, y, (x + y) / 2], -1).astype(np.float32)


def load(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".PNG"])
def test_eight_bits_round_trip_exactly(suffix, pixels, tmp_path):
    path = writing.save(tmp_path / f"a{suffix}", reading.read(pixels).rgb)
    np.testing.assert_array_equal(load(path), pixels)
    np.testing.assert_array_equal(reading.read(path).rgb, reading.read(pixels).rgb)


def test_every_one_of_256_steps_survives(tmp_path):
    steps = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, -1)
    path = writing.save(tmp_path / "a.png", reading.read(steps).rgb)
    np.testing.assert_array_equal(load(path), steps)


def test_rounded_to_nearest_and_clipped_without_wrapping(tmp_path):
    values = np.float32([-5, -0.1, 0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 254.6 / 255, 1.1, 300])
    path = writing.save(tmp_path / "a.png", values[None, :, None].repeat(3, -1))
    np.testing.assert_array_equal(load(path)[0, :, 0], [0, 0, 0, 0, 1, 254, 255, 255, 255])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_not_written(value, tmp_path):
    rgb = np.full((3, 4, 3), value, np.float32)
    assert "not finite" in sentence(writing.save, tmp_path / "a.png", rgb)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".png", "PNG"), (".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP"), (".tif", "TIFF")],
)
def test_the_suffix_chooses_the_format(suffix, kind, smooth, tmp_path):
    path = writing.save(str(tmp_path / f"a{suffix}"), smooth)
    assert path == tmp_path / f"a{suffix}"
    with Image.open(path) as image:
        assert image.format == kind
        assert image.mode == "RGB"
        if kind == "JPEG":
            assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # no subsampled colour
            assert max(image.quantization[0]) <= 12  # quality 95
        np.testing.assert_allclose(np.asarray(image) / 255, smooth, atol=0.03)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_is_written(suffix, pixels, tmp_path, rng):
    alpha = rng.integers(0, 256, (11, 17), dtype=np.uint8)
    path = writing.save(
        tmp_path / f"a{suffix}", reading.read(pixels).rgb, alpha=np.float32(alpha / 255)
    )
    np.testing.assert_array_equal(load(path), np.dstack([pixels, alpha]))


def test_jpeg_lays_transparency_on_white(tmp_path):
    rgb = np.zeros((16, 16, 3), np.float32)
    with pytest.warns(UserWarning, match=r"^JPEG has no transparency.*\.$"):
        path = writing.save(tmp_path / "a.jpg", rgb, alpha=np.full((16, 16), 0.25, np.float32))
    np.testing.assert_allclose(load(path), 191, atol=2)


def test_encode_png(pixels):
    rgb = reading.read(pixels).rgb
    data = writing.encode_png(rgb)
    np.testing.assert_array_equal(load(io.BytesIO(data)), pixels)
    data = writing.encode_png(rgb, np.zeros((11, 17), np.float32))
    np.testing.assert_array_equal(load(io.BytesIO(data))[..., :3], pixels)
    assert load(io.BytesIO(data))[..., 3].max() == 0


def test_equal_pictures_make_equal_files(smooth, tmp_path):
    for suffix in SUFFIXES:
        a, b = (writing.save(tmp_path / f"{n}{suffix}", smooth, settings=SETTINGS) for n in "ab")
        assert a.read_bytes() == b.read_bytes()


# Settings.


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("transparent", [False, True])
def test_settings_round_trip(suffix, transparent, smooth, tmp_path):
    alpha = smooth[..., 0] if transparent and not suffix.startswith(".j") else None
    path = writing.save(tmp_path / f"a{suffix}", smooth, alpha=alpha, settings=SETTINGS)
    assert reading.read_settings(path) == SETTINGS
    reading.read(path)


def test_where_other_programs_find_the_settings(smooth, tmp_path):
    with Image.open(writing.save(tmp_path / "a.png", smooth, settings=SETTINGS)) as image:
        assert json.loads(image.text["nst_jax"]) == SETTINGS
    with Image.open(writing.save(tmp_path / "a.jpg", smooth, settings=SETTINGS)) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
        assert comment[:8] == b"ASCII\0\0\0"
        assert json.loads(comment[8:]) == SETTINGS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_settings(suffix, smooth, tmp_path):
    path = writing.save(tmp_path / f"a{suffix}", smooth)
    assert f"a{suffix}' carries no settings" in sentence(reading.read_settings, path)


@pytest.mark.parametrize(
    "comment", [b"ASCII\0\0\0Sunset", b"", b"ASCII\0\0\0[1]", b"\xff" * 20, "a"]
)
def test_comments_of_others_are_no_settings(comment, smooth, tmp_path):
    exif = Image.Exif()
    exif[0x8769] = {0x9286: comment}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif.tobytes())
    assert "carries no settings" in sentence(reading.read_settings, tmp_path / "a.jpg")


def test_settings_of_bad_files(tmp_path):
    assert "does not exist" in sentence(reading.read_settings, tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"text")
    assert "not in a format" in sentence(reading.read_settings, tmp_path / "a.png")


# Where to.


@pytest.mark.parametrize("check", [True, False])
def test_outputs_that_are_refused(check, smooth, tmp_path):
    def refusal(path, *, overwrite=True):
        if check:
            return sentence(writing.check_output, path, overwrite=overwrite)
        return sentence(writing.save, path, smooth, overwrite=overwrite)

    (tmp_path / "there.png").write_bytes(b"old")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.iterdir())
    for name in ("a.gif", "a", "png", "a.png.txt"):
        text = refusal(tmp_path / name)
        assert ".png, .jpg, .jpeg, .webp, .tif, .tiff" in text
        assert repr(str(tmp_path / name)) in text
    assert "does not exist" in refusal(tmp_path / "no" / "a.png")
    assert "does not exist" in refusal(tmp_path / "there.png" / "a.png")
    assert "is a folder" in refusal(tmp_path / "folder.png")
    for name in ("there.png", "dangling.png"):
        text = refusal(tmp_path / name, overwrite=False)
        assert "exists already" in text
        assert "--force" in text
        assert "overwrite=True" in text
    assert "(File name too long)" in refusal(tmp_path / f"{'a' * 300}.png")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.png").read_bytes() == b"old"


@pytest.mark.parametrize("check", [True, False])
def test_an_unwritable_folder(check, smooth, plain_user_folder):
    plain_user_folder.chmod(0o500)
    path = plain_user_folder / "a.png"
    text = sentence(writing.check_output, path) if check else sentence(writing.save, path, smooth)
    assert repr(str(path)) in text
    assert "(Permission denied)" in text


def test_check_output_agrees_to_what_save_can_do(tmp_path, smooth):
    path = tmp_path / "a.png"
    assert writing.check_output(path) == path
    assert not list(tmp_path.iterdir())
    writing.save(path, smooth, overwrite=False)
    assert writing.check_output(str(path), overwrite=True) == path
    with pytest.raises(InputError):
        writing.check_output(path)
    writing.save(path, 1 - smooth)
    np.testing.assert_allclose(load(path) / 255, 1 - smooth, atol=0.5001 / 255)


def test_a_name_without_folder(tmp_path, smooth, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writing.save("a.png", smooth)
    assert os.listdir() == ["a.png"]


def test_the_usual_permissions(tmp_path, smooth):
    (tmp_path / "usual").touch()
    path = writing.save(tmp_path / "a.png", smooth)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


# Complete or not at all.


def full_disk(*_, **__):
    raise OSError(28, "No space left on device")


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("place", ["PIL.Image.Image.save", "os.fsync", "os.replace"])
@pytest.mark.parametrize("failure", [full_disk, interrupt])
def test_a_failure_leaves_the_folder_as_it_was(
    existing, place, failure, smooth, tmp_path, monkeypatch
):
    path = tmp_path / "a.png"
    if existing:
        path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(place, failure)
        if failure is full_disk:
            assert "No space left on device" in sentence(writing.save, path, smooth)
        else:
            with pytest.raises(KeyboardInterrupt):
                writing.save(path, smooth)
    assert list(tmp_path.iterdir()) == ([path] if existing else [])
    if existing:
        assert path.read_bytes() == b"old"
    writing.save(path, smooth)
    assert load(path).shape == (40, 60, 3)


def test_the_file_is_never_seen_half_written(smooth, tmp_path, monkeypatch):
    path, seen = tmp_path / "a.png", []
    path.write_bytes(b"old")
    fsync = os.fsync

    def look(descriptor):
        seen.append((path.read_bytes(), os.fstat(descriptor).st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    writing.save(path, smooth)
    assert seen == [(b"old", path.stat().st_size)]


@pytest.mark.parametrize(("suffix", "width"), [(".webp", 16_384), (".jpg", 65_536)])
def test_a_picture_too_large_for_its_format(suffix, width, tmp_path):
    text = sentence(writing.save, tmp_path / f"a{suffix}", np.zeros((1, width, 3), np.float32))
    assert f"{width} x 1 pixels" in text
    assert "choose PNG or TIFF" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("links", [True, False])
def test_of_two_that_write_a_new_file_one_wins(links, smooth, tmp_path, monkeypatch):
    path, fsync = tmp_path / "a.png", os.fsync

    def late(descriptor):
        path.write_bytes(b"another's")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", late)
    if not links:
        monkeypatch.setattr(os, "link", full_disk)
    assert "exists already" in sentence(writing.save, path, smooth, overwrite=False)
    assert path.read_bytes() == b"another's"
    assert os.listdir(tmp_path) == [path.name]
    writing.save(path, smooth)
    assert load(path).shape == (40, 60, 3)

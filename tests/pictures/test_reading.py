import io
import struct
import warnings
import zlib
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from refusals import plain_user_folder as plain_user_folder
from refusals import sentence

from nst_jax.errors import InputError
from nst_jax.pictures import reading


@pytest.fixture
def pixels(rng) -> np.ndarray:
    return rng.integers(0, 256, (11, 17, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def eight_bits(rgb: np.ndarray) -> np.ndarray:
    steps = rgb.astype(np.float64) * 255
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    return np.round(steps).astype(int)


# The kinds of source.


@pytest.mark.parametrize(
    "kind",
    ["path", "text", "home", "bytes", "bytearray", "memory", "stream", "pil", "array", "result"],
)
def test_every_kind_of_source_gives_the_same_picture(kind, pixels, tmp_path, monkeypatch):
    image = Image.fromarray(pixels)
    path = tmp_path / "a.png"
    image.save(path)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = {
        "path": path,
        "text": str(path),
        "home": "~/a.png",
        "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()),
        "memory": memoryview(path.read_bytes()),
        "stream": io.BytesIO(path.read_bytes()),
        "result": SimpleNamespace(image=pixels / np.float32(255), alpha=None),
        "pil": image,
        "array": pixels,
    }[kind]
    picture = reading.read(source)
    assert picture.rgb.dtype == np.float32
    np.testing.assert_array_equal(eight_bits(picture.rgb), pixels)
    assert picture.alpha is None
    assert picture.icc is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_arrays_are_taken_as_they_are(dtype, rng):
    array = rng.random((4, 5, 3)).astype(dtype)
    np.testing.assert_array_equal(reading.read(array).rgb, array.astype(np.float32))


def test_uint16_array(rng):
    array = rng.integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    np.testing.assert_allclose(reading.read(array).rgb, array / 65535, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.uint8])
def test_jax_arrays(dtype):
    array = jnp.asarray([[[0, 1, 1]], [[1, 0, 1]]], dtype)
    expected = np.asarray(array, np.float32) / (255 if dtype == jnp.uint8 else 1)
    np.testing.assert_array_equal(reading.read(array).rgb, expected)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_shapes_of_arrays(shape, rng):
    array = rng.random(shape, np.float32)
    picture = reading.read(array)
    grey = array.reshape(4, 5, 1) if len(shape) == 2 or shape[-1] == 1 else array[..., :3]
    np.testing.assert_array_equal(picture.rgb, np.broadcast_to(grey, (4, 5, 3)))
    if shape[-1] == 4:
        np.testing.assert_array_equal(picture.alpha, array[..., 3])
    else:
        assert picture.alpha is None


def test_slightly_beyond_is_clipped_and_the_array_left_alone():
    array = np.float32([[-0.0009, 0.5, 1.0009]])
    before = array.copy()
    np.testing.assert_array_equal(reading.read(array).rgb[0, :, 0], [0, 0.5, 1])
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("shape", [(5,), (4, 5, 0), (4, 5, 2), (4, 5, 5), (1, 4, 5, 3), (0, 5, 3)])
def test_other_shapes_are_refused(shape):
    text = sentence(reading.read, np.zeros(shape, np.float32), what="style picture")
    assert "style picture" in text
    assert str(shape) in text
    assert "1, 3 or 4 channels" in text


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.float32([[0, 255]]), "0 to 255"),
        (np.float32([[-1, 1]]), "-1 to 1"),
        (np.float32([[0, np.nan]]), "not finite (NaN or infinite)"),
        (np.float32([[0, np.inf]]), "not finite (NaN or infinite)"),
        (np.int64([[0, 255]]), "int64"),
        (np.array([[True, False]]), "bool"),
        (np.array([["a"]]), "<U1"),
    ],
)
def test_other_values_are_refused(array, found):
    assert found in sentence(reading.read, array)


# The modes of files.


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr", "HSV"])
def test_modes_as_pillow_converts_them(mode, pixels):
    image = Image.fromarray(pixels).convert("RGB" if mode in ("LA", "PA") else mode)
    if mode in ("LA", "PA"):
        image = image.convert(mode[0])
        image.putalpha(Image.fromarray(pixels[..., 0]))
        assert image.mode == mode
    expected = np.asarray(image.convert("RGBA"))
    picture = reading.read(image)
    np.testing.assert_array_equal(eight_bits(picture.rgb), expected[..., :3])
    if mode in ("LA", "PA"):
        np.testing.assert_array_equal(eight_bits(picture.alpha), expected[..., 3])
    else:
        assert picture.alpha is None  # RGBA here is opaque


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_alpha_becomes_straight(mode):
    straight = Image.new(mode.upper(), (2, 2), (200, 128) if mode == "La" else (200, 100, 50, 128))
    picture = reading.read(straight.convert(mode))
    expected = np.asarray(straight.convert("RGBA"))
    np.testing.assert_allclose(picture.rgb * 255, expected[..., :3], atol=1)
    np.testing.assert_allclose(picture.alpha, 128 / 255, rtol=1e-6)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_stays_straight_and_colours_under_it_are_kept(kind, pixels, rng):
    alpha = rng.integers(0, 256, (11, 17, 1), dtype=np.uint8)
    rgba = np.concatenate([pixels, alpha], axis=-1)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    picture = reading.read(encoded(Image.fromarray(rgba), kind, **options))
    np.testing.assert_array_equal(eight_bits(picture.rgb), pixels)
    np.testing.assert_array_equal(eight_bits(picture.alpha), alpha[..., 0])


def test_palette_with_transparency():
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    picture = reading.read(encoded(image, transparency=bytes([255, 0, 51])))
    np.testing.assert_array_equal(picture.rgb[0], np.eye(3))
    np.testing.assert_allclose(picture.alpha[0], [1, 0, 0.2])


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_colour_that_means_transparent(mode):
    values = np.array([[0, 7, 200]], np.uint8)
    if mode == "I;16":
        values = np.uint16([[0, 7, 2000]])
    image = Image.fromarray(np.repeat(values[..., None], 3, -1) if mode == "RGB" else values)
    assert image.mode == mode
    picture = reading.read(encoded(image, transparency=(7, 7, 7) if mode == "RGB" else 7))
    np.testing.assert_array_equal(picture.alpha, [[1, 0, 1]])
    top = 65535 if mode == "I;16" else 255
    np.testing.assert_allclose(picture.rgb[..., 1], values / top, rtol=1e-6)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_keeps_its_precision(kind, rng):
    values = rng.integers(0, 65536, (9, 13), dtype=np.uint16)
    values[0, :3] = [0, 256, 65535]
    rgb = reading.read(encoded(Image.fromarray(values), kind)).rgb
    np.testing.assert_array_equal(np.round(rgb[..., 0].astype(np.float64) * 65535), values)
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 2])


def test_big_endian_16_bit_grey():
    values = np.array([[1, 256, 65535]], np.uint16)
    image = Image.frombytes("I;16B", (3, 1), values.astype(">u2").tobytes())
    np.testing.assert_allclose(reading.read(image).rgb[0, :, 0], values[0] / 65535, rtol=1e-6)


def png_of_16_bit_colour(values: np.ndarray) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    h, w, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0)
    body = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in body)


def test_16_bit_colour_to_the_8_bits_that_pillow_gives(rng):
    values = rng.integers(0, 65536, (5, 6, 3), dtype=np.uint16)
    rgb = reading.read(png_of_16_bit_colour(values)).rgb
    np.testing.assert_allclose(rgb, values / 65535, atol=1.01 / 255)


def test_modes_i_and_f():
    whole = Image.fromarray(np.array([[0, 30000, 65535]], np.int32))
    np.testing.assert_allclose(
        reading.read(whole).rgb[0, :, 1], np.array([0, 30000, 65535]) / 65535
    )
    floats = np.float32([[0, 0.123456, 1]])
    read = reading.read(encoded(Image.fromarray(floats), "TIFF"))
    np.testing.assert_array_equal(read.rgb[..., 0], floats)
    too_large = Image.fromarray(np.array([[-5, 70000]], np.int32))
    assert "-5 to 70000; expected 0 to 65535" in sentence(reading.read, too_large)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_without_a_profile(kind):
    inks = np.zeros((16, 64, 4), np.uint8)
    for i, ink in enumerate([(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]):
        inks[:, 16 * i : 16 * i + 16] = ink
    image = Image.frombytes("CMYK", (64, 16), inks.tobytes())
    rgb = reading.read(encoded(image, kind)).rgb  # Pillow writes JPEG as Adobe does, inverted
    expected = [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(rgb[8, 8::16], expected, atol=0.02)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    np.testing.assert_array_equal(reading.read(data).rgb, np.broadcast_to([1, 0, 0], (4, 6, 3)))


# EXIF.

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(kind, orientation, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(pixels), kind, exif=exif, **options)
    np.testing.assert_array_equal(eight_bits(reading.read(data).rgb), UPRIGHT[orientation](pixels))


def test_exif_turns_alpha_and_16_bits_too(rng):
    exif = Image.Exif()
    exif[0x0112] = 6
    la = rng.integers(0, 256, (3, 5, 2), dtype=np.uint8)
    turned = reading.read(encoded(Image.fromarray(la, "LA"), exif=exif))
    np.testing.assert_array_equal(eight_bits(turned.alpha), np.rot90(la[..., 1], -1))
    grey = rng.integers(0, 65536, (3, 5), dtype=np.uint16)
    turned = reading.read(encoded(Image.fromarray(grey), exif=exif)).rgb[..., 0]
    np.testing.assert_allclose(turned, np.rot90(grey, -1) / 65535, rtol=1e-6)


@pytest.mark.parametrize(
    "exif",
    [
        b"\xff\xff\xff\xff" + b"\xff" * 20,  # far behind the end
        b"\0\0\0\x08\0\x05",  # five entries, none there
        b"",
    ],
)
def test_broken_exif_is_ignored_silently(exif, pixels):
    data = encoded(Image.fromarray(pixels), exif=b"Exif\0\0MM\0*" + exif)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        picture = reading.read(data)
    np.testing.assert_array_equal(eight_bits(picture.rgb), pixels)
    assert not seen


def test_a_pil_picture_is_not_changed(pixels):
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = 6
    assert reading.read(image, size=8).rgb.shape == (8, 5, 3)
    assert image.size == (17, 11)
    assert image.getexif()[0x0112] == 6


# The long side.


@pytest.mark.parametrize(
    ("size", "shape"), [(17, (11, 17)), (34, (22, 34)), (8, (5, 8)), (1, (1, 1))]
)
def test_size_is_the_long_side(size, shape, pixels):
    assert reading.read(pixels, size=size).rgb.shape == (*shape, 3)
    turned = reading.read(np.swapaxes(pixels, 0, 1), size=size)
    assert turned.rgb.shape == (*shape[::-1], 3)
    rgba = np.concatenate([pixels, pixels[..., :1]], -1)
    assert reading.read(rgba, size=size).alpha.shape == shape


def test_size_must_be_a_size(pixels):
    assert "at least 1" in sentence(reading.read, pixels, size=0)
    text = sentence(reading.read, pixels, size=10**6, what="content picture")
    assert "at size=1000000 is 1000000 x 647059 pixels" in text


# Bad files.


def bad_files() -> dict[str, bytes]:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    kinds = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "gif": "GIF", "bmp": "BMP"}
    cut = {f"cut.{k}": (d := encoded(image, v))[: len(d) // 2] for k, v in kinds.items()}
    png = bytearray(encoded(image))
    png[len(png) // 2] ^= 255
    return cut | {
        "flipped.png": bytes(png),
        "text.png": b"This is no picture.",
        "zeros.jpg": bytes(99),
    }


BAD_FILES = bad_files()


@pytest.mark.parametrize("name", BAD_FILES)
def test_damaged_files(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(BAD_FILES[name])
    text = sentence(reading.read, path, what="style picture")
    assert text.startswith(f"The style picture '{path}' is ")
    expected = "damaged or cut short" if name.startswith(("cut", "flipped")) else "not in a format"
    assert expected in text
    assert "(given as bytes)" in sentence(reading.read, BAD_FILES[name])


@pytest.mark.parametrize("end", range(0, 120, 3))
def test_a_file_cut_anywhere_is_one_sentence(end):
    sentence(reading.read, encoded(Image.new("RGB", (64, 64), "red"), "JPEG")[:end])


def test_empty_missing_folder_and_url(tmp_path):
    (tmp_path / "empty.png").touch()
    assert "empty.png' is empty" in sentence(reading.read, tmp_path / "empty.png")
    assert "is empty" in sentence(reading.read, b"")
    assert "a.png' does not exist" in sentence(reading.read, tmp_path / "a.png")
    assert "does not exist" in sentence(reading.read, tmp_path / "empty.png" / "a.png")
    assert "is a folder" in sentence(reading.read, tmp_path)
    assert "download it first" in sentence(reading.read, "https://example.org/a.png")
    assert "cannot be read" in sentence(reading.read, "a\0.png")
    assert "cannot be read" in sentence(reading.read, "a" * 5000)
    assert r"a\nb.png" in sentence(reading.read, "a\nb.png")


def test_without_permission(plain_user_folder):
    path = plain_user_folder / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "lack of permission" in sentence(reading.read, path)


# Decompression bombs.


def header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size, and whose pixels nobody could decode."""
    data = encoded(Image.new("1", (1, 1)))
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize(
    ("width", "height", "needed"),
    [(30_000, 10_000, 400_000_000), (30_000, 1, 400_000_000), (15_000, 15_000, 225_000_000)],
)
def test_too_many_pixels(width, height, needed, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12_345)
    text = sentence(reading.read, header_of(width, height), what="content picture")
    assert f"{width} x {height} pixels" in text
    assert "178,956,970 pixels (20,066 a side)" in text
    assert f"max_pixels={needed}" in text
    assert f"NST_JAX_MAX_PIXELS={needed}" in text
    # The remedies lift the limit, and exactly so: then the pixels are looked at.
    for options, variable in (({"max_pixels": needed}, None), ({}, str(needed))):
        if variable:
            monkeypatch.setenv("NST_JAX_MAX_PIXELS", variable)
        assert "damaged" in sentence(reading.read, header_of(width, height), **options)
    with pytest.raises(InputError, match="beyond the limit"):
        reading.read(header_of(width, height), max_pixels=needed - 1)
    assert Image.MAX_IMAGE_PIXELS == 12_345


def test_16k_by_8k_passes_the_limit():
    assert "damaged" in sentence(reading.read, header_of(16_384, 8_192))


@pytest.mark.parametrize("value", ["many", "0", "-3", ""])
def test_the_limit_must_be_a_number(value, monkeypatch, pixels):
    monkeypatch.setenv("NST_JAX_MAX_PIXELS", value)
    assert repr(value) in sentence(reading.read, pixels)


def test_the_limit_holds_for_a_lazy_pil_picture(pixels):
    image = Image.open(io.BytesIO(encoded(Image.fromarray(pixels))))
    assert "17 x 11" in sentence(reading.read, image, max_pixels=100)


@pytest.mark.parametrize("kind", ["array", "I", "I;16", "file"])
def test_8_bits_in_wider_types_are_told(kind, tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 20
    given = {
        "array": np.repeat(values[..., None], 3, -1),
        "I": Image.fromarray(values.astype(np.int32)),
        "I;16": Image.fromarray(values),
        "file": tmp_path / "dark.png",
    }[kind]
    Image.fromarray(values).save(tmp_path / "dark.png")
    with pytest.warns(UserWarning, match="none above 220: it is nearly black"):
        assert reading.read(given).rgb.max() == pytest.approx(220 / 65535)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "The picture '' has an empty name"),
        (io.StringIO("x"), "gives text, not bytes: open the file with mode 'rb'"),
        (io.BytesIO(), "is empty (0 bytes)"),
    ],
    ids=["no name", "text", "empty"],
)
def test_what_is_no_picture_is_refused(source, said):
    assert said in sentence(reading.read, source)


def test_an_open_file(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as file:
        np.testing.assert_array_equal(eight_bits(reading.read(file).rgb), pixels)


def test_a_closed_pil_picture_is_told(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    image.close()
    assert "is closed: open it again" in sentence(reading.read, image)


def test_tensors_with_a_gradient(pixels):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(pixels / np.float32(255), requires_grad=True)
    np.testing.assert_array_equal(eight_bits(reading.read(tensor).rgb), pixels)

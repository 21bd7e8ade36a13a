"""Colour profiles against the arithmetic of the ICC specification, done here in numpy."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from nst_jax.pictures import metadata, reading, writing

# Primaries (x, y) with white D65, and the tone curve's exponent.
ADOBE_RGB = np.array([[0.64, 0.33], [0.21, 0.71], [0.15, 0.06]]), 2.19921875
DISPLAY_P3_22 = np.array([[0.68, 0.32], [0.265, 0.69], [0.15, 0.06]]), 2.19921875
SRGB_PRIMARIES = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
D65 = np.array([0.3127, 0.3290])
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def xyz_of(xy: np.ndarray) -> np.ndarray:
    x, y = xy[..., 0], xy[..., 1]
    return np.stack([x / y, np.ones_like(x), (1 - x - y) / y], -1)


def to_d50(primaries: np.ndarray) -> np.ndarray:
    """Linear RGB to XYZ, adapted to D50 as profiles want it."""
    columns, white = xyz_of(primaries).T, xyz_of(D65)
    matrix = columns * np.linalg.solve(columns, white)
    gain = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    return np.linalg.inv(BRADFORD) @ gain @ BRADFORD @ matrix


def profile_of(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    text = b"made up for a test\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0" + text,
        b"wtpt": xyz_tag(D50),
        **tags,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s12x4s28x", start + len(body), bytes(4), 0x02400000, kind,
                         space, pcs, b"acsp") + xyz_tag(D50)[8:]  # fmt: skip
    return header.ljust(128, b"\0") + table + body


def xyz_tag(xyz: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in xyz))


def curve_tag(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + bytes(2)


def rgb_profile(primaries: np.ndarray, exponent: float) -> bytes:
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), to_d50(primaries).T, strict=True)
    tags = {name: xyz_tag(column) for name, column in columns}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve_tag(exponent))
    return profile_of(b"RGB ", tags | curves)


def table_profile(space: bytes, corner_labs: np.ndarray) -> bytes:
    """Colours (Lab) of all combinations of full channels, and blends between."""
    channels = len(space.strip())
    table = bytes([channels, 3, 2, 0]) + struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    identity = bytes(range(256))
    lab = np.round(corner_labs * [2.55, 1, 1] + [0, 128, 128]).astype(np.uint8)
    tag = b"mft1\0\0\0\0" + table + identity * channels + lab.tobytes() + identity * 3
    return profile_of(space, {b"A2B0": tag, b"A2B1": tag}, pcs=b"Lab ")


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def decode_srgb(encoded: np.ndarray) -> np.ndarray:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def expected_srgb(rgb: np.ndarray, primaries: np.ndarray, exponent: float) -> np.ndarray:
    change = np.linalg.solve(to_d50(SRGB_PRIMARIES), to_d50(primaries))
    return encode_srgb(rgb**exponent @ change.T)


def png(array: np.ndarray, icc: bytes | None = None, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", icc_profile=icc, **options)
    return file.getvalue()


@pytest.fixture
def pixels(rng) -> np.ndarray:
    return rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)


WIDE = pytest.mark.parametrize("space", [ADOBE_RGB, DISPLAY_P3_22], ids=["adobe", "p3"])


@WIDE
def test_a_wide_profile_becomes_srgb(space, pixels):
    icc = rgb_profile(*space)
    picture = reading.read(png(pixels, icc))
    expected = expected_srgb(pixels / 255, *space)
    np.testing.assert_allclose(picture.rgb, expected, atol=2.5 / 255)
    assert np.abs(picture.rgb - pixels / 255).max() > 20 / 255  # there was something to do
    assert picture.icc == icc


@WIDE
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg"])
def test_a_wide_profile_is_written_back(space, suffix, tmp_path):
    # Muted colours, which sRGB holds too, and smooth for the lossy formats.
    ramp = np.linspace(115, 145, 32).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp, np.uint8(120)), -1)
    icc = rgb_profile(*space)
    picture = reading.read(png(pixels, icc))
    path = writing.save(tmp_path / f"a{suffix}", picture.rgb, icc=picture.icc)
    with Image.open(path) as written:
        assert written.info["icc_profile"] == icc
        back = np.asarray(written.convert("RGB"), int)
    np.testing.assert_allclose(back, pixels, atol=6 if suffix in (".jpg", ".webp") else 2)
    np.testing.assert_allclose(reading.read(path).rgb, picture.rgb, atol=0.04)


def test_alpha_is_no_colour(pixels, rng):
    alpha = rng.integers(0, 256, (16, 16, 1), dtype=np.uint8)
    icc = rgb_profile(*ADOBE_RGB)
    picture = reading.read(png(np.concatenate([pixels, alpha], -1), icc))
    np.testing.assert_array_equal(picture.rgb, reading.read(png(pixels, icc)).rgb)
    np.testing.assert_allclose(picture.alpha, alpha[..., 0] / 255, rtol=1e-6)


def test_srgb_by_any_name_changes_nothing(pixels):
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (made, metadata.srgb_profile()):
        picture = reading.read(png(pixels, icc))
        np.testing.assert_array_equal(np.round(picture.rgb * 255), pixels)
        assert picture.icc is None
    near = rgb_profile(SRGB_PRIMARIES, 2.2)  # other by a few steps in the shadows
    assert reading.read(png(pixels, near)).icc == near


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_profiles(dtype, rng):
    top = np.iinfo(dtype).max
    values = rng.integers(0, top, (16, 16), dtype=dtype, endpoint=True)
    icc = profile_of(b"GRAY", {b"kTRC": curve_tag(1.8)})
    picture = reading.read(png(values, icc))
    expected = encode_srgb((values / top) ** 1.8)
    np.testing.assert_allclose(picture.rgb, expected[..., None].repeat(3, -1), atol=1.6 / 255)
    light = expected > 0.2  # in the shadows 8 bits of colour management are coarse
    np.testing.assert_allclose(picture.rgb[light, 1], expected[light], atol=0.8 / 255)
    assert picture.icc is None  # results are in colour
    if dtype == np.uint16:
        ramp = reading.read(png(np.arange(30000, 30100, dtype=dtype)[None], icc)).rgb[0, :, 0]
        assert (np.diff(ramp) > 0).all()  # not stepped to 8 bits


def test_grey_pictures_with_a_profile_for_colour():
    values = np.arange(256, dtype=np.uint8)[None]
    picture = reading.read(png(values, rgb_profile(*ADOBE_RGB)))
    expected = expected_srgb((values / 255)[..., None].repeat(3, -1), *ADOBE_RGB)
    np.testing.assert_allclose(picture.rgb, expected, atol=2 / 255)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_profiles(kind):
    # Inks that no naive formula would guess; the first ink varies slowest.
    labs = np.array([[100 - 30 * bin(n).count("1") / 4, 0, 0] for n in range(16)], float)
    labs[0b1000] = [50, 40, 30]
    labs[0b0010] = [60, -30, 20]
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 0] = 255
    inks[:, 32:, 2] = 255
    file = io.BytesIO()
    image = Image.frombytes("CMYK", (48, 16), inks.tobytes())
    image.save(file, kind, icc_profile=table_profile(b"CMYK", labs))
    picture = reading.read(file.getvalue())

    def srgb_of(lab):
        fy = (lab[0] + 16) / 116
        f = np.array([fy + lab[1] / 500, fy, fy - lab[2] / 200])
        xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
        return encode_srgb(np.linalg.solve(to_d50(SRGB_PRIMARIES), xyz))

    expected = [srgb_of(labs[n]) for n in (0b0000, 0b1000, 0b0010)]
    np.testing.assert_allclose(picture.rgb[8, 8::16], expected, atol=0.03)
    assert picture.icc is None


def test_black_becomes_black_and_what_cannot_be_converted_to_is_written_as_srgb(tmp_path):
    labs = np.array([[20 + 80 * bin(n).count("1") / 3, 0, 0] for n in range(8)])
    icc = table_profile(b"RGB ", labs)  # from its colours to others, but not back
    picture = reading.read(png(np.array([[[0] * 3, [255] * 3]], np.uint8), icc))
    np.testing.assert_allclose(picture.rgb[0, :, 0], [0, 1], atol=2 / 255)
    assert picture.icc == icc
    path = writing.save(tmp_path / "a.png", picture.rgb, icc=icc)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == metadata.srgb_profile()
        np.testing.assert_allclose(np.asarray(image), np.round(picture.rgb * 255))


def lab_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.mark.parametrize(
    "icc",
    [
        b"no profile",
        metadata.srgb_profile()[:200],
        rgb_profile(*ADOBE_RGB)[:150] + bytes(400),
        profile_of(b"GRAY", {b"kTRC": curve_tag(2.2)}),
        profile_of(b"RGB ", {}),
        lab_profile(),
    ],
    ids=["text", "cut", "zeros", "grey", "untagged", "lab"],
)
def test_profiles_that_do_not_fit_are_ignored_with_a_warning(icc, pixels):
    with pytest.warns(UserWarning, match=r"^The colour profile of the style picture .*sRGB\.$"):
        picture = reading.read(png(pixels, icc), what="style picture")
    np.testing.assert_array_equal(np.round(picture.rgb * 255), pixels)
    assert picture.icc is None


@pytest.mark.parametrize("icc", [None, b"no profile", lab_profile()], ids=["none", "text", "lab"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_what_is_written_says_that_it_is_srgb(icc, suffix, tmp_path, pixels):
    path = writing.save(tmp_path / f"a{suffix}", np.float32(pixels / 255), icc=icc)
    with Image.open(path) as image:
        written = image.info["icc_profile"]
    assert written == metadata.srgb_profile()
    assert metadata.is_srgb(written)


def test_the_srgb_profile_is_valid_and_the_same_every_day():
    profile = ImageCms.getOpenProfile(io.BytesIO(metadata.srgb_profile())).profile
    assert str(profile.creation_date) == "2000-01-01 00:00:00"
    rgb = np.linspace(0, 1, 256)
    assert np.abs(decode_srgb(encode_srgb(rgb)) - rgb).max() < 1e-7  # the oracle's own check

"""Pictures of every format that is read, label maps, and pictures with embedded settings."""

import functools
import io
import json
import struct
import warnings
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import tiny
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from hostile import mutations
from hostile.kinds import Kind
from hostile.weights import vgg
from nst_jax.pictures import masks, metadata, reading
from nst_jax.stylizing.inputs import Sources
from nst_jax.stylizing.outputs import OUTPUTS
from nst_jax.stylizing.repeat import recall
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.settings import Settings

_MODES = ("RGB", "RGBA", "L", "1", "P", "I;16", "F", "CMYK")
# Pillow only knows that these are pictures, or writes what it does not read.
_NOT_READ = ("BUFR", "GRIB", "HDF5", "WMF", "PDF", "PALM", "EPS")


@functools.cache
def valid() -> dict[str, list[bytes]]:
    """Small pictures of each format that Pillow writes, in the modes that the format has."""
    Image.init()
    whole = Image.fromarray(tiny.picture(20, 24))
    alpha = whole.convert("RGBA")
    alpha.putalpha(Image.fromarray(tiny.picture(20, 24, 2)[..., 0]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    deep = Image.fromarray(tiny.picture(20, 24)[..., 0].astype(np.uint16) * 257)
    real = Image.fromarray(np.float32(tiny.picture(20, 24)[..., 0] / 255))
    made = {"RGBA": alpha, "I;16": deep, "F": real}
    extras: dict[str, list[dict[str, Any]]] = {
        "PNG": [{"exif": exif, "icc_profile": icc}],
        "JPEG": [
            {"exif": exif, "icc_profile": metadata.srgb_profile()},
            {"progressive": True, "icc_profile": icc},
        ],
        "WEBP": [{"lossless": True}, {"exif": exif}],
        "TIFF": [
            {"compression": c}
            for c in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group4")
        ],
        "TGA": [{"compression": "tga_rle"}],
        "GIF": [{"save_all": True, "append_images": [whole.rotate(90)]}],
        "SGI": [{"compression": "rle"}],
        "DDS": [{"pixel_format": form} for form in ("DXT1", "DXT5", "BC5")],
        "AVIF": [{"speed": 10}],
    }
    found: dict[str, list[bytes]] = {}
    for form in sorted(set(Image.SAVE) - set(_NOT_READ)):
        for mode in _MODES:
            image = made.get(mode) or whole.convert(mode)
            for options in ({}, *extras.get(form, ())):
                file = io.BytesIO()
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # of formats that Pillow will drop
                        image.save(file, form, **options)
                except (OSError, ValueError, KeyError):
                    continue  # the format has no such mode
                found.setdefault(form, []).append(file.getvalue())
    found["PPM"] += [b"P3 2 2 255 " + b"1 2 3 " * 4, b"P2 2 2 9 1 2 3 4\n", b"P1 3 2 1 0 1 0 1 0\n"]
    found["PSD"] = [_photoshop()]
    found["XPM"] = [
        b'/* XPM */ static char *x[] = {"2 2 2 1",". c #FF0000","# c #00FF00",".#","#."};'
    ]
    found["SUN"] = [struct.pack(">8I", 0x59A66A95, 2, 2, 24, 12, 1, 0, 0) + bytes(range(12))]
    return found


def _photoshop() -> bytes:
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 4, 5, 8, 3)
    return header + struct.pack(">IIIH", 0, 0, 0, 0) + bytes(range(60))


def _make(rng: Random, folder: Path) -> None:
    known = valid()
    form = rng.choice(sorted(known))
    data = rng.choice(known[form])
    if form == "PNG" and rng.random() < 0.6:
        data = mutations.png(rng, data)
    else:
        data = mutations.damaged(rng, data, known[rng.choice(sorted(known))])
    (folder / "picture").write_bytes(data)


def _read(case: Path, out: Path) -> None:
    del out
    picture = reading.read(case / "picture")
    rgb, alpha = picture.rgb, picture.alpha
    assert rgb.dtype == np.float32
    assert rgb.ndim == 3
    assert rgb.size
    assert rgb.shape[-1] == 3
    assert 0 <= rgb.min() <= rgb.max() <= 1
    assert alpha is None or (alpha.shape == rgb.shape[:2] and 0 <= alpha.min() <= alpha.max() <= 1)


def _read_map(case: Path, out: Path) -> None:
    del out
    found = masks.read(case / "picture", "map")
    total = sum(found.values())
    np.testing.assert_allclose(total, 1, atol=1e-5)
    masks.read_mask(case / "picture", "mask")


def _postscript(rng: Random, folder: Path) -> None:
    """PostScript is a program: Pillow would hand it to Ghostscript."""
    image = io.BytesIO()
    Image.fromarray(tiny.picture(8, 8)).save(image, "EPS")
    (folder / "picture").write_bytes(mutations.damaged(rng, image.getvalue()))


@functools.cache
def record() -> dict[str, Any]:
    """The record of a result, as it is embedded."""
    losses = {name: np.float32([2, 1]) for name in ("total", "content", "style", "tv")}
    settings = Settings(size=32, network="net.safetensors", iterations=2, init="start.png")
    return Stylization(
        image=np.zeros((4, 4, 3), np.float32),
        losses=losses,
        evaluations=np.int32([1, 2]),
        status="finished",
        restarts=0,
        compile_seconds=1.0,
        run_seconds=1.0,
        settings=settings,
        network="net",
        network_digest="sha256:0",
        sources={"content": "content.png", "style": ["style.png", "content.png"]},
        scales=(Scale(4, 4, 2),),
    ).record()


# Options that run, fetch or write something, and what else stylize() takes.
_NAMES = (*OUTPUTS, *Sources._fields, "callback", "offline", "progress", "preset", "network")


def embedded(text: str, form: str) -> bytes:
    """A picture that carries this text in place of the settings."""
    image, file = Image.fromarray(tiny.picture(8, 10)), io.BytesIO()
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt(metadata.KEY, text)
        image.save(file, form, pnginfo=info)
    else:
        block = Image.Exif()
        comment = b"ASCII\0\0\0" + text.encode("utf-8", "replace")
        block[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: comment}
        image.save(file, form, exif=block.tobytes())
    return file.getvalue()


def _make_settings(rng: Random, folder: Path) -> None:
    values = mutations.edited(rng, record(), _NAMES)
    if isinstance(values, dict) and rng.random() < 0.5:
        values["sources"] = mutations.edited(rng, values.get("sources"), _NAMES)
    text = mutations.text_of(rng, values).replace("\\ud800", "?")
    # EXIF ends at 64 KiB in most formats.
    form = rng.choice(("PNG", "PNG", "JPEG", "WEBP", "TIFF")) if len(text) < 60_000 else "PNG"
    data = embedded(text, form)
    (folder / "out.png").write_bytes(mutations.damaged(rng, data) if rng.random() < 0.2 else data)
    (folder / "net.safetensors").write_bytes(vgg())
    for name in ("content.png", "style.png", "start.png"):
        Image.fromarray(tiny.picture(8, 8)).save(folder / name)


def _read_settings(case: Path, out: Path) -> None:
    del out
    json.dumps(reading.read_settings(case / "out.png"), indent=2)
    found = recall(case / "out.png")
    network = Path(found["network"])
    assert network.name == str(network) or network.resolve().parent == case.resolve(), network
    allowed = {*Settings.__dataclass_fields__, *Sources._fields} - {"start"}
    assert found.keys() <= allowed, found.keys() - allowed
    for name in ("content", "style", "init", "content_regions", "style_regions", "keep"):
        for value in np.ravel(np.array(found.get(name), object)):
            if isinstance(value, Path):
                assert value.resolve().parent == case.resolve(), (name, value)


KINDS = (
    Kind("picture", _make, _read, share=25),
    Kind("label map", _make, _read_map),
    Kind("postscript", _postscript, _read, share=1),
    Kind("embedded settings", _make_settings, _read_settings, share=15),
)

"""Metadata of picture files: colour profiles, and our settings as JSON.

PNG holds the settings as text under the key `nst_jax`; other formats hold them in the EXIF tag
UserComment. (The standard tag ImageDescription would not do: galleries show it as a caption.)
"""

import functools
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from nst_jax.files.untrusted import parse_json

KEY = "nst_jax"
_COMMENT, _ASCII = ExifTags.Base.UserComment, b"ASCII\0\0\0"  # EXIF's prefix for ASCII text
_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_SPACE = slice(16, 20)  # the bytes of a profile's header that name its colour space
_BROKEN = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


@functools.cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB; its bytes are always the same."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 35 hold the time of creation. A fixed time lets equal pictures make equal files.
    return profile[:24] + np.array([2000, 1, 1, 0, 0, 0], ">u2").tobytes() + profile[36:]


def is_srgb(icc: bytes) -> bool:
    """Whether a profile is sRGB, whatever its name: it moves no colour by more than 1 of 255."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    moved = to_srgb(Image.fromarray(colours), icc)
    return moved is not None and int(np.abs(np.asarray(moved, int) - colours).max()) <= 1


def is_rgb(icc: bytes) -> bool:
    """Whether a profile is for RGB pictures, so that a result can be converted to it."""
    return icc[_SPACE] == b"RGB "


def to_srgb(image: Image.Image, icc: bytes) -> Image.Image | None:
    """Convert a picture of mode L, RGB or CMYK from its profile to sRGB, mode RGB.

    A grey picture may have an RGB profile. Returns None if the profile is broken or is for another
    kind of picture.
    """
    mode = _MODES.get(icc[_SPACE])
    if image.mode == "L" and mode == "RGB":
        image = image.convert("RGB")
    return _convert(image, icc, srgb_profile()) if mode == image.mode else None


def from_srgb(image: Image.Image, icc: bytes) -> Image.Image | None:
    """Convert an RGB picture from sRGB to another RGB profile; None if that is not possible."""
    return _convert(image, srgb_profile(), icc) if is_rgb(icc) else None


def _convert(image: Image.Image, source: bytes, target: bytes) -> Image.Image | None:
    try:
        return ImageCms.profileToProfile(
            image,
            io.BytesIO(source),
            io.BytesIO(target),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except _BROKEN:
        return None


def png_text(settings: Mapping[str, Any]) -> PngImagePlugin.PngInfo:
    """The settings as a text chunk of a PNG."""
    info = PngImagePlugin.PngInfo()
    info.add_text(KEY, json.dumps(dict(settings)))
    return info


def exif(settings: Mapping[str, Any]) -> bytes:
    """The settings as an EXIF block."""
    block = Image.Exif()
    block[ExifTags.IFD.Exif] = {_COMMENT: _ASCII + json.dumps(dict(settings)).encode("ascii")}
    return block.tobytes()


def find_settings(image: Image.Image) -> dict[str, Any] | None:
    """The settings that `png_text` or `exif` put into a picture; None if there are none."""
    text = image.info.get(KEY)
    if text is None:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(_COMMENT, b"")
        text = comment[len(_ASCII) :] if isinstance(comment, bytes) else comment
    try:
        found = parse_json(text)
    except (ValueError, TypeError):
        return None
    return found if isinstance(found, dict) else None

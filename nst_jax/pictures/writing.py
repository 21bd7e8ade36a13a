"""Write pictures: 8 bits, with colour profile and settings; files appear only when complete."""

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from nst_jax.errors import InputError
from nst_jax.files.atomic import check_place, write
from nst_jax.pictures import metadata

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def save(
    path: str | os.PathLike,
    rgb: Float[np.ndarray, "h w 3"],
    *,
    alpha: Float[np.ndarray, "h w"] | None = None,
    icc: bytes | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write a picture as PNG, JPEG, WebP or TIFF, by the path's suffix, with its colour profile.

    Values are rounded to 8 bits. JPEG has quality 95 and full colour resolution. WebP has quality
    95, and is lossless where there is alpha. TIFF is uncompressed, because only then can it hold
    the settings as EXIF. JPEG has no alpha: the picture is put on white, with a warning.

    Args:
        path: the file to write; it appears only when it is complete.
        rgb: sRGB-encoded values in [0, 1]; values outside are clipped.
        alpha: opacity in [0, 1], or None.
        icc: an RGB profile to convert to and to embed. None gives sRGB, also embedded, and so does
            a profile that cannot be converted to.
        settings: values to embed as JSON, for `read_settings`.
        overwrite: replace an existing file.

    Raises:
        InputError: `check_output` refuses the path, values are not finite, the picture is too large
            for the format, or the disk is full.
    """
    path = check_output(path, overwrite=overwrite)
    data = _encode(_FORMATS[path.suffix.lower()], rgb, alpha, icc, settings)
    write(path, data, overwrite=overwrite)
    return path


def check_output(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Check that `save` can write to `path`, and return the path. Call it before a long run.

    Raises:
        InputError: the suffix is unknown, the folder is missing or cannot be written to, or the
            file exists and `overwrite` is false.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"The output {str(path)!r} must end in one of {', '.join(_FORMATS)}: the suffix "
            "chooses the format."
        )
    return check_place(path, overwrite=overwrite)


def encode_png(
    rgb: Float[np.ndarray, "h w 3"], alpha: Float[np.ndarray, "h w"] | None = None
) -> bytes:
    """Encode an sRGB picture in [0, 1] as PNG, for display in notebooks."""
    return _encode("PNG", rgb, alpha)


def _encode(
    kind: str,
    rgb: Float[np.ndarray, "h w 3"],
    alpha: Float[np.ndarray, "h w"] | None = None,
    icc: bytes | None = None,
    settings: Mapping[str, Any] | None = None,
) -> bytes:
    if alpha is not None and kind == "JPEG":
        warnings.warn(
            "JPEG has no transparency, so the picture is laid on white: choose PNG, WebP or TIFF "
            "to keep it.",
            stacklevel=3,
        )
        rgb, alpha = rgb * alpha[..., None] + (1 - alpha[..., None]), None
    image, profile = Image.fromarray(_to_uint8(rgb)), metadata.srgb_profile()
    converted = None if icc is None else metadata.from_srgb(image, icc)
    if converted is not None:
        image, profile = converted, icc
    if alpha is not None:
        image.putalpha(Image.fromarray(_to_uint8(alpha)))
    options: dict[str, Any] = {
        "PNG": {},
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"quality": 95, "lossless": alpha is not None, "exact": True},
        "TIFF": {},
    }[kind]
    if settings is not None and kind == "PNG":
        options["pnginfo"] = metadata.png_text(settings)
    elif settings is not None:
        options["exif"] = metadata.exif(settings)
    file = io.BytesIO()
    try:
        image.save(file, kind, icc_profile=profile, **options)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"The picture of {image.width} x {image.height} pixels does not go into {kind} "
            f"({reason}): choose PNG or TIFF."
        ) from error
    return file.getvalue()


def _to_uint8(values: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    if not np.isfinite(values).all():
        raise InputError("The picture has values that are not finite, so it cannot be saved.")
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)

"""Read pictures from files, bytes, PIL pictures and arrays.

Only the modules of this folder deal with PIL, uint8, EXIF and alpha. Everywhere else a picture is
RGB float32 in [0, 1], (h, w, 3), with sRGB-encoded values. See also `writing`, `resizing` and
`metadata` (colour profiles, embedded settings).
"""

import contextlib
import io
import math
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from PIL import Image, ImageOps, UnidentifiedImageError

from nst_jax.errors import InputError
from nst_jax.pictures import metadata
from nst_jax.pictures.resizing import fit, resize_with_alpha
from nst_jax.pictures.sources import PictureSource, named, plain, read_bytes

MAX_PIXELS = 178_956_970
_LIMIT_VARIABLE = "NST_JAX_MAX_PIXELS"
_pillow_limit = threading.RLock()
# Formats that Pillow hands to other programs: PostScript can run anything in Ghostscript.
_FOREIGN = ("EPS",)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as the rest of the library sees it.

    Attributes:
        rgb: sRGB-encoded values, float32 in [0, 1].
        alpha: opacity, float32 in [0, 1]; `rgb` is not multiplied by it. None if all is opaque.
        icc: the source's colour profile, if `save` can convert back to it and it is not sRGB.
        original: height and width of the source; `rgb` may have been resized.
    """

    rgb: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"] | None = None
    icc: bytes | None = None
    original: tuple[int, int] | None = None


def read(
    source: PictureSource,
    *,
    size: int | None = None,
    what: str = "picture",
    max_pixels: int | None = None,
) -> Picture:
    """Read a picture from a file, bytes, a PIL picture or an array; rotate it and convert to sRGB.

    The rotation is the one that EXIF asks for. Animations give their first frame. Pillow decodes
    16-bit grey exactly, but reduces 16-bit colour to 8 bits.

    Args:
        source: a path, the bytes of a file, an open file, a PIL picture, an array, or a result
            with an `image`. Arrays have the shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) with
            straight alpha, and hold uint8, uint16, or floats in [0, 1]. Floats up to a thousandth
            outside are clipped.
        size: long side of the result in pixels; the picture is enlarged or reduced to it. None
            keeps the picture's size.
        what: name of the picture in error messages.
        max_pixels: limit on the number of pixels; pictures with more are refused, and so are
            pictures with a side longer than 1.5 times its square root. None takes the environment
            variable `NST_JAX_MAX_PIXELS`, or else 178,956,970 (20,066 a side).

    Raises:
        InputError: the picture is missing, empty, truncated, too large or no picture, or its
            values or shape cannot be used.
    """
    limit = _limit(max_pixels)
    if size is not None and size < 1:
        raise InputError(f"size is the long side in pixels, at least 1, or None; got {size}.")
    name = named(source, what)
    source = plain(source, name)
    if isinstance(source, str | os.PathLike | bytes | Image.Image):
        picture = _decode(source, name, limit)
    else:
        picture = _from_array(cast(np.ndarray, source), name)
    height, width, _ = picture.rgb.shape
    original = height, width
    if size is None:
        return replace(picture, original=original)
    h, w = fit(*original, size)
    _require_pixels(h, w, limit, f"{name} at size={size}")
    rgb, alpha = resize_with_alpha(picture.rgb, picture.alpha, (h, w))
    return Picture(rgb, alpha, picture.icc, original)


def _decode(source: str | os.PathLike | bytes | Image.Image, name: str, limit: int) -> Picture:
    with _opened(source, name, limit) as image:
        image.load()
        icc = image.info.get("icc_profile") or None
        with contextlib.suppress(Exception):  # without readable EXIF there is no rotation
            image = ImageOps.exif_transpose(image)
        pixels, alpha = _planes(image, name)
        numbers = np.asarray(image) if image.mode.startswith("I") else None
    if numbers is not None:
        _tell_of_8_bits(numbers, name)
    if icc and metadata.is_srgb(icc):
        icc = None
    rgb = _in_srgb(pixels, icc) if icc else _rgb(pixels)
    if rgb is None:
        warnings.warn(
            f"The colour profile of the {name} cannot be used; its colours are taken as sRGB.",
            stacklevel=3,
        )
        rgb, icc = _rgb(pixels), None
    if icc and not metadata.is_rgb(icc):
        icc = None  # results are RGB, and cannot be converted back to this profile
    return Picture(rgb, None if alpha is None or alpha.min() == 1 else alpha, icc)


def read_numbers(
    source: str | os.PathLike | bytes | Image.Image, *, what: str = "picture"
) -> Int[np.ndarray, "h w"] | None:
    """The whole numbers of a grey picture of 16 or 32 bits, upright; None for any other.

    Raises:
        InputError: as `read`.
    """
    name = named(source, what)
    with _opened(source, name, _limit(None)) as image:
        if not image.mode.startswith("I"):
            return None
        return np.asarray(ImageOps.exif_transpose(image)).astype(np.int64)


def _planes(
    image: Image.Image, name: str
) -> tuple[Float[np.ndarray, "h w"] | Image.Image, Float[np.ndarray, "h w"] | None]:
    """Grey values in [0, 1] or a picture in mode RGB or CMYK, and its alpha or None."""
    if image.mode.startswith("I;16"):
        values, clear = np.asarray(image), image.info.get("transparency")
        alpha = None if clear is None else (values != clear).astype(np.float32)
        return values / np.float32(65535), alpha
    if image.mode in ("I", "F"):
        return _unit(np.asarray(image), 65535 if image.mode == "I" else 1, name), None
    if image.mode == "CMYK":
        return image, None
    if image.mode in ("1", "L", "LA", "La"):
        grey, alpha = np.moveaxis(np.asarray(image.convert("LA")) / np.float32(255), -1, 0)
        return grey, alpha
    if not image.has_transparency_data:
        return image.convert("RGB"), None
    image = image.convert("RGBA")
    return image.convert("RGB"), np.asarray(image.getchannel("A")) / np.float32(255)


def _rgb(pixels: Float[np.ndarray, "h w"] | Image.Image) -> Float[np.ndarray, "h w 3"]:
    if isinstance(pixels, np.ndarray):
        return np.repeat(pixels[..., None], 3, axis=-1)
    return np.asarray(pixels.convert("RGB")) / np.float32(255)


def _in_srgb(
    pixels: Float[np.ndarray, "h w"] | Image.Image, icc: bytes
) -> Float[np.ndarray, "h w 3"] | None:
    if isinstance(pixels, Image.Image):
        converted = metadata.to_srgb(pixels, icc)
        return None if converted is None else _rgb(converted)
    # Grey may have more than 8 bits but Pillow's colour management has 8: convert a ramp of 256
    # greys, and interpolate in it.
    steps = np.arange(256, dtype=np.uint8)
    ramp = metadata.to_srgb(Image.fromarray(steps[None]), icc)
    if ramp is None:
        return None
    curves = np.moveaxis(_rgb(ramp)[0], -1, 0)
    channels = [np.interp(pixels, steps / 255, curve) for curve in curves]
    return np.stack(channels, axis=-1).astype(np.float32)


def _from_array(array: np.ndarray, name: str) -> Picture:
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[-1] not in (1, 3, 4) or not values.size:
        raise InputError(
            f"The {name} has the shape {array.shape}; expected (height, width) or "
            "(height, width, channels) with 1, 3 or 4 channels."
        )
    if array.dtype == np.uint16:
        _tell_of_8_bits(array, name)
    if array.dtype in (np.uint8, np.uint16):
        values = values / np.float32(np.iinfo(array.dtype).max)
    elif array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        values = _unit(values, 1, name)
    else:
        raise InputError(
            f"The {name} has values of type {array.dtype}; expected uint8, uint16, or floats "
            "in [0, 1]."
        )
    rgb, alpha = values[..., :3], values[..., 3] if values.shape[-1] == 4 else None
    if rgb.shape[-1] == 1:
        rgb = np.repeat(rgb, 3, axis=-1)
    return Picture(rgb, None if alpha is None or alpha.min() == 1 else alpha)


def _tell_of_8_bits(values: np.ndarray, name: str) -> None:
    """Warn of values in 16 bits that look as if they were meant in 8: they are nearly black."""
    highest = int(values.max())
    if 0 < highest < 256:
        warnings.warn(
            f"The {name} has values of 16 bits, but none above {highest}: it is nearly black. If "
            "its white is 255, give it in 8 bits (astype('uint8')).",
            stacklevel=4,
        )


def _unit(values: np.ndarray, top: int, name: str) -> Float[np.ndarray, "..."]:
    """Scale values from [0, top] to float32 in [0, 1]."""
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"The {name} has values that are not finite (NaN or infinite).")
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 * top and high <= 1.001 * top):
        raise InputError(
            f"The {name} has values from {low:g} to {high:g}; expected 0 to {top}: scale them."
        )
    return np.clip(values / top, 0, 1)


@contextlib.contextmanager
def _opened(
    source: str | os.PathLike | bytes | Image.Image, name: str, limit: int | None = None
) -> Iterator[Image.Image]:
    """Open a picture and yield it; errors while it is decoded become an `InputError`."""
    data = b"" if isinstance(source, Image.Image) else read_bytes(source, name)
    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = source if isinstance(source, Image.Image) else _open(data)
            if limit is not None:
                _require_pixels(image.height, image.width, limit, name)
                Image.MAX_IMAGE_PIXELS = limit  # for pictures inside the file, as in icons
            yield image
        except InputError:
            raise
        except MemoryError:
            raise InputError(
                f"The {name} needs more memory than there is, or is damaged: export it again, "
                "smaller."
            ) from None
        except UnidentifiedImageError:
            raise InputError(
                f"The {name} is not in a format that can be read: export it as PNG or JPEG."
            ) from None
        except Exception as error:  # decoders raise any kind of exception on damaged files
            if isinstance(source, Image.Image) and "closed" in str(error):
                raise InputError(f"The {name} is closed: open it again.") from None
            raise InputError(
                f"The {name} is damaged or cut short and cannot be decoded: export it again."
            ) from error
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _open(data: bytes) -> Image.Image:
    Image.init()
    return Image.open(io.BytesIO(data), formats=[f for f in Image.OPEN if f not in _FOREIGN])


def _limit(max_pixels: int | None) -> int:
    given = os.environ.get(_LIMIT_VARIABLE, MAX_PIXELS) if max_pixels is None else max_pixels
    try:
        limit = int(given)
    except ValueError:
        limit = 0
    if limit < 1:
        raise InputError(
            f"The limit max_pixels (environment variable {_LIMIT_VARIABLE}) is a number of pixels, "
            f"at least 1; got {given!r}."
        )
    return limit


def _require_pixels(height: int, width: int, limit: int, name: str) -> None:
    # A side longer than 1.5 sqrt(limit) needs the limit that would just allow this side.
    needed = max(height * width, -(-4 * max(height, width) ** 2 // 9))
    if needed > limit:
        raise InputError(
            f"The {name} is {width} x {height} pixels, beyond the limit of {limit:,} pixels "
            f"({math.isqrt(9 * limit // 4):,} a side): make it smaller, or raise the limit with "
            f"max_pixels={needed} or the environment variable {_LIMIT_VARIABLE}={needed}."
        )


def read_settings(source: str | os.PathLike | bytes) -> dict[str, Any]:
    """Read the settings that `save` embedded in a picture, given as a path or the file's bytes.

    Raises:
        InputError: the picture cannot be read, or has no settings.
    """
    name = named(source, "picture")
    with _opened(source, name) as image:
        settings = metadata.find_settings(image)
    if settings is None:
        raise InputError(
            f"The {name} carries no settings: nst-jax embeds them in what it writes, but other "
            "programs may drop them."
        )
    return settings

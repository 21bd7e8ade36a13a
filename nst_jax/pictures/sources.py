"""What a picture may be given as: a file, bytes, an array, and what else has a picture."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from PIL import Image

from nst_jax.errors import InputError

# Files that are taken for pictures where a folder is given.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


@runtime_checkable
class ArrayLike(Protocol):
    """Anything that numpy can read as an array, such as arrays of numpy and JAX."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """The values as a numpy array."""
        ...


@runtime_checkable
class Readable(Protocol):
    """An open file, or `io.BytesIO`."""

    def read(self) -> bytes:
        """Return the bytes that are left."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """A result, such as a `Stylization`, whose picture is its attribute `image`."""

    image: Any
    alpha: Any


PictureSource = (
    str
    | os.PathLike
    | bytes
    | bytearray
    | memoryview
    | Image.Image
    | ArrayLike
    | Readable
    | Pictured
)


def named(source: Any, what: str) -> str:
    """What errors call a picture: its file, or the type that was given."""
    if isinstance(source, str | os.PathLike):
        return f"{what} {os.fsdecode(source)!r}"
    if isinstance(name := getattr(source, "name", None), str):  # an open file
        return f"{what} {name!r}"
    return f"{what} (given as {type(source).__name__})"


def distinct(names: Sequence[str]) -> list[str]:
    """Number the names that were there before: `1.jpg`, `1.jpg` become `1.jpg`, `1-2.jpg`.

    A number that would make one of the other names is left out.
    """
    found: list[str] = []
    taken, last = set(names), dict.fromkeys(names, 0)
    for name in names:
        stem, suffix = os.path.splitext(name)
        last[name] += 1
        free = name
        while last[name] > 1 and free in taken:
            free = f"{stem}-{last[name]}{suffix}"
            last[name] += free in taken
        taken.add(free)
        found.append(free)
    return found


def plain(source: Any, name: str) -> str | os.PathLike | bytes | Image.Image | np.ndarray:
    """A path, bytes, a PIL picture or numpy's array, of whatever was given."""
    if source is None:
        raise InputError(f"The {name} is missing: give a path, bytes, a PIL picture or an array.")
    if isinstance(source, str | os.PathLike) and not os.fsdecode(source):
        raise InputError(f"The {name} has an empty name: give a picture file.")
    if isinstance(source, str | os.PathLike | bytes | Image.Image):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, list | tuple):
        raise InputError(f"The {name} is a list of {len(source)}; expected a single picture.")
    if isinstance(source, Pictured) and not isinstance(source, np.ndarray):
        rgb = np.asarray(source.image)
        return rgb if source.alpha is None else np.dstack([rgb, source.alpha])
    if isinstance(source, Readable):
        data = _read(source)
        if not isinstance(data, bytes):
            raise InputError(f"The {name} gives text, not bytes: open the file with mode 'rb'.")
        return data
    # PyTorch's tensors may carry a gradient or live on a device.
    for step in ("detach", "cpu"):
        source = getattr(source, step)() if hasattr(source, step) else source
    try:
        return np.asarray(source)
    except Exception as error:
        raise InputError(f"The {name} cannot be read as an array ({error}).") from None


def _read(file: Readable) -> Any:
    """Read an open file, and leave it as it was if that is possible: a sweep reads it again."""
    if not getattr(file, "seekable", bool)():
        return file.read()
    seek: Any = file
    position = seek.tell()
    data = file.read()
    seek.seek(position)
    return data


def read_bytes(source: str | os.PathLike | bytes, name: str) -> bytes:
    """The bytes of a file, or those given.

    Raises:
        InputError: the file is missing, empty, a folder, a URL, or cannot be read.
    """
    if not isinstance(source, bytes) and re.match(r"[A-Za-z][\w+.-]+://", os.fsdecode(source)):
        raise InputError(f"The {name} is a URL: download it first and give the file.")
    try:
        if not isinstance(source, bytes):
            source = Path(os.fsdecode(source)).expanduser().read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"The {name} does not exist: check the path.") from None
    except IsADirectoryError:
        raise InputError(f"The {name} is a folder: give a picture file.") from None
    except PermissionError:
        raise InputError(
            f"The {name} cannot be read for lack of permission: change its permissions."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The {name} cannot be read ({reason}): check the path.") from None
    if not source:
        raise InputError(f"The {name} is empty (0 bytes): export or copy it again.")
    return cast(bytes, source)

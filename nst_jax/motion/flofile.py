"""Read and write flows as `.flo` files, the format of the Middlebury benchmark (Baker et al. 2011).

A file has the number 202021.25 (the bytes "PIEH"), the width and the height as 32-bit integers, and
the flow row by row in float32; all little-endian. Values above 1e9 mean that nothing is known.
"""

import os
import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.files import atomic
from nst_jax.files.untrusted import require_bytes
from nst_jax.typing import AnyArray

_HEADER = struct.Struct("<4sii")
_TAG = b"PIEH"
_KNOWN, _UNKNOWN = 1e9, 1e10


def read_flow(path: str | os.PathLike) -> Float[np.ndarray, "h w 2"]:
    """Read a `.flo` file; NaN where its motion is not known.

    Raises:
        InputError: the file cannot be read, is no `.flo` file, or is cut short or too long.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or not header.startswith(_TAG):
                raise ValueError('it does not begin with "PIEH" and a size: it is no .flo file')
            _, width, height = _HEADER.unpack(header)
            if width < 1 or height < 1:
                raise ValueError(f"it states a size of {width}x{height} pixels")
            wanted = width * height * 8
            require_bytes(wanted)
            found = os.fstat(file.fileno()).st_size - _HEADER.size
            if found != wanted:
                raise ValueError(f"{width}x{height} pixels take {wanted:,} bytes, it has {found:,}")
            values = np.frombuffer(file.read(wanted), "<f4").reshape(height, width, 2)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"The flow {str(path)!r} cannot be read ({reason}): check the path, or make it again."
        ) from None
    known = (np.abs(values) <= _KNOWN).all(-1, keepdims=True)
    return np.where(known, values, np.float32(np.nan)).astype(np.float32)


def write_flow(path: str | os.PathLike, flow: Float[AnyArray, "h w 2"]) -> None:
    """Write a flow as a `.flo` file, which appears when it is complete; NaN is written as 1e10.

    Raises:
        InputError: the array is no flow, or the file cannot be written.
    """
    values = np.asarray(flow, "<f4")
    if values.ndim != 3 or values.shape[2] != 2 or not values.size:
        raise InputError(f"The flow has the shape {values.shape}; expected (height, width, 2).")
    height, width, _ = values.shape
    values = np.where(np.isfinite(values), values, np.float32(_UNKNOWN)).astype("<f4")
    atomic.write(Path(path), _HEADER.pack(_TAG, width, height) + values.tobytes())

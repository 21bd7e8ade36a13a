"""Read MATLAB's files of version 5: cells, structs, texts and numbers.

scipy's reader believes the sizes that a file states: a damaged file of some kilobytes makes it take
gigabytes of memory, or crash the process. This one takes no more than there is. The format is
described in "MAT-File Format" by The MathWorks (R2019a), chapter 1.
"""

import math
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nst_jax.files import untrusted

_Order = Literal["<", ">"]
_HEADER, _MATRIX, _COMPRESSED = 128, 14, 15
_CELL, _STRUCT, _TEXT, _NUMBERS = 1, 2, 4, range(6, 16)
_DEEPEST = 32
_DTYPES = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"},
    **{16: "u1", 17: "u2", 18: "u4"},  # texts in UTF-8, UTF-16 and UTF-32
}


def read(path: Path, wanted: Collection[str]) -> dict[str, Any]:
    """The wanted variables by name.

    Returns:
        Cells as lists, structs as dicts (several as a list of dicts), texts as strings, numbers as
        arrays with MATLAB's shape. Anything else is None.

    Raises:
        ValueError, KeyError, struct.error, zlib.error: the file is damaged, or holds too much.
    """
    found, total = {}, 0
    with path.open("rb") as file:
        header = file.read(_HEADER)
        order: _Order = "<" if header[126:128] == b"IM" else ">"
        while tag := file.read(8):
            kind, size = struct.unpack(f"{order}2I", tag)
            data = file.read(size)
            if kind == _COMPRESSED:
                data = zlib.decompressobj().decompress(data, untrusted.MAX_BYTES - total + 1)
                total += len(data)
                untrusted.require_bytes(total)
                kind, data = _Parts(data, order).next()
            elif len(data) < size:
                raise ValueError("cut short")
            if kind == _MATRIX:
                name, value = _variable(_Parts(data, order), wanted)
                found[name] = value
    return {name: found[name] for name in wanted if name in found}


class _Parts:
    """The data elements inside another one, in order."""

    def __init__(self, data: bytes | memoryview, order: _Order):
        self.data = memoryview(data)
        self.order: _Order = order

    def next(self) -> tuple[int, memoryview]:
        """The kind of the next element, and its data."""
        (first,) = struct.unpack(f"{self.order}I", self.data[:4])
        if first >> 16:  # a small element has four bytes in its tag
            kind, size, start, length = first & 0xFFFF, first >> 16, 4, 8
        else:
            kind, size = struct.unpack(f"{self.order}2I", self.data[:8])
            start, length = 8, 8 + -(-size // 8) * 8
        found = self.data[start : start + size]
        if len(found) < size or start + size > length:
            raise ValueError("cut short")
        self.data = self.data[length:]
        return kind, found

    def numbers(self) -> np.ndarray:
        """The next element, as a vector of numbers."""
        kind, data = self.next()
        return np.frombuffer(data, np.dtype(_DTYPES[kind]).newbyteorder(self.order))


def _variable(
    parts: _Parts, wanted: Collection[str] | None = None, depth: int = 0
) -> tuple[str, Any]:
    """The name and value of a matrix; not wanted ones are not read."""
    if depth == _DEEPEST:
        raise ValueError("nested too deeply")
    if not parts.data:
        return "", np.zeros((0, 0))
    kind = int(parts.numbers()[0]) & 0xFF
    shape = tuple(int(n) for n in parts.numbers())
    name = parts.numbers().tobytes().decode("ascii")
    if wanted is not None and name not in wanted:
        return name, None
    count = math.prod(shape)
    if min(shape) < 0:
        raise ValueError("a shape below zero")
    if kind == _CELL:
        return name, [_next(parts, depth) for _ in range(count)]
    if kind == _STRUCT:
        length = int(parts.numbers()[0])
        names = parts.numbers().tobytes()
        starts = range(0, len(names), length)
        fields = [names[i : i + length].rstrip(b"\0").decode("ascii") for i in starts]
        if not fields:
            return name, {}
        several = [{field: _next(parts, depth) for field in fields} for _ in range(count)]
        return name, several[0] if count == 1 else several
    if kind == _TEXT:
        return name, "".join(map(chr, parts.numbers().tolist()))
    return name, parts.numbers().reshape(shape, order="F") if kind in _NUMBERS else None


def _next(parts: _Parts, depth: int) -> Any:
    kind, data = parts.next()
    if kind != _MATRIX:
        raise ValueError("a cell without a matrix")
    return _variable(_Parts(data, parts.order), depth=depth + 1)[1]

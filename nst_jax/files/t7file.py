"""Read Torch7's files (`.t7`, binary): tables, tensors, and the fields of objects.

The format is that of `File.lua` of torch7: each value has a number for its type; tables, objects
and functions have an index too, under which they are named again. Nothing in a file is run:
functions are skipped, and an object is its class name with its fields.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.lib.stride_tricks import as_strided

from nst_jax.errors import InputError
from nst_jax.files.untrusted import require_bytes

# A table or an object with the index 1, which is how such files begin.
STARTS = (struct.pack("<ii", 3, 1), struct.pack("<ii", 4, 1))
_NIL, _NUMBER, _STRING, _TABLE, _OBJECT, _BOOLEAN, _FUNCTIONS = 0, 1, 2, 3, 4, 5, (6, 7, 8)
_MOST_VALUES = 200_000  # in one file; a network with a hundred layers has 10,000
_DEEPEST = 100
_DTYPES = {
    **{"Float": "<f4", "Double": "<f8", "Cuda": "<f4", "CudaDouble": "<f8"},
    **{"Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8", "CudaLong": "<i8"},
}


@dataclass(eq=False)
class Thing:
    """An object of a Torch class.

    Attributes:
        kind: name of the class, such as `nn.Sequential`.
        fields: its fields by name.
    """

    kind: str
    fields: Mapping[Any, Any] = field(default_factory=dict)


def read(path: Path) -> Any:
    """Read the value in a file.

    Returns:
        Plain values, dicts for tables, arrays for tensors, `Thing`s for other objects. A tensor
        without values is None, and so is a function.

    Raises:
        InputError: the file is truncated, damaged, too large, or of another kind.
    """
    try:
        require_bytes(path.stat().st_size)
        return _Reader(path.read_bytes()).value(0)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise InputError(
            f"The file {path} cannot be read as a file of Torch7: it is truncated, damaged, or of "
            f"another kind ({error})."
        ) from error


class _Reader:
    def __init__(self, data: bytes):
        self.data, self.at, self.left = memoryview(data), 0, _MOST_VALUES
        self.known: dict[int, Any] = {}
        self.total = 0  # bytes of the tensors, which may share their storage

    def value(self, depth: int) -> Any:
        self.left -= 1
        if depth > _DEEPEST or self.left < 0:
            raise ValueError("it is nested too deeply, or has too many values")
        kind = self.number("i")
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return self.number("d")
        if kind == _STRING:
            return self.text()
        if kind == _BOOLEAN:
            return bool(self.number("i"))
        index = self.number("i")
        if index in self.known:
            return self.known[index]
        if kind == _TABLE:
            found: dict[Any, Any] = {}
            self.known[index] = found
            self.fill(found, depth)
            return found
        if kind == _OBJECT:
            return self.object(index, depth)
        if kind in _FUNCTIONS:
            self.known[index] = None
            self.bytes(self.number("i"))
            self.value(depth + 1)  # what it closes over
            return None
        raise ValueError(f"a value of the unknown type {kind}")

    def fill(self, table: dict[Any, Any], depth: int) -> None:
        for _ in range(self.number("i")):
            key, value = self.value(depth + 1), self.value(depth + 1)
            if not isinstance(key, str | float | bool):
                raise ValueError("a table with keys that are not plain")
            table[key] = value

    def object(self, index: int, depth: int) -> Any:
        name = self.text()
        if name.startswith("V "):  # the version of the format comes first
            name = self.text()
        library, _, kind = name.partition(".")
        if library == "torch" and kind.endswith("Storage"):
            dtype = np.dtype(_DTYPES[kind.removesuffix("Storage")])
            found = np.frombuffer(self.bytes(self.number("q") * dtype.itemsize), dtype)
            self.known[index] = found
            return found
        if library == "torch" and kind.endswith("Tensor"):
            self.known[index] = found = self.tensor(depth)
            return found
        found = Thing(name)
        self.known[index] = found
        fields = self.value(depth + 1)
        found.fields = fields if isinstance(fields, dict) else {}
        return found

    def tensor(self, depth: int) -> Shaped[np.ndarray, "..."] | None:
        count = self.number("i")
        if not 0 <= count <= 16:
            raise ValueError(f"a tensor of {count} dimensions")
        shape = [self.number("q") for _ in range(count)]
        strides = [self.number("q") for _ in range(count)]
        offset, storage = self.number("q") - 1, self.value(depth + 1)
        if storage is None or not count:
            return None
        if not isinstance(storage, np.ndarray) or min(*shape, *strides, offset) < 0:
            raise ValueError("a tensor of impossible shape")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if 0 not in shape and last >= storage.size:
            raise ValueError("a tensor's data is incomplete")
        self.total += math.prod(shape) * storage.itemsize
        require_bytes(self.total)
        steps = [step * storage.itemsize for step in strides]
        return as_strided(storage[offset:], shape, steps, writeable=False).copy()

    def number(self, kind: str) -> Any:
        (found,) = struct.unpack(f"<{kind}", self.bytes(struct.calcsize(f"<{kind}")))
        return found

    def text(self) -> str:
        return bytes(self.bytes(self.number("i"))).decode("latin-1")

    def bytes(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError("cut short")
        self.at += count
        return self.data[self.at - count : self.at]

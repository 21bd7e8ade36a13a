"""Read the stored tensors of ONNX files, without the package `onnx`.

An ONNX file is a message of Protocol Buffers: a sequence of numbered fields, some of which are
messages themselves. Of these, only the few that hold tensors and names are read here. The numbers
are those of `onnx.proto`; the encoding is described at protobuf.dev/programming-guides/encoding.
The graph is never run: a converter knows its network by the names of the tensors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from nst_jax.errors import InputError
from nst_jax.files.untrusted import require_bytes

_MOST_FIELDS = 500_000  # in one file; a network with a thousand operations has 20,000
START = b"\x08"  # the first field is the version, a number
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
# Of ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto, in this order.
_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_INPUT, _OUTPUT, _KIND, _ATTRIBUTE = 1, 2, 4, 5
_NAME, _INTEGER = 1, 3
_DIMS, _TYPE, _LABEL, _RAW, _LOCATION = 1, 2, 8, 9, 14
_PACKED = {4: "<f4", 10: "<f8"}  # fields of values that are not raw; those below are varints
_COUNTED = (5, 7, 11)
_DTYPES = {
    **{1: "f4", 2: "u1", 3: "i1", 4: "u2", 5: "i2", 6: "i4", 7: "i8", 9: "?"},
    **{10: "f2", 11: "f8", 12: "u4", 13: "u8"},
}


@dataclass(frozen=True, eq=False)
class _Scaled:
    """A dequantised tensor: names of what is stored, and the axis of the scales."""

    values: str
    scale: str
    zero: str | None
    axis: int


class Graph:
    """The stored tensors of an ONNX file.

    Attributes:
        path: the file.
        names: names of the tensors, as they are stored, and of those that the graph dequantises.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, damaged, too large, or of another kind.
    """

    def __init__(self, path: Path):
        self.path = path
        self._left = _MOST_FIELDS
        self._tensors: dict[str, memoryview] = {}
        self._scaled: dict[str, _Scaled] = {}
        try:
            require_bytes(path.stat().st_size)
            (graph,) = (v for f, v in self._fields(memoryview(path.read_bytes())) if f == _GRAPH)
            for field, value in self._fields(_bytes(graph)):
                if field == _INITIALIZER:
                    names = [_text(v) for f, v in self._fields(_bytes(value)) if f == _LABEL]
                    self._tensors[names[-1] if names else ""] = _bytes(value)
                elif field == _NODE:
                    self._note(_bytes(value))
        except (OSError, ValueError, OverflowError) as error:
            raise InputError(
                f"The file {path} cannot be read as an ONNX file: it is truncated, damaged, or of "
                f"another kind ({error})."
            ) from error
        stored = {name for name, how in self._scaled.items() if how.values in self._tensors}
        self.names = frozenset(self._tensors) | stored

    def __getitem__(self, name: str) -> Float[np.ndarray, "..."]:
        """A tensor in float32.

        Raises:
            InputError: the tensor is damaged, or its values are in another file.
            KeyError: there is none of this name.
        """
        how = self._scaled.get(name)
        data = self._tensors[how.values if how else name]
        try:
            values = self._values(data)
            require_bytes(8 * values.size)
            if how is None:
                return np.asarray(values, np.float32)
            scale = self._values(self._tensors[how.scale])
            zero = self._values(self._tensors[how.zero]) if how.zero else np.zeros(())
            if scale.size > 1:  # one for each slice along the axis
                along = [-1 if n == how.axis % values.ndim else 1 for n in range(values.ndim)]
                scale, zero = scale.reshape(along), np.reshape(zero, along)
            found = (values.astype(np.float64) - zero) * scale
            if found.shape != values.shape:
                raise ValueError("scales that do not fit")
            return found.astype(np.float32)
        except (KeyError, ValueError, OverflowError, ZeroDivisionError) as error:
            raise InputError(f"The tensor {name} of {self.path} is damaged ({error}).") from error

    def _fields(self, data: memoryview) -> Iterator[tuple[int, "int | memoryview"]]:
        """The fields of a message in order: number and value."""
        at = 0
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                raise ValueError("it has too many parts")
            key, at = _varint(data, at)
            kind = key & 7
            if kind == _VARINT:
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            size = {_EIGHT: 8, _FOUR: 4}.get(kind, 0)
            if kind == _BYTES:
                size, at = _varint(data, at)
            elif not size:
                raise ValueError("a field of unknown kind")
            if at + size > len(data):
                raise ValueError("cut short")
            yield key >> 3, data[at : at + size]
            at += size

    def _note(self, node: memoryview) -> None:
        """Keep what a node dequantises, if that is what it does."""
        inputs, output, kind, axis = [], "", "", 1
        for field, value in self._fields(node):
            if field == _INPUT:
                inputs.append(_text(value))
            elif field == _OUTPUT:
                output = _text(value)
            elif field == _KIND:
                kind = _text(value)
            elif field == _ATTRIBUTE:
                own = dict(self._fields(_bytes(value)))
                if own.get(_NAME) == b"axis":
                    axis = _signed(own.get(_INTEGER, 0))
        if kind == "DequantizeLinear" and len(inputs) in (2, 3):
            values, scale, *zero = inputs
            self._scaled[output] = _Scaled(values, scale, zero[0] if zero else None, axis)

    def _values(self, tensor: memoryview) -> np.ndarray:
        dims: list[int] = []
        kind, raw, parts = 0, None, []
        for field, value in self._fields(tensor):
            if field == _DIMS:
                dims += [value] if isinstance(value, int) else _varints(value).tolist()
            elif field == _TYPE:
                kind = _signed(value)
            elif field == _RAW:
                raw = _bytes(value)
            elif field == _LOCATION and value:
                raise ValueError("its values are in another file")
            elif field in _PACKED:
                parts.append(np.frombuffer(_bytes(value), _PACKED[field]))
            elif field in _COUNTED:
                one = isinstance(value, int)
                parts.append(np.array([_signed(value)]) if one else _varints(_bytes(value)))
        if kind not in _DTYPES:
            raise ValueError(f"values of the unknown type {kind}")
        dtype = np.dtype(_DTYPES[kind]).newbyteorder("<")
        if raw is not None:
            return np.frombuffer(raw, dtype).reshape(dims)
        found = np.concatenate(parts) if parts else np.zeros(0)
        if kind == 10:  # float16: its bits as numbers
            return found.astype(np.uint16).view(np.float16).reshape(dims)
        return found.astype(dtype).reshape(dims)


def _bytes(value: "int | memoryview") -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


def _text(value: "int | memoryview") -> str:
    return bytes(_bytes(value)).decode("utf-8")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    found = 0
    for place in range(10):
        if at + place >= len(data):
            break
        byte = data[at + place]
        found |= (byte & 127) << 7 * place
        if byte < 128:
            return found, at + place + 1
    raise ValueError("a number without end")


def _signed(number: "int | memoryview") -> int:
    if not isinstance(number, int):
        raise ValueError("bytes where a number belongs")
    number &= 2**64 - 1
    return number - 2**64 if number >= 2**63 else number


def _varints(data: memoryview) -> Int[np.ndarray, " n"]:
    """Many such numbers, one after the other."""
    raw: UInt8[np.ndarray, " m"] = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 128)
    if raw.size and (not ends.size or ends[-1] != raw.size - 1):
        raise ValueError("a number without end")
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > 10:
        raise ValueError("a number without end")
    found = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max(initial=0))):
        more = lengths > place
        bits = (raw[starts[more] + place] & 127).astype(np.uint64)
        found[more] |= bits << np.uint64(7 * place)
    return found.view(np.int64)

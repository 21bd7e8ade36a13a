"""Files in formats of other programs: ONNX and Torch7."""

import struct

import numpy as np


def varint(number):
    found = b""
    number &= 2**64 - 1
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def field(number, value):
    """A field of a message of Protocol Buffers: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10}


def tensor(name, values, *, raw=True):
    """A TensorProto; without `raw`, its values are in fields of their own."""
    dims = b"".join(field(1, n) for n in values.shape)
    kind = field(2, _TYPES[values.dtype.name])
    if raw:
        data = field(9, values.tobytes())
    elif values.dtype == np.float32:
        data = field(4, values.tobytes())
    else:
        data = field(5, b"".join(varint(int(n)) for n in values.reshape(-1)))
    return dims + kind + data + field(8, name)


def onnx(tensors, nodes=()):
    """An ONNX file; `nodes` are operations with their inputs, output and an axis."""
    graph = b""
    for kind, inputs, output, axis in nodes:
        node = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)
        graph += field(1, node + field(5, field(1, "axis") + field(3, axis) + field(20, 2)))
    graph += b"".join(field(5, one) for one in tensors)
    return field(1, 8) + field(2, "a test") + field(7, graph + field(2, "main"))


class Thing(dict):
    """An object of a Torch class."""

    def __init__(self, kind, **fields):
        super().__init__(fields)
        self.kind = kind


class T7Writer:
    """Writes values as Torch7's binary files have them."""

    def __init__(self):
        self.data, self.index = b"", 0

    def number(self, kind, *values):
        self.data += struct.pack(f"<{len(values)}{kind}", *values)

    def head(self, kind):
        self.index += 1
        self.number("i", kind, self.index)

    def text(self, text):
        self.number("i", len(text))
        self.data += text.encode()

    def write(self, value):
        if value is None:
            self.number("i", 0)
        elif isinstance(value, bool):
            self.number("i", 5, value)
        elif isinstance(value, int | float):
            self.number("i", 1)
            self.number("d", value)
        elif isinstance(value, str):
            self.number("i", 2)
            self.text(value)
        elif isinstance(value, np.ndarray):
            self.head(4)
            self.text("V 1")
            self.text("torch.FloatTensor")
            self.number("i", value.ndim)
            steps = [step // value.itemsize for step in value.strides]
            self.number("q", *value.shape, *steps, 2)
            self.head(4)
            self.text("V 1")
            self.text("torch.FloatStorage")
            self.number("q", value.size + 1)
            self.data += np.append(np.float32(0), value).astype(np.float32).tobytes()
        else:
            self.head(4 if isinstance(value, Thing) else 3)
            if isinstance(value, Thing):
                self.text("V 1")
                self.text(value.kind)
                self.head(3)
            self.number("i", len(value))
            for key, one in value.items():
                self.write(key)
                self.write(one)
        return self

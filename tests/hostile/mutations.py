"""Damage valid files. Every function takes a random generator first, and leaves its input alone."""

import copy
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

# What programs fail on: ends of ranges, and sizes that do not fit into memory.
WIDE = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 65535, 2**16, 2**24, 2**31 - 1, 2**31)
WIDE += (2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
# Names and places that an edited file must not make us use; `outside` lies beside the case.
PLACES = (
    "../outside/secret.png",
    "/etc/passwd",
    "..",
    ".",
    "",
    "~/.ssh/id_rsa",
    "..\\outside\\secret.png",
    "C:\\Windows\\win.ini",
    "//host/share/x.png",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x.png",
    "nothing.png",
    "a\0b.png",
    "a\nb.png",
    "\x1b[2Jnews",
    "n" * 300,
    "-",
    "|touch outside/secret.png",
    "$(touch x)",
    "\ud800",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    1.5,
    10**9,
    2**31,
    2**63,
    10**400,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    [],
    {},
    [None],
    [[]],
    {"": None},
    [1, "two", None],
    "x" * 5000,
    "constant",
    "linear:0:1",
    "__import__('os').system('x')",
    "relu1_1",
    "1",
    "nan",
    *PLACES,
)


def damaged(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to four edits of the bytes; `others` are files of which parts may be put in."""
    steps: tuple[Callable[..., bytes], ...] = (_flip, _number, _number, _cut, _drop, _again, _fill)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if others and rng.random() < 0.1:
            data = _spliced(rng, data, rng.choice(others))
        elif data:
            data = rng.choice(steps)(rng, data)
    return data


def _place(rng: random.Random, data: bytes) -> int:
    """A position; every second one is near the beginning, where headers are."""
    return rng.randrange(min(len(data), 64) if rng.random() < 0.5 else len(data))


def _flip(rng: random.Random, data: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        found[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(found)


def _number(rng: random.Random, data: bytes) -> bytes:
    code = rng.choice(("B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    size, at = struct.calcsize(code), _place(rng, data)
    value = rng.choice(WIDE) & (256**size - 1)
    return data[:at] + struct.pack(code, value) + data[at + size :]


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: _place(rng, data)]


def _drop(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 30)) :]


def _again(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at : at + rng.choice((1, 4, 50))] * rng.choice((2, 3, 40)) + data[at:]


def _fill(rng: random.Random, data: bytes) -> bytes:
    at, size = _place(rng, data), rng.choice((1, 4, 16, 64))
    return data[:at] + rng.choice((b"\0", b"\xff", rng.randbytes(1))) * size + data[at + size :]


def _spliced(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def edited(rng: random.Random, values: Any, names: Sequence[str] = ()) -> Any:
    """One to three edits of a JSON value: other values, missing, renamed and additional keys."""
    values = copy.deepcopy(values)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        values = _edit(rng, values, names)
    return values


def _edit(rng: random.Random, values: Any, names: Sequence[str]) -> Any:
    if not isinstance(values, dict | list) or not values or rng.random() < 0.1:
        if isinstance(values, dict) and names and rng.random() < 0.9:
            return values | {rng.choice(names): copy.deepcopy(rng.choice(VALUES))}
        return _other(rng, values)
    key = rng.choice(list(values) if isinstance(values, dict) else range(len(values)))
    what = rng.random()
    if what < 0.1:
        del values[key]
    elif what < 0.15 and isinstance(values, dict):
        values[rng.choice((*PLACES, *names))] = values.pop(key)
    elif what < 0.2 and isinstance(values, list):
        values *= rng.choice((2, 20))
    else:
        values[key] = _edit(rng, values[key], names)
    return values


def _other(rng: random.Random, value: Any) -> Any:
    if type(value) in (int, float) and abs(value) < 1e300 and rng.random() < 0.5:
        return rng.choice((-value, value + 1, value * 2, value * 10**6, value * 0.5, str(value)))
    if isinstance(value, str) and value and rng.random() < 0.3:
        return rng.choice(
            (value + "x", value[:-1], value.upper(), value * 3, value + "\n", [value])
        )
    return copy.deepcopy(rng.choice(VALUES))


def text_of(rng: random.Random, values: Any) -> str:
    """JSON, in some cases of a form that readers stumble over."""
    text = json.dumps(values)
    what = rng.random()
    if what < 0.03:
        return "[" * 100_000
    if what < 0.06:
        return '{"settings":' * 3000 + "1" + "}" * 3000
    if what < 0.09:
        return damaged(rng, text.encode()).decode("latin-1")
    if what < 0.11:
        return text[:-1] + ', "x": ' + "9" * 5000 + "}"
    if what < 0.13:
        return "\ufeff" + text
    return text


def safetensors_of(header: Any, body: bytes, length: int | None = None) -> bytes:
    """A safetensors file; `length` replaces the length of the header that it states."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def parts_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def safetensors(rng: random.Random, data: bytes) -> bytes:
    """A safetensors file with an edited header, another length of it, or damaged bytes."""
    header, body = parts_of(data)
    what = rng.random()
    if what < 0.3:
        return damaged(rng, data)
    if what < 0.4:
        return safetensors_of(header, body, rng.choice(WIDE))
    if what < 0.5:
        return safetensors_of(text_of(rng, header).encode("utf-8", "replace"), body)
    if what < 0.8:
        name = rng.choice(list(header))
        part = edited(rng, header[name])
        if isinstance(part, dict) and rng.random() < 0.3:
            part["dtype"] = rng.choice(
                ("BF16", "F8_E4M3", "I64", "F64", "BOOL", "U16", "F4", "C64")
            )
        return safetensors_of(header | {name: part}, body)
    return safetensors_of(edited(rng, header), body)


def archive(
    rng: random.Random, data: bytes, edit: Callable[[random.Random, bytes], bytes]
) -> bytes:
    """A zip archive with an entry that `edit` has changed, that is missing, twice or renamed."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        entries = [(name, source.read(name)) for name in source.namelist()]
    at, what = rng.randrange(len(entries)), rng.random()
    name, content = entries[at]
    if what < 0.7:
        entries[at] = name, edit(rng, content)
    elif what < 0.8:
        del entries[at]
    elif what < 0.9:
        entries[at] = rng.choice((name + "x", "../" + name, "/" + name, "x" * 300)), content
    else:
        entries.append((f"{name}2", content))
    out = io.BytesIO()
    packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(out, "w", packed) as target:
        for name, content in entries:
            target.writestr(name, content)
    return out.getvalue()


def png(rng: random.Random, data: bytes) -> bytes:
    """A PNG with damage inside its chunks, whose checksums are right."""
    found, chunks = 8, []
    while found + 8 <= len(data):
        (size,) = struct.unpack(">I", data[found : found + 4])
        chunks.append((data[found + 4 : found + 8], data[found + 8 : found + 8 + size]))
        found += 12 + size
    at, what = rng.randrange(len(chunks)), rng.random()
    name, content = chunks[at]
    if what < 0.6:
        chunks[at] = name, damaged(rng, content or b"\0")
    elif what < 0.7:
        del chunks[at]
    elif what < 0.8:
        chunks.insert(rng.randrange(len(chunks)), chunks[at])
    elif what < 0.9:
        chunks[at] = rng.choice((b"tRNS", b"PLTE", b"gAMA", b"iCCP", b"zTXt", b"acTL")), content
    else:
        unpacked = zlib.compress(rng.randbytes(1) * 10**6)
        chunks.insert(1, (rng.choice((b"zTXt", b"iTXt", b"iCCP")), b"x\0\0" + unpacked))
    packed = b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    return data[:8] + packed

"""Read tensors from PyTorch files, without PyTorch and without running code from the file.

A `.pth` file is a pickle, and a pickle can run any code. This reader accepts ordered dicts,
tensors, parameters and storage types, and refuses every other name. It reads both layouts of
`torch.save`: the zip archive (since PyTorch 1.6), and the older sequence of pickles followed by
the raw storages.
"""

import collections
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped
from numpy.lib.stride_tricks import as_strided

from nst_jax.errors import InputError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = pickle.dumps(LEGACY_MAGIC, protocol=2)
_DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _StorageType:
    dtype: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    start: int
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor without storage")
    if not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor of impossible shape")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data, *_) -> _Tensor:
    return data


_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _StorageType(dtype) for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that builds tensors and containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError(f"an object of kind {kind!r}")
        start = 0
        if view and view[0] is not None:
            _, start, count = view[0]
        return _Storage(str(key), storage_type.dtype, int(start), int(count))


class _ForbiddenError(Exception):
    pass


def read(
    path: Path, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Read the tensors of a state dict by name. bfloat16 becomes float32.

    Args:
        path: a file written by `torch.save` that holds a dict of tensors, either directly or
            under the key `state_dict`.
        wanted: which names to read; the data of the others is not read.

    Raises:
        InputError: the file is truncated, of another kind, or holds anything but tensors and
            containers. It is refused before any other object is built.
    """
    try:
        with path.open("rb") as file:
            reader = _read_zip if zipfile.is_zipfile(file) else _read_legacy
            file.seek(0)
            state, fetch = reader(file)
            if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
                state = state["state_dict"]
            if not isinstance(state, dict):
                raise InputError(f"{path} holds a {type(state).__name__}, not a dict of tensors.")
            return {
                name.removeprefix("module."): _array(tensor, fetch)
                for name, tensor in state.items()
                if isinstance(name, str)
                and isinstance(tensor, _Tensor)
                and wanted(name.removeprefix("module."))
            }
    except _ForbiddenError as error:
        raise InputError(
            f"{path} is refused: it wants to run or build '{error}', which plain weights do not "
            "need. Save the state dict alone: torch.save(model.state_dict(), FILE)."
        ) from None
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(
            f"{path} cannot be read as a PyTorch file: it is truncated, damaged, or of another "
            f"kind ({error})."
        ) from error


def _read_zip(file: BinaryIO) -> tuple[Any, Callable]:
    archive = zipfile.ZipFile(file)
    (index,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
    folder = index.removesuffix("data.pkl")
    order = "<"
    if f"{folder}byteorder" in archive.namelist():
        order = {b"little": "<", b"big": ">"}[archive.read(f"{folder}byteorder").strip()]

    def fetch(storage: _Storage) -> tuple[bytes, str]:
        with archive.open(f"{folder}data/{storage.key}") as data:
            return data.read(storage.count * _itemsize(storage.dtype)), order

    return _Unpickler(archive.open(index)).load(), fetch


def _read_legacy(file: BinaryIO) -> tuple[Any, Callable]:
    if file.read(len(LEGACY_START)) != LEGACY_START:
        raise ValueError("no PyTorch signature")
    protocol = _Unpickler(file).load()
    if protocol != 1001:
        raise ValueError(f"unknown protocol {protocol}")
    order = "<" if _Unpickler(file).load()["little_endian"] else ">"
    unpickler = _LegacyUnpickler(file)
    state = unpickler.load()
    places = {}
    for key in map(str, _Unpickler(file).load()):
        (count,) = struct.unpack(f"{order}q", file.read(8))
        nbytes = count * _itemsize(unpickler.dtypes[key])
        places[key] = file.tell(), nbytes
        file.seek(nbytes, 1)

    def fetch(storage: _Storage) -> tuple[bytes, str]:
        position, nbytes = places[storage.key]
        file.seek(position)
        return file.read(nbytes), order

    return state, fetch


class _LegacyUnpickler(_Unpickler):
    """An unpickler that remembers each storage's dtype; the raw data only has element counts."""

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.dtypes: dict[str, str] = {}

    def persistent_load(self, pid: Any) -> _Storage:
        storage = super().persistent_load(pid)
        self.dtypes[storage.key] = storage.dtype
        return storage


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bf16" else np.dtype(dtype).itemsize


def _array(tensor: _Tensor, fetch: Callable) -> Shaped[np.ndarray, "..."]:
    storage = tensor.storage
    data, order = fetch(storage)
    stored = np.dtype("u2" if storage.dtype == "bf16" else storage.dtype)
    raw = np.frombuffer(data, stored.newbyteorder(order))
    raw = raw[storage.start : storage.start + storage.count]
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((n - 1) * stride for n, stride in steps)
    if raw.size != storage.count or (0 not in tensor.shape and last >= raw.size):
        raise ValueError("a tensor's data is incomplete")
    values = raw.astype(stored)
    if storage.dtype == "bf16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    strides = [stride * values.itemsize for stride in tensor.strides]
    return as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False).copy()

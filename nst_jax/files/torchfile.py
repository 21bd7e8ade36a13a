"""Read tensors from PyTorch files, without PyTorch and without running code from the file.

A `.pth` file holds a pickle, and a pickle can run any code; `torchpickle` reads it without running
any. Both layouts of `torch.save` are read: the zip archive (since PyTorch 1.6), and the older
sequence of pickles followed by the raw storages.
"""

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped
from numpy.lib.stride_tricks import as_strided

from nst_jax.errors import InputError
from nst_jax.files.torchpickle import ForbiddenError, Storage, Tensor, load
from nst_jax.files.untrusted import require_bytes

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = pickle.dumps(LEGACY_MAGIC, protocol=2)
_LONGEST = 2**24  # bytes of a pickle; the largest published models have a hundredth


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
    with _reading(path), path.open("rb") as file:
        state, fetch = _state(path, file)
        tensors = {name: tensor for name, tensor in state.items() if wanted(name)}
        require_bytes(sum(_nbytes(tensor) for tensor in tensors.values()))
        found = {name: _array(tensor, fetch) for name, tensor in tensors.items()}
    return found


def names(path: Path) -> frozenset[str]:
    """The names of the tensors of a state dict; see `read`.

    Raises:
        InputError: as `read` does.
    """
    with _reading(path), path.open("rb") as file:
        found = frozenset(_state(path, file)[0])
    return found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into a sentence."""
    try:
        yield
    except ForbiddenError as error:
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


def _state(path: Path, file: BinaryIO) -> tuple[dict[str, Tensor], Callable]:
    reader = _read_zip if zipfile.is_zipfile(file) else _read_legacy
    file.seek(0)
    state, fetch = reader(file)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, not a dict of tensors.")
    found = {
        name.removeprefix("module."): tensor
        for name, tensor in state.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    return found, fetch


def _read_zip(file: BinaryIO) -> tuple[Any, Callable]:
    archive = zipfile.ZipFile(file)
    (index,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
    folder = index.removesuffix("data.pkl")
    order = "<"
    if f"{folder}byteorder" in archive.namelist():
        with archive.open(f"{folder}byteorder") as data:
            order = {b"little": "<", b"big": ">"}[data.read(8).strip()]

    def fetch(storage: Storage) -> tuple[bytes, str]:
        with archive.open(f"{folder}data/{storage.key}") as data:
            return data.read(storage.count * _itemsize(storage.dtype)), order

    with archive.open(index) as pickled:
        return load(io.BytesIO(pickled.read(_LONGEST))), fetch


def _read_legacy(file: BinaryIO) -> tuple[Any, Callable]:
    if file.read(len(LEGACY_START)) != LEGACY_START:
        raise ValueError("no PyTorch signature")
    protocol = load(file)
    if protocol != 1001:
        raise ValueError(f"unknown protocol {protocol}")
    order = "<" if load(file)["little_endian"] else ">"
    storages: dict[str, Storage] = {}
    state = load(file, lambda storage: storages.setdefault(storage.key, storage))
    places = {}
    for key in map(str, load(file)):
        (count,) = struct.unpack(f"{order}q", file.read(8))
        nbytes = count * _itemsize(storages[key].dtype)
        places[key] = file.tell(), nbytes
        file.seek(nbytes, 1)

    def fetch(storage: Storage) -> tuple[bytes, str]:
        position, nbytes = places[storage.key]
        file.seek(position)
        return file.read(nbytes), order

    return state, fetch


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bf16" else np.dtype(dtype).itemsize


def _nbytes(tensor: Tensor) -> int:
    """Bytes of a tensor's storage and, since values may overlap in it, of its values."""
    values = max(tensor.storage.count, math.prod(tensor.shape))
    return values * _itemsize(tensor.storage.dtype)


def _array(tensor: Tensor, fetch: Callable) -> Shaped[np.ndarray, "..."]:
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

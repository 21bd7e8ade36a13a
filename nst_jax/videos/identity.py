"""What tells one film, and one way to draw it, from another, in plain values."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.films import folder

_BEGIN = 2**20  # bytes by which films are told apart


def beginning(source: Path) -> str:
    """Tells one film from another: sizes of files, and the first bytes."""
    files = folder.files_of(source) if source.is_dir() else [source]
    found = hashlib.sha256(repr([(p.name, p.stat().st_size) for p in files[1:]]).encode())
    with files[0].open("rb") as file:
        found.update(file.read(_BEGIN))
    return f"{files[0].stat().st_size} {found.hexdigest()}"


def identity(value: Any) -> Any:
    """A value in plain values, with digests for files and arrays."""
    if isinstance(value, Mapping):
        return {str(k): [identity(k), identity(v)] for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [identity(one) for one in value]
    if isinstance(value, str | os.PathLike) and os.path.isfile(value):
        return hashlib.sha256(Path(value).read_bytes()).hexdigest()
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return hashlib.sha256(f"{array.shape} {array.dtype}".encode() + array.tobytes()).hexdigest()
    return repr(value)

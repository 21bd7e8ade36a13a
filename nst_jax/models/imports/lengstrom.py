"""The variables of lengstrom's TensorFlow networks, as files of raw float32 beside a manifest.

`manifest.json` maps names of variables to file names and shapes, as deeplearn.js wrote them.
TensorFlow numbers variables in the order in which they were made: for each convolution its
kernel, the shift and the scale of its normalisation.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.errors import InputError
from nst_jax.files.untrusted import is_name, parse_json
from nst_jax.models import modelfile
from nst_jax.models.imports import fitting
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.transformer import Architecture

MANIFEST = "manifest.json"
_LARGEST = 2**20  # bytes of a manifest
_ARCHITECTURE = Architecture("lengstrom", output="tanh", units=255.0)
# Wider than that of any layer, so that a shape in a manifest cannot ask for much memory.
_MOST = 2**22


def manifest(folder: Path) -> Mapping[str, Any] | None:
    """The manifest in a folder, if it is one of such variables."""
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    try:
        found = parse_json(path.read_bytes())
    except ValueError:
        return None
    return found if isinstance(found, dict) and "Variable_1" in found else None


def read(folder: Path, variables: Mapping[str, Any]) -> ModelFile:
    """Read a transformer; its style is named after the folder.

    Raises:
        InputError: tensors are missing or have other shapes, or a file cannot be read.
    """
    names = {}
    for number, stage in enumerate(_ARCHITECTURE.stages):
        for part, ours in enumerate(("kernel", "shift", "scale")):
            count = 3 * number + part
            names[f"{stage.name}.{ours}"] = f"Variable_{count}" if count else "Variable"
    tensors = {}
    for ours, theirs in names.items():
        if theirs in variables:
            x = _array(folder, theirs, variables[theirs])
            if ours in ("up1.kernel", "up2.kernel") and x.ndim == 4:
                x = x.transpose(0, 1, 3, 2)  # TensorFlow: (height, width, out, in)
            tensors[ours] = x if ours.endswith("kernel") else x[None]
    tensors = fitting.fitted(folder / MANIFEST, _ARCHITECTURE.shapes, names, tensors)
    architecture = modelfile.plain(_ARCHITECTURE)
    style = folder.resolve().name or "style"
    about = fitting.origin(folder / MANIFEST) | {"source": style}
    return ModelFile(modelfile.TRANSFORMER, architecture, tensors, (style,), about)


def _array(folder: Path, name: str, about: Any) -> np.ndarray:
    try:
        file, shape = about["filename"], tuple(about["shape"])
        if not is_name(file) or not all(isinstance(n, int) and 0 < n < _MOST for n in shape):
            raise ValueError("its manifest names no file or no shape")
        size = 4 * int(np.prod(shape, dtype=np.int64))
        with (folder / file).open("rb") as data:
            raw = data.read(min(size, 4 * _MOST) + 1)
        if len(raw) != size:
            raise ValueError(f"{file} has not the {size} bytes of {shape}")
        return np.frombuffer(raw, "<f4").reshape(shape)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"The variable {name} in {folder} cannot be read: {error}.") from error

"""Convert models of other projects: the `.pth` files of PyTorch's `fast_neural_style` example."""

import os
import re
from pathlib import Path

import numpy as np

from nst_jax.errors import InputError
from nst_jax.files import torchfile, weights
from nst_jax.files.convert import file_digest
from nst_jax.models import modelfile
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.transformer import Architecture

# This network takes and returns pictures in 0..255, and its results are clipped.
_ARCHITECTURE = Architecture("johnson", styles=1, output="linear", units=255.0)
# For each of our stages, their names of the convolution and of the normalisation after it.
_NAMES = {
    **{f"conv{i}": (f"conv{i}", f"in{i}") for i in (1, 2, 3)},
    **{
        f"res{i}.{half}": (f"res{i}.conv{n}", f"res{i}.in{n}")
        for i in range(1, 6)
        for n, half in ((1, "a"), (2, "b"))
    },
    "up1": ("deconv1", "in4"),
    "up2": ("deconv2", "in5"),
    "out": ("deconv3", ""),
}
_PATTERN = re.compile(r"(?:res\d\.)?(?:(?:de)?conv\d\.conv2d|in\d)\.(?:weight|bias)")


def holds(path: str | os.PathLike) -> bool:
    """Whether a file was written by `torch.save` and holds such a transformer."""
    path = Path(path)
    if not os.path.isfile(path):
        return False
    with path.open("rb") as file:
        head = file.read(len(torchfile.LEGACY_START))
    if not head.startswith((b"PK", torchfile.LEGACY_START)):
        return False
    try:
        return "conv1.conv2d.weight" in torchfile.read(path, lambda n: n == "conv1.conv2d.weight")
    except InputError:
        return False  # the next reader of the file says why


def convert(source: str | os.PathLike, target: str | os.PathLike | None = None) -> Path:
    """Convert a transformer's `.pth` file to a model file with one style, named after the file.

    Biases of convolutions before an instance normalisation are left out, since the normalisation
    cancels them.

    Args:
        source: a state dict that `torch.save` wrote.
        target: the `.safetensors` file to write; None takes the name of `source` in
            `weights.store()`.

    Returns:
        `target` as a path.

    Raises:
        InputError: the file cannot be read, or tensors are missing or have other shapes.
    """
    source = Path(source)
    target = Path(target) if target else weights.store() / f"{source.stem}.safetensors"
    if target.suffix != ".safetensors":
        raise InputError(f"Model files are .safetensors; {str(target)!r} is not.")
    state = torchfile.read(source, lambda name: bool(_PATTERN.fullmatch(name)))
    tensors = {}
    for ours, (conv, norm) in _NAMES.items():
        kernel = state.get(f"{conv}.conv2d.weight")
        if kernel is not None and kernel.ndim == 4:
            tensors[f"{ours}.kernel"] = kernel.transpose(2, 3, 1, 0)
        if norm:
            parts = {"scale": state.get(f"{norm}.weight"), "shift": state.get(f"{norm}.bias")}
            tensors |= {f"{ours}.{k}": v[None] for k, v in parts.items() if v is not None}
        elif f"{conv}.conv2d.bias" in state:
            tensors[f"{ours}.bias"] = state[f"{conv}.conv2d.bias"]
    tensors = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
    modelfile.require_shapes(_ARCHITECTURE.shapes, tensors, source)
    training = {"source": source.name, "source_digest": file_digest(source)}
    architecture = modelfile.plain(_ARCHITECTURE)
    model = ModelFile(modelfile.TRANSFORMER, architecture, tensors, (source.stem,), training)
    modelfile.save(target, model, half=False)
    return target

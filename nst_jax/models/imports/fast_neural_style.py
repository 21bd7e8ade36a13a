"""The `.pth` files of PyTorch's `fast_neural_style` example: one style a file.

Biases of convolutions before an instance normalisation are left out, since it cancels them.
"""

import re
from collections.abc import Collection
from pathlib import Path

from nst_jax.files import torchfile
from nst_jax.models import modelfile
from nst_jax.models.imports import fitting
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.transformer import Architecture

# This network takes and returns pictures in 0..255, and its results are clipped.
_ARCHITECTURE = Architecture("johnson", styles=1, output="linear", units=255.0)
# For each of our stages, their names of the convolution and of the normalisation after it.
_STAGES = {
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


def fits(names: Collection[str]) -> bool:
    """Whether these are names of tensors in such a file."""
    return "conv1.conv2d.weight" in names


def read(path: Path) -> ModelFile:
    """Read a transformer; its style is named after the file.

    Raises:
        InputError: the file cannot be read, or tensors are missing or have other shapes.
    """
    state = torchfile.read(path, lambda name: bool(_PATTERN.fullmatch(name)))
    names = {}
    for ours, (conv, norm) in _STAGES.items():
        names[f"{ours}.kernel"] = f"{conv}.conv2d.weight"
        names |= (
            {f"{ours}.scale": f"{norm}.weight", f"{ours}.shift": f"{norm}.bias"}
            if norm
            else {f"{ours}.bias": f"{conv}.conv2d.bias"}
        )
    found = {ours: state[theirs] for ours, theirs in names.items() if theirs in state}
    tensors = {
        ours: x[None] if ours.endswith((".scale", ".shift")) else fitting.hwio(x)
        for ours, x in found.items()
    }
    tensors = fitting.fitted(path, _ARCHITECTURE.shapes, names, tensors)
    architecture = modelfile.plain(_ARCHITECTURE)
    return ModelFile(
        modelfile.TRANSFORMER, architecture, tensors, (path.stem,), fitting.origin(path)
    )

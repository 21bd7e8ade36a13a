"""What all readers of others' models need: tensors under our names, checked, with their origin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from nst_jax.files.convert import file_digest
from nst_jax.models import modelfile

Names = Mapping[str, str]  # from our names of tensors to theirs


def fitted(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    names: Names,
    tensors: Mapping[str, Shaped[np.ndarray, "..."]],
) -> dict[str, Float[np.ndarray, "..."]]:
    """Tensors in float32 by our names.

    Args:
        path: the file, for messages.
        shapes: the shapes that the network needs, by our names.
        names: the names of the tensors in the file, by our names.
        tensors: what was found, by our names, with axes in our order.

    Raises:
        InputError: tensors are missing, have other shapes or are not finite; all are listed, by
            both names.
    """
    told = {ours: f"{names[ours]} (here {ours})" for ours in shapes}
    with np.errstate(over="ignore"):  # what overflows is not finite, and refused as such
        found = {ours: np.asarray(x, np.float32) for ours, x in tensors.items() if ours in shapes}
    modelfile.require_shapes(
        {told[ours]: shape for ours, shape in shapes.items()},
        {told[ours]: x for ours, x in found.items()},
        path,
    )
    return found


def hwio(kernel: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """A kernel of PyTorch or ONNX, (out, in, height, width), with our order of axes.

    Anything else is returned as it is: its shape will be found wrong.
    """
    return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel


def origin(path: Path) -> dict[str, Any]:
    """Where a model comes from, as model files record it."""
    return {"source": path.name, "source_digest": file_digest(path)}

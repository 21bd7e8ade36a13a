"""Weight files: tensors, preprocessing and origin in one `.safetensors`, checked by a digest."""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.numpy
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from nst_jax.errors import InputError
from nst_jax.files.atomic import atomic
from nst_jax.files.untrusted import parse_json

FORMAT, VERSION = "nst_jax", 1
ARCHITECTURES = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
WIDTHS = (64, 128, 256, 512, 512)

Tensors = Mapping[str, Shaped[np.ndarray, "..."]]


@dataclass(frozen=True)
class Preprocessing:
    """How RGB in [0, 1] becomes a network's input: `(scale * rgb[order] - mean) / std`.

    `mean` and `std` list their channels in the order that `order` names.
    """

    order: Literal["RGB", "BGR"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def from_dict(cls, values: Mapping) -> "Preprocessing":
        """Build a preprocessing from the values of a JSON object.

        Raises:
            ValueError, KeyError, TypeError: the values are no preprocessing.
        """
        mean, std = (tuple(float(v) for v in values[key]) for key in ("mean", "std"))
        order, scale = values["order"], float(values["scale"])
        if (
            order not in ("RGB", "BGR")
            or not all(map(math.isfinite, (scale, *mean, *std)))
            or len(mean) != 3
            or len(std) != 3
            or not (scale and all(std))
        ):
            raise ValueError(f"no preprocessing: {values}")
        return cls(order, scale, mean, std)


CAFFE = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68))
TORCHVISION = Preprocessing("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, eq=False)
class WeightFile:
    """A weight file that was read and checked.

    Attributes:
        path: the file.
        architecture: name of the network, such as `"vgg19"`.
        preprocessing: the input that the network expects.
        digest: "sha256:..." of the tensors.
        metadata: the metadata of the file.
        tensors: arrays by name. For the VGG networks: `conv1_1.kernel` (3, 3, in, out),
            `conv1_1.bias` (out,), ..., in float32.
    """

    path: Path
    architecture: str
    preprocessing: Preprocessing
    digest: str
    metadata: Mapping[str, str]
    tensors: Tensors


def layer_names(architecture: str) -> list[str]:
    """Names of the convolutions of `architecture` in order of depth: `conv1_1`, ..."""
    blocks = enumerate(ARCHITECTURES[architecture], 1)
    return [f"conv{b}_{i}" for b, count in blocks for i in range(1, count + 1)]


def expected_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of `architecture`, by name."""
    shapes, depth = {}, 3
    for layer in layer_names(architecture):
        width = WIDTHS[int(layer[4]) - 1]
        shapes[f"{layer}.kernel"] = (3, 3, depth, width)
        shapes[f"{layer}.bias"] = (width,)
        depth = width
    return shapes


def require_shapes(tensors: Tensors, architecture: str, what: str) -> None:
    """Raise one `InputError` that lists all missing, misshapen and non-finite tensors of `what`."""
    if problems := misfits(tensors, expected_shapes(architecture)):
        raise InputError(
            f"{what} does not hold the convolutions of {architecture}: {'; '.join(problems)}."
        )


def misfits(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """List the tensors that are missing, have another shape than in `shapes`, or are not finite."""
    problems = []
    for name, shape in shapes.items():
        if name not in tensors:
            problems.append(f"{name} is missing")
        elif tensors[name].shape != shape:
            problems.append(f"{name} is {tensors[name].shape}, expected {shape}")
        elif not np.isfinite(tensors[name]).all():
            problems.append(f"{name} holds NaN or infinite values")
    return problems


def digest(tensors: Tensors) -> str:
    """The digest of all tensors, as `"sha256:..."`.

    It covers each tensor's name, dtype, shape and little-endian bytes, in the order of the names.
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        x = np.ascontiguousarray(tensors[name])
        x = x.astype(x.dtype.newbyteorder("<"), copy=False)
        shape = ",".join(map(str, x.shape))
        total.update(f"{name}\0{x.dtype.name}\0{shape}\0".encode())
        total.update(x.reshape(-1).view(np.uint8).data)
    return f"sha256:{total.hexdigest()}"


def save(
    path: Path,
    tensors: Tensors,
    *,
    architecture: str,
    preprocessing: Preprocessing,
    source: str,
    source_digest: str,
    licence: str,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Write a weight file, which appears only when it is complete; return its tensors' digest.

    Args:
        path: the `.safetensors` file to write; an existing file is replaced.
        tensors: arrays by name; kernels are HWIO.
        architecture: the network that these tensors belong to, such as `"vgg19"`.
        preprocessing: the input with which the weights were trained.
        source: file name or URL from which the weights come.
        source_digest: digest of that file, `"sha256:..."`.
        licence: name of the weights' licence.
        extra: further metadata.

    Raises:
        InputError: the folder cannot be written to.
    """
    tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    found = digest(tensors)
    metadata = dict(extra or {}) | {
        "format": FORMAT,
        "version": str(VERSION),
        "architecture": architecture,
        "preprocessing": json.dumps(asdict(preprocessing)),
        "source": source,
        "source_digest": source_digest,
        "licence": licence,
        "layout": "HWIO",
        "digest": found,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as part:
            part.write_bytes(safetensors.numpy.save(tensors, metadata))
    except OSError as error:
        raise InputError(
            f"The weight file {path} cannot be written ({error.strerror}): free some space or give "
            "a folder that can be written to, by NST_JAX_WEIGHTS_DIR."
        ) from error
    return found


def load(path: str | os.PathLike) -> WeightFile:
    """Read a weight file and check its tensors against the digest that it states.

    Raises:
        InputError: the file is missing, truncated, altered, of another kind or another version.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise InputError(f"There is no weight file {path}.")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            _require_ours(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as a weight file: it is truncated, altered, or of another kind "
            "(.h5, .pth, .mat and .npz files are converted by `nst-jax weights convert FILE`)."
        ) from error
    if digest(tensors) != metadata["digest"]:
        raise InputError(
            f"The weight file {path} is altered or damaged: its tensors do not have the digest "
            f"{metadata['digest']} that it states. Delete it and fetch or convert it again."
        )
    try:
        preprocessing = Preprocessing.from_dict(parse_json(metadata["preprocessing"]))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"The weight file {path} states no valid preprocessing.") from error
    architecture = metadata["architecture"]
    if architecture in ARCHITECTURES:
        require_shapes(tensors, architecture, f"The weight file {path}")
    return WeightFile(path, architecture, preprocessing, metadata["digest"], metadata, tensors)


def _require_ours(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT or not re.fullmatch(
        r"\d{1,9}", metadata.get("version", "")
    ):
        raise InputError(
            f"{path} is not a weight file of nst_jax (it does not state its preprocessing). "
            "Convert the file it was made from: `nst-jax weights convert FILE`."
        )
    version = int(metadata["version"])
    if version != VERSION:
        remedy = "fetch or convert it again" if version < VERSION else "update nst_jax"
        raise InputError(
            f"The weight file {path} has version {version}; this nst_jax reads version {VERSION}: "
            f"{remedy}."
        )
    missing = {"architecture", "preprocessing", "digest"} - metadata.keys()
    if missing:
        raise InputError(
            f"The weight file {path} is altered: it lacks {', '.join(sorted(missing))}. Delete it "
            "and fetch or convert it again."
        )

"""Johnson et al.'s own models with instance normalisation, as Torch7 wrote them (`.t7`).

Pictures enter these networks in the order blue, green, red; their kernels are turned round here.
The script that came with them ran a median filter of three pixels over the results, which is no
part of the network.
"""

from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.errors import InputError
from nst_jax.files import t7file
from nst_jax.files.t7file import Thing
from nst_jax.models import modelfile
from nst_jax.models.imports import fitting
from nst_jax.models.modelfile import ModelFile
from nst_jax.models.stages import Stage
from nst_jax.models.transformer import Architecture

_CONTAINERS = ("Sequential", "ConcatTable")
_STYLED = ("InstanceNormalization", "ReLU")


def read(path: Path) -> ModelFile:
    """Read a transformer; its style is named after the file.

    Raises:
        InputError: the file cannot be read, holds another network, or tensors are missing or have
            other shapes.
    """
    root = t7file.read(path)
    options = root.get("opt") if isinstance(root, dict) else None
    network = root.get("model") if isinstance(root, dict) else root
    modules = [(kind, thing) for kind, thing in _flat(network) if kind != "TotalVariation"]
    blocks = sum(kind == "CAddTable" for kind, _ in modules)
    architecture = Architecture("torch7", output="tanh", units=255.0, blocks=blocks)
    expected = _expected(architecture)
    if [kind for kind, _ in modules] != [kind for kind, _ in expected]:
        raise _unknown(path, "its layers are " + (" ".join(k for k, _ in modules[:12]) or "none"))
    if isinstance(options, dict) and options.get("preprocessing", "vgg") != "vgg":
        raise _unknown(path, f"it takes pictures prepared for {options['preprocessing']!s:.40}")
    for (kind, thing), (_, wanted) in zip(modules, expected, strict=True):
        for name, value in wanted.items():
            found = thing.fields.get(name)
            if isinstance(found, np.ndarray) or found != value:
                raise _unknown(path, f"{name} of a {kind} is {found!s:.40}, not {value}")
    names, tensors = {}, {}
    layers = iter(enumerate(modules, 1))
    for stage in architecture.stages:
        parts = {"Convolution": ("kernel", "bias")}
        if stage.normalized:
            parts = {"Convolution": ("kernel",), "InstanceNormalization": ("scale", "shift")}
        for ending, ours in parts.items():
            number, (kind, thing) = next(one for one in layers if one[1][0].endswith(ending))
            for name, theirs in zip(ours, _theirs(ours), strict=True):
                names[f"{stage.name}.{name}"] = f"{theirs} of layer {number}, a {kind},"
                if isinstance(thing.fields.get(theirs), np.ndarray):
                    tensors[f"{stage.name}.{name}"] = _ordered(stage, name, thing.fields[theirs])
    tensors = fitting.fitted(path, architecture.shapes, names, tensors)
    plain = modelfile.plain(architecture)
    return ModelFile(modelfile.TRANSFORMER, plain, tensors, (path.stem,), fitting.origin(path))


def _theirs(ours: tuple[str, ...]) -> tuple[str, ...]:
    return ("weight", "bias")[: len(ours)]


def _ordered(stage: Stage, name: str, x: np.ndarray) -> np.ndarray:
    if name in ("scale", "shift"):
        return x[None]
    if name == "kernel":
        if x.ndim == 2:  # as some versions of Torch keep it
            inputs = stage.inputs * stage.side**2
            x = x.reshape(-1, stage.inputs, stage.side, stage.side) if x.shape[1] == inputs else x
        if stage.kind == "transposed" and x.ndim == 4:
            return x.transpose(2, 3, 0, 1)  # (in, out, height, width)
        x = fitting.hwio(x)
        if stage.name == "conv1" and x.ndim == 4:
            return x[:, :, ::-1]
    return x[..., ::-1] if stage.name == "out" else x


def _flat(network: Any) -> list[tuple[str, Thing]]:
    """The layers of a network in order, without containers: name of the class, and the layer."""
    found, seen, left = [], set(), [network]
    while left:
        module = left.pop()
        if not isinstance(module, Thing):
            continue
        kind = module.kind.rpartition(".")[2].removesuffix("MM")
        if kind not in _CONTAINERS:
            found.append((kind, module))
        elif id(module) not in seen:  # a file may put containers into themselves
            seen.add(id(module))
            modules = module.fields.get("modules")
            inner = modules if isinstance(modules, dict) else {}
            left += [inner.get(float(number)) for number in range(len(inner), 0, -1)]
    return found


def _expected(architecture: Architecture) -> list[tuple[str, dict[str, Any]]]:
    """The layers that the network must have, with the values of their fields."""

    def layer(stage: Stage) -> tuple[str, dict[str, Any]]:
        pad = 0 if stage.padding == "none" else stage.side // 2
        sizes = {"k": stage.side, "d": stage.stride, "pad": pad}
        if stage.kind == "transposed":
            sizes = {"k": 3, "d": 2, "pad": 1, "adj": 1}
        full = "Full" if stage.kind == "transposed" else ""
        wanted = {f"{name}{axis}": size for name, size in sizes.items() for axis in "WH"}
        return f"Spatial{full}Convolution", wanted

    rim = 8 * architecture.blocks
    found = [("SpatialReflectionPadding", {f"pad_{side}": rim for side in "lrtb"})]
    for stage in architecture.stages:
        found.append(layer(stage))
        if stage.normalized:
            found += [(kind, {}) for kind in _STYLED[: 1 if stage.adds else 2]]
        if stage.adds:
            found += [("ShaveImage", {"size": 2}), ("CAddTable", {})]
    return [*found, ("Tanh", {}), ("MulConstant", {"constant_scalar": 150})]


def _unknown(path: Path, why: str) -> InputError:
    return InputError(
        f"The file {path} holds a network of Torch7 that is not known here: {why}. Known are "
        "Johnson et al.'s models with instance normalisation."
    )

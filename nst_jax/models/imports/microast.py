"""MicroAST's four `.pth` files: two encoders, a modulator and a decoder.

The files of one model have the same name but for its role, and lie in one folder. Both encoders
have tensors of the same names and shapes, so that only the names of the files tell them apart.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from nst_jax.errors import InputError
from nst_jax.files import torchfile
from nst_jax.models import microast, modelfile
from nst_jax.models.imports import fitting
from nst_jax.models.modelfile import ModelFile

# A tensor that each of the files has.
_ROLES = {
    "content_encoder": "enc1.0.conv_layer.weight",
    "style_encoder": "enc1.0.conv_layer.weight",
    "modulator": "weight1.0.conv_layer.weight",
    "decoder": "dec1.conv1.conv_layer.weight",
}


def fits(names: Collection[str]) -> bool:
    """Whether these are names of tensors in one of the files."""
    return not set(_ROLES.values()).isdisjoint(names)


def decoder_in(folder: Path) -> Path:
    """The file of the decoder in a folder.

    Raises:
        InputError: there is none, or several.
    """
    found = [p for p in sorted(folder.iterdir()) if "decoder" in p.name and p.is_file()]
    if len(found) != 1:
        many = f"it has several decoders: give one of {', '.join(p.name for p in found[:4])}"
        raise InputError(
            f"The folder {folder} does not hold one model that is known here: "
            f"{many if found else 'known are lengstrom (manifest.json) and MicroAST (.pth)'}."
        )
    return found[0]


def read(path: Path) -> ModelFile:
    """Read the model to which a file belongs.

    Raises:
        InputError: another of its files is not there or cannot be read, or tensors are missing or
            have other shapes.
    """
    role = next((role for role in _ROLES if role in path.name), None)
    if role is None:
        raise InputError(
            f"{path} is one of the four files of MicroAST, but its name does not say which: it "
            f"must contain one of {', '.join(_ROLES)}."
        )
    tensors, told, shapes = {}, {}, microast.shapes()
    for other in _ROLES:
        place = path.with_name(path.name.replace(role, other))
        if not place.is_file():
            raise InputError(f"{path} is one of four files of MicroAST; {place} is missing.")
        state = torchfile.read(place)
        for ours, theirs in _names(other):
            told[ours] = f"{theirs} of {place.name}"
            if theirs in state:
                tensors[ours] = _kernel(ours, shapes[ours], state[theirs])
    tensors = fitting.fitted(path.parent, shapes, told, tensors)
    return ModelFile(modelfile.MICROAST, {}, tensors, (), fitting.origin(path))


def _kernel(
    name: str, shape: tuple[int, ...], x: Shaped[np.ndarray, "..."]
) -> Shaped[np.ndarray, "..."]:
    """A kernel in our order of axes; one of a grouped convolution as a full one with zeros."""
    if name.endswith(".depthwise") and x.ndim == 4 and x.shape[1] == 1:
        return x[:, 0].transpose(1, 2, 0)
    x = fitting.hwio(x)
    if x.ndim != 4 or len(shape) != 4 or x.shape[2] == shape[2] or x.shape[3] != shape[3]:
        return x
    groups, rest = divmod(shape[2], max(1, x.shape[2]))
    if rest or not x.size or shape[3] % groups:
        return x
    full = np.zeros((*x.shape[:2], *shape[2:]), np.float32)
    for outputs in range(shape[3]):
        first = outputs // (shape[3] // groups) * x.shape[2]
        full[:, :, first : first + x.shape[2], outputs] = x[..., outputs]
    return full


def _names(role: str) -> Iterator[tuple[str, str]]:
    """Our names and theirs, for each tensor of a file."""
    pairs: list[tuple[str, str]] = []
    if role == "modulator":
        for number, level in enumerate(microast.LEVELS, 1):
            for part in ("weight", "bias"):
                theirs, ours = f"{part}{number}.0.conv_layer", f"modulator.{level}.{part}"
                yield f"{ours}.depthwise", f"{theirs}.weight"
                yield f"{ours}.bias", f"{theirs}.bias"
        return
    if role == "decoder":
        # The deep features are decoded first.
        blocks = {"dec1": "decoder.deep", "dec2": "decoder.shallow"}
        for number, ours in zip((1, 3, 6, 8, 10), microast.UP, strict=True):
            pairs.append((ours.name, f"dec3.{number}"))
    else:
        kind = role.removesuffix("_encoder")
        blocks = {"enc1.10": f"{kind}.res1", "enc2.0": f"{kind}.res2"}
        pairs += [(f"{kind}.conv{n + 1}", f"enc1.{2 * n}") for n in range(5)]
    for theirs, ours in blocks.items():
        pairs += [(f"{ours}.{half}", f"{theirs}.conv{n}") for n, half in ((1, "a"), (2, "b"))]
    for ours, theirs in pairs:
        yield f"{ours}.kernel", f"{theirs}.conv_layer.weight"
        yield f"{ours}.bias", f"{theirs}.conv_layer.bias"

"""Model files: a trained network with its architecture, styles and training in one `.safetensors`.

A model file is a weight file (`files.weightfile`), with digest and version. Its metadata has one
more entry, `model`, in JSON.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args

import numpy as np

from nst_jax.errors import InputError
from nst_jax.files import weightfile
from nst_jax.files.untrusted import is_name, parse_json
from nst_jax.files.weightfile import Preprocessing, Tensors
from nst_jax.models.predictor import LAYERS, Predictor
from nst_jax.models.stages import Stage, shapes
from nst_jax.models.transfer import METHODS, SCALES, decoder
from nst_jax.models.transformer import VARIANTS, Architecture, Output
from nst_jax.networks.base import Network
from nst_jax.options import is_number

_MOST_BLOCKS = 100  # residual blocks
_TRAINED = ("johnson", "medium", "small")  # variants that this package trains
_WIDEST = 4096  # channels
TRANSFORMER, ANY_STYLE = "feedforward-transformer", "feedforward-any-style"
MICROAST, MAGENTA = "feedforward-microast", "feedforward-magenta"
PREDICTED = "feedforward-predicted-style"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """The content of a model file.

    Attributes:
        kind: `TRANSFORMER` for a network that has learned its styles; `PREDICTED`, `ANY_STYLE`,
            `MICROAST` or `MAGENTA` for one that draws in the style of any picture.
        architecture: static description of the network, in plain values.
        tensors: parameters by name, float16 or float32.
        styles: names of the styles, in their order in the parameters.
        training: settings and sources of the training, in plain values.
        digest: digest of the tensors.
    """

    kind: str
    architecture: Mapping[str, Any]
    tensors: Tensors
    styles: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


def save(
    path: str | os.PathLike, model: ModelFile, *, licence: str = "unknown", half: bool = True
) -> str:
    """Write a model file, which appears only when it is complete; return its tensors' digest.

    Args:
        path: the `.safetensors` file to write; an existing file is replaced.
        model: the content to write.
        licence: name of the model's licence.
        half: write float16, which makes no visible difference, rather than float32.

    Raises:
        InputError: the file cannot be written.
    """
    named = {
        "architecture": dict(model.architecture),
        "styles": list(model.styles),
        "training": dict(model.training),
    }
    return weightfile.save(
        Path(path),
        {
            name: np.asarray(value, np.float16 if half else np.float32)
            for name, value in model.tensors.items()
        },
        architecture=model.kind,
        preprocessing=Preprocessing("RGB", model.architecture.get("units", 1.0), (0.0, 0.0, 0.0)),
        source=str(model.training.get("source", "trained by nst_jax")),
        source_digest=str(model.training.get("source_digest", "")),
        licence=licence,
        extra={"model": json.dumps(named)},
    )


def load(path: str | os.PathLike) -> ModelFile:
    """Read a model file and check its tensors against the digest that it states.

    Tensors are converted to float32.

    Raises:
        InputError: the file is missing, truncated, altered, of another kind or another version.
    """
    file = weightfile.load(path)
    if "model" not in file.metadata:
        raise InputError(
            f"The file {str(path)!r} holds the network {file.architecture}, not a model that draws "
            "in one pass: `nst-jax train` makes such models."
        )
    try:
        named = parse_json(file.metadata["model"])
        styles = tuple(str(style) for style in named["styles"])
        architecture, training = dict(named["architecture"]), dict(named["training"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"The model file {str(path)!r} says nothing of its network.") from error
    tensors = {name: value.astype(np.float32) for name, value in file.tensors.items()}
    return ModelFile(file.architecture, architecture, tensors, styles, training, file.digest)


def architecture_of(
    model: ModelFile, path: str | os.PathLike, styles: int | None = None
) -> Architecture:
    """The architecture of the transformer in a model file.

    Args:
        model: the content of the file.
        path: the file, for messages.
        styles: how many styles it must have; None for those that the file names.

    Raises:
        InputError: the architecture is unknown, or does not fit the tensors or the styles.
    """
    try:
        found = _transformer(model.architecture)
        if not found.styles == (len(model.styles) if styles is None else styles) > 0:
            raise ValueError
        expected = found.shapes
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The model file {str(path)!r} holds a transformer that this nst_jax does not know: "
            f"{dict(model.architecture)}."
        ) from error
    require_shapes(expected, model.tensors, path)
    return found


def _transformer(values: Mapping[str, Any]) -> Architecture:
    """The architecture of plain values, whatever its styles.

    Raises:
        TypeError: a value is missing or not known.
        ValueError: a value is out of its range.
    """
    widths = tuple(values.get("widths", ()))
    found = Architecture(**{**values, "widths": widths})
    if not (
        found.variant in VARIANTS
        and found.output in get_args(Output)
        and is_number(found.units, Real, 1e-3, 1e6)
        and is_number(found.blocks, Integral, 0, _MOST_BLOCKS)
        and len(widths) in (0, 5)
        and all(is_number(width, Integral, 1, _WIDEST) for width in widths)
        and isinstance(found.carried, bool)
        and (found.variant in _TRAINED or not found.carried)
    ):
        raise ValueError
    return found


def predictor_of(model: ModelFile, path: str | os.PathLike) -> Predictor:
    """The predictor in a model file, with its transformer.

    Raises:
        InputError: the architecture is unknown, or does not fit the tensors.
    """
    try:
        own = dict(model.architecture)
        encoder, digest = own.pop("encoder"), own.pop("encoder_digest")
        found = Predictor(
            _transformer(dict(own.pop("transformer"))), tuple(own.pop("widths")), **own
        )
        if not (
            found.transformer.styles == 1
            and found.transformer.variant in _TRAINED
            and not found.transformer.carried
            and is_name(encoder)
            and isinstance(digest, str)
            and len(found.widths) == len(LAYERS)
            and all(
                is_number(n, Integral, 1, _WIDEST)
                for n in (*found.widths, found.hidden, found.dimensions)
            )
        ):
            raise ValueError
        expected = found.shapes
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The model file {str(path)!r} holds a predictor of styles that this nst_jax does not "
            f"know: {dict(model.architecture)}."
        ) from error
    require_shapes(expected, model.tensors, path)
    return found


def decoders_of(model: ModelFile, path: str | os.PathLike) -> dict[str, tuple[Stage, ...]]:
    """The decoders of a model for any style, by level, the deepest first.

    Raises:
        InputError: method or levels are unknown, or tensors do not fit.
    """
    try:
        method, levels = model.architecture["method"], dict(model.architecture["levels"])
        full = model.architecture["full"]
        if method not in METHODS or not set(levels) <= set(SCALES) or not levels:
            raise ValueError
        found = {level: decoder(level, int(width), full) for level, width in levels.items()}
        if not is_name(model.architecture["encoder"]) or not isinstance(full, bool):
            raise ValueError
        if "encoder_digest" not in model.architecture:
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"The model file {str(path)!r} holds a model that this nst_jax does not know: "
            f"{dict(model.architecture)}."
        ) from error
    for stages in found.values():
        require_shapes(shapes(stages), model.tensors, path)
    return found


def require_encoder(model: ModelFile, path: str | os.PathLike, network: Network) -> None:
    """Raise `InputError` if a model was trained with other weights of its encoder."""
    if network.digest != model.architecture["encoder_digest"]:
        raise InputError(
            f"The model '{path}' was trained with other weights of {network.name} than those "
            "here: fetch or convert the ones that it names, or train it again."
        )


def require_shapes(
    shapes: Mapping[str, tuple[int, ...]], tensors: Tensors, path: str | os.PathLike
) -> None:
    """Raise one `InputError` that lists all missing, misshapen and non-finite tensors."""
    if problems := weightfile.misfits(tensors, shapes):
        raise InputError(
            f"The model file {str(path)!r} does not hold what it says: {'; '.join(problems)}."
        )


def plain(architecture: Architecture | Predictor) -> dict[str, Any]:
    """An architecture in plain values."""
    return dataclasses.asdict(architecture)

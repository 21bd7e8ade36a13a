"""Load a network by name or from a file."""

import os
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path

from nst_jax.errors import InputError
from nst_jax.files import weightfile, weights
from nst_jax.networks import lite
from nst_jax.networks.base import Network, Options
from nst_jax.networks.vgg import VGG


def load_network(
    name: str | os.PathLike = "auto",
    options: Options | None = None,
    *,
    layers: Iterable[str] | None = None,
    offline: bool | None = None,
    progress: bool = True,
) -> Network:
    """Load a network by name (see `nst-jax weights list`) or from a `.safetensors` weight file.

    Args:
        name: `"vgg19"`, `"vgg16"`, ..., a path, or `"auto"`. `"auto"` takes VGG19 if its weights
            are on this machine or can be downloaded, and otherwise the small embedded network.
        options: pooling, border, precision and rematerialisation.
        layers: the layers that will be requested; deeper ones are left out. None keeps all.
        offline: True never downloads weights; None follows the environment (`NST_JAX_OFFLINE`).
        progress: show a bar while downloading.

    Raises:
        InputError: the name is unknown, the weights are not here and cannot be downloaded, or the
            file is damaged, of another kind, or has wrong shapes.
    """
    if name == "auto":
        path = _automatic(offline, progress)
    else:
        path = weights.locate(name) or weights.fetch(str(name), offline=offline, progress=progress)
    wanted = None if layers is None else tuple(sorted(set(layers)))
    return _load(Path(path), os.stat(path).st_mtime_ns, options or Options(), wanted)


def _automatic(offline: bool | None, progress: bool) -> Path:
    found = weights.locate("vgg19")
    if found:
        return found
    try:
        return weights.fetch("vgg19", offline=offline, progress=progress)
    except InputError:
        embedded = weights.locate(lite.ARCHITECTURE)
        if not embedded:
            raise
        warnings.warn(
            f"Using the embedded network {lite.ARCHITECTURE}: VGG19's weights are not on this "
            "machine and were not fetched. To get them, or to learn why not: nst-jax weights fetch "
            "vgg19.",
            stacklevel=4,
        )
        return embedded


# The cache is for notebooks, which call stylize() again and again. A changed file is read again.
@lru_cache(maxsize=4)
def _load(path: Path, modified: int, options: Options, layers: tuple[str, ...] | None) -> Network:
    del modified
    return build(weightfile.load(path), options, layers)


def build(
    file: weightfile.WeightFile,
    options: Options | None = None,
    layers: Iterable[str] | None = None,
) -> Network:
    """Build the network of a loaded weight file; see `load_network`.

    Raises:
        InputError: the architecture is unknown.
    """
    builder = _BUILDERS.get(file.architecture)
    if builder is None:
        raise InputError(
            f"The weight file {file.path} holds a network of architecture '{file.architecture}'; "
            f"this nst_jax knows {', '.join(_BUILDERS)}."
        )
    return builder(
        file.tensors,
        file.preprocessing,
        options,
        layers=layers,
        name=file.path.stem,
        digest=file.digest,
    )


_BUILDERS: dict[str, Callable[..., Network]] = {
    "vgg19": partial(VGG, "vgg19"),
    "vgg16": partial(VGG, "vgg16"),
    lite.ARCHITECTURE: lite.Lite,
}

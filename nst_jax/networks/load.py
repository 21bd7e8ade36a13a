"""From a name or a file to a network that is ready to run."""

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
    """A network by name (`nst-jax weights list`) or from a converted `.safetensors` file.

    Args:
        name: `"vgg19"`, `"vgg16"`, ..., a path, or `"auto"`: VGG19 where its converted weights
            are present, else fetched, else the embedded small network.
        options: pooling, border, precision, rematerialisation.
        layers: those that will be asked for; what lies deeper is left out. None: all of them.
        offline: never try to fetch; None leaves it to the environment (`NST_JAX_OFFLINE`).
        progress: show a bar while fetching.

    Raises:
        InputError: an unknown name, weights that are absent and cannot be fetched, a file that is
            not such a file, is damaged, or holds other shapes.
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


# One entry per file content and options: notebooks call stylize() again and again.
@lru_cache(maxsize=4)
def _load(path: Path, modified: int, options: Options, layers: tuple[str, ...] | None) -> Network:
    del modified
    return build(weightfile.load(path), options, layers)


def build(
    file: weightfile.WeightFile,
    options: Options | None = None,
    layers: Iterable[str] | None = None,
) -> Network:
    """The network of a loaded weight file; see `load_network`.

    Raises:
        InputError: an architecture that is not known here.
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

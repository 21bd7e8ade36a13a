"""What a feature extractor is, whatever its layers: the protocol, and `features`."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.files.weightfile import Preprocessing
from nst_jax.networks.layers import projected
from nst_jax.options import Padding, Pooling, Precision
from nst_jax.typing import AnyArray


@runtime_checkable
class Tap(Protocol):
    """Of a layer's name and activations: those to go on with, and what to give back for the layer.

    Where the layer's features are not the activations themselves but these times a matrix, that is
    the `head`: statistics may be cheaper to make of the activations first.
    """

    def __call__(
        self, layer: str, x: Array, head: Float[Array, "i o"] | None = None, /
    ) -> tuple[Array, Any]:
        """What to go on with, and what to give back."""
        ...


def keep(layer: str, x: Array, head: Float[Array, "i o"] | None = None) -> tuple[Array, Array]:
    """The tap that gives back the features themselves."""
    del layer
    return x, projected(x, head)


@runtime_checkable
class Network(Protocol):
    """What objectives need of a feature extractor; any pytree of this shape will do.

    `widths` maps each available layer, in order of depth, to N_l, its number of feature maps in
    the normalisations of the losses. `strides` maps it to the picture's pixels per position,
    `margins` to how many pixels a position sees beyond its own block of these, on every side.

    `content_layers` and `style_layers`, from name to weight, are taken where a preset names layers
    that the network lacks and nothing else is said; without these two it is all layers.
    """

    name: str
    digest: str

    @property
    def widths(self) -> Mapping[str, int]:
        """N_l of each layer."""
        ...

    @property
    def strides(self) -> Mapping[str, int]:
        """Picture pixels per position of each layer."""
        ...

    @property
    def margins(self) -> Mapping[str, int]:
        """Picture pixels that a position of each layer sees beyond its own."""
        ...

    def __call__(
        self, image: Float[AnyArray, "h w 3"], layers: tuple[str, ...], tap: Tap = keep
    ) -> dict[str, Any]:
        """What `tap` makes of the activations of `layers`, for an RGB picture in [0, 1]."""
        ...


@dataclass(frozen=True)
class Options:
    """How a network is run: pooling, the first convolution's border, precision, rematerialisation.

    `remat` recomputes each block's activations in the backward pass instead of keeping them.
    """

    pooling: Pooling = "max"
    padding: Padding = "zero"
    precision: Precision = "float32"
    remat: bool = False


def preprocess(image: Float[AnyArray, "h w 3"], how: Preprocessing) -> Float[Array, "h w 3"]:
    """RGB in [0, 1] to the network's own input: channel order, scale, mean, standard deviation."""
    x = jnp.asarray(image)[..., :: -1 if how.order == "BGR" else 1]
    mean, std = (jnp.asarray(v, x.dtype)[None, None] for v in (how.mean, how.std))
    return (x * how.scale - mean) / std


def require_network(given: Any) -> None:
    """Raise `InputError` for an object that is no network, or no pytree."""
    parts = ("name", "digest", "widths", "strides", "margins", "__call__")
    missing = [part for part in parts if getattr(given, part, None) is None]
    if missing:
        raise InputError(
            "network must be a name, a weight file or a network object; this one, of type "
            f"{type(given).__name__}, lacks {', '.join(missing)}; the smallest one that works is: "
            "@jax.tree_util.register_static class Pixels: name, digest = 'pixels', ''; widths, "
            "strides, margins = {'rgb': 3}, {'rgb': 1}, {'rgb': 0}; __call__ = lambda self, image, "
            "layers, tap=nst.keep: {'rgb': tap('rgb', image)[1]}."
        )
    if any(not hasattr(leaf, "dtype") for leaf in jax.tree.leaves(given)):
        raise InputError(
            f"The network of type {type(given).__name__} is no pytree of arrays: make it a "
            "flax.nnx.Module, or, if it holds no arrays, register it with "
            "jax.tree_util.register_static."
        )


def require_layers(network: Network, layers: Iterable[str]) -> None:
    """Raise `InputError`, with near misses, for layers that `network` does not have."""
    known = list(network.widths)
    for layer in layers:
        if layer not in known:
            near = difflib.get_close_matches(layer, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise InputError(
                f"The network '{network.name}' has no layer '{layer}'.{hint} "
                f"It has {', '.join(known)}."
            )


def require_size(network: Network, image: AnyArray, layers: Iterable[str], what: str) -> None:
    """Raise `InputError` for a picture too small to leave one position at the deepest layer."""
    height, width, _ = image.shape
    stride = max((network.strides[layer] for layer in layers), default=1)
    if min(height, width) < stride:
        raise InputError(
            f"The {what} is {width}x{height} pixels, too small for layers as deep as these: both "
            f"sides need at least {stride} pixels. Give a larger size or shallower layers."
        )


def features(
    network: Network, image: Float[AnyArray, "h w 3"], layers: Iterable[str]
) -> dict[str, Float[Array, "h2 w2 c"]]:
    """Activations of named layers: `features(network, image, ["relu4_2"])`.

    Args:
        network: VGG or another `Network`.
        image: (h, w, 3), RGB in [0, 1].
        layers: layer names.

    Raises:
        InputError: a layer that the network does not have, or a picture too small for it.
    """
    layers = tuple(layers)
    require_layers(network, layers)
    require_size(network, image, layers, "picture")
    return network(image, layers)

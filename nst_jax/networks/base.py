"""The protocol of feature extractors, and `features`, which runs one."""

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
    """A function that a network calls at each requested layer.

    It decides what the network returns for the layer, and may change the activations with which the
    network goes on.
    """

    def __call__(
        self, layer: str, x: Array, head: Float[Array, "i o"] | None = None, /
    ) -> tuple[Array, Any]:
        """Handle the activations of one layer.

        Args:
            layer: name of the layer.
            x: its activations, (h, w, i).
            head: None if the activations are the layer's features. Otherwise the features are the
                product of `x` with this matrix; statistics may be cheaper to compute from `x`.

        Returns:
            The activations with which the network goes on, and what it returns for the layer.
        """
        ...


def keep(layer: str, x: Array, head: Float[Array, "i o"] | None = None) -> tuple[Array, Array]:
    """The tap that returns the features of a layer themselves."""
    del layer
    return x, projected(x, head)


@runtime_checkable
class Network(Protocol):
    """What objectives need of a feature extractor. Any pytree with these members will do.

    A network may also have `content_layers` and `style_layers`, dicts from layer name to weight.
    They are the default layers if the preset names layers that the network does not have. Without
    them, the default is all layers with weight 1.

    Attributes:
        name: name of the network, stored with results.
        digest: digest of its weights, stored with results.
    """

    name: str
    digest: str

    @property
    def widths(self) -> Mapping[str, int]:
        """Number of feature maps N_l of each layer, in order of depth, as the losses use it."""
        ...

    @property
    def strides(self) -> Mapping[str, int]:
        """Stride of each layer: picture pixels from one position to the next."""
        ...

    @property
    def margins(self) -> Mapping[str, int]:
        """For each layer, the pixels that a position sees beyond its own stride x stride block.

        They are counted on each side of the block.
        """
        ...

    def __call__(
        self, image: Float[AnyArray, "h w 3"], layers: tuple[str, ...], tap: Tap = keep
    ) -> dict[str, Any]:
        """Run the network on a picture; return what `tap` gives for each layer, by layer name.

        Args:
            image: RGB in [0, 1].
            layers: the requested layers.
            tap: called with the activations of each of them.
        """
        ...


@dataclass(frozen=True)
class Options:
    """How a network is run.

    Attributes:
        pooling: `max`, `average`, or `average-rescaled` (see `pool2x2`).
        padding: border of the first convolution; the others always pad with zeros.
        precision: of the convolutions; activations are bfloat16 for `bfloat16`, else float32.
        remat: recompute each block's activations in the backward pass instead of keeping them,
            which takes less memory and more time.
    """

    pooling: Pooling = "max"
    padding: Padding = "zero"
    precision: Precision = "float32"
    remat: bool = False


def preprocess(image: Float[AnyArray, "h w 3"], how: Preprocessing) -> Float[Array, "h w 3"]:
    """Convert RGB in [0, 1] to a network's input: channel order, scale, mean and deviation."""
    x = jnp.asarray(image)[..., :: -1 if how.order == "BGR" else 1]
    mean, std = (jnp.asarray(v, x.dtype)[None, None] for v in (how.mean, how.std))
    return (x * how.scale - mean) / std


def require_network(given: Any) -> None:
    """Raise `InputError` if an object is not a `Network`, or not a pytree of arrays."""
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
    """Raise `InputError`, with the nearest name, for a layer that `network` does not have."""
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
    """Raise `InputError` if a picture is too small for one position at the deepest of `layers`."""
    height, width, _ = image.shape
    stride = max((network.strides[layer] for layer in layers), default=1)
    if min(height, width) < stride:
        raise InputError(
            f"The {what} is {width}x{height} pixels, too small for layers as deep as these: both "
            f"sides need at least {stride} pixels. Give a larger size or shallower layers."
        )


def require_picture(image: Any) -> None:
    """Raise `InputError` if `image` is not one picture as an array of floats, (h, w, 3)."""
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if dtype is None or shape is None:
        raise InputError(
            f"The picture is a {type(image).__name__}; expected an array (height, width, 3) in "
            "[0, 1]: read files with PIL, and divide by 255."
        )
    if len(shape) != 3 or shape[-1] != 3:
        raise InputError(
            f"The picture has the shape {tuple(shape)}; expected (height, width, 3): repeat the "
            "channel of a grey picture, and use jax.vmap for several pictures."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(
            f"The picture has values of type {dtype}; expected floats in [0, 1]: divide by 255."
        )


def features(
    network: Network, image: Float[AnyArray, "h w 3"], layers: str | Iterable[str]
) -> dict[str, Float[Array, "h2 w2 c"]]:
    """Compute the features of layers: `features(network, image, "relu4_2")`, or a list of names.

    Args:
        network: VGG or another `Network`.
        image: (h, w, 3), RGB in [0, 1].
        layers: a layer's name, or several.

    Returns:
        A dict from layer name to features (h', w', c).

    Raises:
        InputError: the network does not have a layer, the picture is too small for it, or it is no
            array of floats (h, w, 3).
    """
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    require_picture(image)
    require_layers(network, layers)
    require_size(network, image, layers, "picture")
    return network(image, layers)

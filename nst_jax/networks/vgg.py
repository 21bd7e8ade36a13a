"""VGG19 and VGG16 (Simonyan & Zisserman 2014) as feature extractors with named layers."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Array, Float

from nst_jax.choices import Padding, Pooling, Precision
from nst_jax.errors import InputError
from nst_jax.networks.blocks import rematerialized, with_padding, with_pool, with_relu
from nst_jax.networks.layers import FrozenConv, activation_dtype, pool2x2, projected, relu
from nst_jax.networks.weightfile import ARCHITECTURES, Preprocessing
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


class VGG(nnx.Module):
    """A VGG network up to its last convolution; a pytree, its options are static.

    Args:
        architecture: `"vgg19"` or `"vgg16"`.
        weights: `conv1_1.kernel` (3, 3, in, out), `conv1_1.bias` (out,), ...
        preprocessing: how RGB in [0, 1] becomes what these weights were trained on.
        options: pooling, border, precision, rematerialisation.
        layers: those that will be asked for; no convolution past the deepest is kept. None: all.
        name: the name of the weights, kept with results.
        digest: digest of the weights, kept with results.

    Source: Simonyan & Zisserman 2014, configurations D and E.
    """

    def __init__(
        self,
        architecture: str,
        weights: Mapping[str, AnyArray],
        preprocessing: Preprocessing,
        options: Options | None = None,
        *,
        layers: Iterable[str] | None = None,
        name: str = "",
        digest: str = "",
    ):
        self.name = name or architecture
        self.digest = digest
        self.preprocessing = preprocessing
        self.options = options or Options()
        counts = ARCHITECTURES[architecture]
        names = list(_names(counts))
        # An unknown layer is refused when it is asked for, with the list of all.
        wanted = set(names if layers is None else layers)
        deepest = max(map(names.index, wanted), default=0) if wanted <= set(names) else len(names)
        self.layers = tuple(names[: deepest + 1])
        self.blocks = nnx.List(
            nnx.List(
                FrozenConv(
                    weights[f"conv{b}_{i}.kernel"],
                    weights[f"conv{b}_{i}.bias"],
                    self.options.precision,
                    stride=2 ** (b - 1),
                )
                for i in range(1, count + 1)
                if f"conv{b}_{i}" in self.layers
            )
            for b, count in enumerate(counts, 1)
        )

    @property
    def widths(self) -> dict[str, int]:
        """Feature maps of every named layer, in order of depth."""
        blocks = [[conv.width for conv in block] for block in self.blocks]
        return {
            layer: blocks[int(layer[4]) - 1][-1 if layer[:4] == "pool" else int(layer[6]) - 1]
            for layer in self.layers
        }

    @property
    def strides(self) -> dict[str, int]:
        """Picture pixels from one position to the next, per layer."""
        return {
            layer: 2 ** (int(layer[4]) if layer.startswith("pool") else int(layer[4]) - 1)
            for layer in self.layers
        }

    @property
    def margins(self) -> dict[str, int]:
        """Picture pixels that a position sees beyond its own, on every side, per layer."""
        found, margin = {}, 0
        for layer, stride in self.strides.items():
            # A 3x3 convolution sees one position more; pooling stays within blocks.
            margin += stride if layer.startswith("conv") else 0
            found[layer] = margin
        return found

    def __call__(
        self, image: Float[AnyArray, "h w 3"], layers: tuple[str, ...], tap: Tap = keep
    ) -> dict[str, Any]:
        """Activations of `layers`; nothing past the deepest of them is computed.

        Args:
            image: RGB in [0, 1] (values outside are allowed: an optimiser passes through them).
            layers: names such as `conv4_2`, `relu4_2` (after the nonlinearity), `pool4`.
            tap: what to give back for a layer; its activations, if nothing else is said. Arrays
                that it needs belong into a `jax.tree_util.Partial`.

        Returns:
            A dict from layer name to (h', w', c), float32, or bfloat16 at that precision.

        Raises:
            InputError: a layer that the network does not have.
        """
        require_layers(self, layers)
        tap = tap if isinstance(tap, Partial) else Partial(tap)
        wanted, features = set(layers), {}
        x = preprocess(image, self.preprocessing).astype(activation_dtype(self.options.precision))
        for number, block in enumerate(self.blocks, 1):
            if not wanted:
                break
            run = partial(_run_block, options=self.options, number=number, wanted=frozenset(wanted))
            x, found = (rematerialized(run) if self.options.remat else run)((block, tap), x)
            features |= found
            wanted -= found.keys()
        return features


def _names(counts: Iterable[int]) -> Iterator[str]:
    """Every layer's name, in order of depth."""
    for b, count in enumerate(counts, 1):
        for i in range(1, count + 1):
            yield from (f"conv{b}_{i}", f"relu{b}_{i}")
        yield f"pool{b}"


def _run_block(
    parts: tuple[Sequence[FrozenConv], Tap],
    x: Array,
    *,
    options: Options,
    number: int,
    wanted: frozenset[str],
) -> tuple[Array, dict[str, Any]]:
    (block, tap), found = parts, {}
    for i, conv in enumerate(block, 1):
        if wanted <= found.keys():
            return x, found
        asked = {f"conv{number}_{i}", f"relu{number}_{i}"} & wanted
        if i == len(block) and options.pooling == "max" and not asked:
            x, here = _at(f"pool{number}", with_pool(conv, x), wanted, tap)
            return x, found | here
        first = number == i == 1
        run = partial(
            _run_layer,
            layer=f"{number}_{i}",
            padding=options.padding if first else "zero",
            wanted=wanted,
        )
        # The first layer has the largest activations, and costs least to run again.
        x, here = (rematerialized(run) if first else run)((conv, tap), x)
        found |= here
    if not wanted <= found.keys():
        x, here = _at(f"pool{number}", pool2x2(x, options.pooling), wanted, tap)
        found |= here
    return x, found


def _run_layer(
    parts: tuple[FrozenConv, Tap],
    x: Array,
    *,
    layer: str,
    padding: Padding,
    wanted: frozenset[str],
) -> tuple[Array, dict[str, Any]]:
    (conv, tap), before = parts, {}
    if f"conv{layer}" in wanted:
        x, before = _at(f"conv{layer}", with_padding(conv, x, padding), wanted, tap)
        x = relu(x)
    else:
        x = with_relu(conv, x, padding, measured=f"relu{layer}" in wanted)
    x, after = _at(f"relu{layer}", x, wanted, tap)
    return x, before | after


def _at(layer: str, x: Array, wanted: frozenset[str], tap: Tap) -> tuple[Array, dict[str, Any]]:
    if layer not in wanted:
        return x, {}
    x, found = tap(layer, x)
    return x, {layer: found}


def preprocess(image: Float[AnyArray, "h w 3"], how: Preprocessing) -> Float[Array, "h w 3"]:
    """RGB in [0, 1] to the network's own input: channel order, scale, mean, standard deviation."""
    x = jnp.asarray(image)[..., :: -1 if how.order == "BGR" else 1]
    mean, std = (jnp.asarray(v, x.dtype)[None, None] for v in (how.mean, how.std))
    return (x * how.scale - mean) / std


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

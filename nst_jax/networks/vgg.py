"""VGG19 and VGG16 (Simonyan & Zisserman 2014) as feature extractors with named layers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Array, Float

from nst_jax.files.weightfile import ARCHITECTURES, Preprocessing
from nst_jax.networks.base import Options, Tap, keep, preprocess, require_layers
from nst_jax.networks.blocks import rematerialized, with_padding, with_pool, with_relu
from nst_jax.networks.layers import FrozenConv, activation_dtype, pool2x2, relu
from nst_jax.options import Padding
from nst_jax.typing import AnyArray


class VGG(nnx.Module):
    """The convolutional part of VGG19 or VGG16: a pytree of its weights, with static options.

    Source: Simonyan & Zisserman 2014, configurations E (VGG19) and D (VGG16).

    Args:
        architecture: `"vgg19"` or `"vgg16"`.
        weights: `conv1_1.kernel` (3, 3, in, out), `conv1_1.bias` (out,), ...
        preprocessing: how RGB in [0, 1] becomes the input with which the weights were trained.
        options: pooling, border, precision and rematerialisation.
        layers: the layers that will be requested; convolutions past the deepest of them are left
            out. None keeps all.
        name: name of the weights, stored with results.
        digest: digest of the weights, stored with results.
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
        # An unknown layer keeps all layers here; it is refused when it is requested.
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
        """Number of feature maps of each layer, in order of depth."""
        blocks = [[conv.width for conv in block] for block in self.blocks]
        return {
            layer: blocks[int(layer[4]) - 1][-1 if layer[:4] == "pool" else int(layer[6]) - 1]
            for layer in self.layers
        }

    @property
    def strides(self) -> dict[str, int]:
        """Stride of each layer: picture pixels from one position to the next."""
        return {
            layer: 2 ** (int(layer[4]) if layer.startswith("pool") else int(layer[4]) - 1)
            for layer in self.layers
        }

    @property
    def margins(self) -> dict[str, int]:
        """For each layer, the pixels that a position sees beyond its own block, on each side."""
        found, margin = {}, 0
        for layer, stride in self.strides.items():
            # A 3x3 convolution sees one more position on each side; pooling stays within blocks.
            margin += stride if layer.startswith("conv") else 0
            found[layer] = margin
        return found

    def __call__(
        self, image: Float[AnyArray, "h w 3"], layers: tuple[str, ...], tap: Tap = keep
    ) -> dict[str, Any]:
        """Compute the activations of `layers`. Nothing past the deepest of them is computed.

        Args:
            image: RGB in [0, 1]; values outside are allowed, since optimisers pass through them.
            layers: names such as `conv4_2`, `relu4_2` (after the nonlinearity) and `pool4`.
            tap: decides what to return for a layer; by default its activations. If the tap needs
                arrays, pass them in a `jax.tree_util.Partial`.

        Returns:
            A dict from layer name to activations (h', w', c), float32, or bfloat16 at that
            precision.

        Raises:
            InputError: the network does not have a layer.
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
    """The names of all layers, in order of depth."""
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
        # The first layer has the largest activations and costs least to recompute.
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

"""The embedded network `vgg19-lite`: VGG19 distilled to a ninth of its convolutions' arithmetic.

It is narrower than VGG19 and has nine 3x3 convolutions where VGG19 has thirteen: `conv1_1`,
`conv1_2`, pooling, `conv2_1`, `conv2_2`, pooling, `conv3_1`, `conv3_2`, pooling, `conv4_1`,
`conv4_2`, pooling, `conv5_1`.

The activations h of a layer go through a linear head A, trained so that A h predicts all feature
maps of VGG19. The file holds only the triangular factor R of A = QR. The columns of Q are
orthonormal, so squared distances between features, and between their Gram matrices, are the same
for R h as for A h, but R h has only as many channels as h. `widths` gives VGG19's N, which the
losses use to normalise, so that loss weights mean the same for both networks.
`scripts/distill/distill.py` trains the network; `docs/vgg19-lite.md` is its model card.
"""

import itertools
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.files.weightfile import Preprocessing
from nst_jax.networks.base import Options, Tap, keep, preprocess, require_layers
from nst_jax.networks.blocks import rematerialized, with_pool, with_relu
from nst_jax.networks.layers import FrozenConv, activation_dtype, pool2x2
from nst_jax.typing import AnyArray

ARCHITECTURE = "vgg19-lite"
# VGG19's number of feature maps. STRIDES: picture pixels from one position to the next.
WIDTHS = {
    "relu1_1": 64,
    "relu2_1": 128,
    "relu3_1": 256,
    "relu4_1": 512,
    "relu4_2": 512,
    "relu5_1": 512,
}
STRIDES = {layer: 2 ** (int(layer[4]) - 1) for layer in WIDTHS}
BLOCKS = (
    ("conv1_1", "conv1_2"),
    ("conv2_1", "conv2_2"),
    ("conv3_1", "conv3_2"),
    ("conv4_1", "conv4_2"),
    ("conv5_1",),
)


class Lite(nnx.Module):
    """The embedded network `vgg19-lite`: a pytree of its weights, with static options.

    Args:
        weights: `conv1_1.kernel` (3, 3, in, out), `conv1_1.bias` (out,), ..., and `relu1_1.head`
            (w, w), `relu2_1.head`, ...: the factor R of each head, transposed.
        preprocessing: how RGB in [0, 1] becomes the input with which the weights were trained.
        options: border, precision and rematerialisation; pooling must be `"max"`.
        layers: as for `VGG`, but ignored, since the deepest layers are small.
        name: name of the weights, stored with results.
        digest: digest of the weights, stored with results.

    Raises:
        InputError: weights are missing or do not fit together, or pooling is not `"max"`.
    """

    def __init__(
        self,
        weights: Mapping[str, AnyArray],
        preprocessing: Preprocessing,
        options: Options | None = None,
        *,
        layers: Iterable[str] | None = None,
        name: str = ARCHITECTURE,
        digest: str = "",
    ):
        del layers
        self.name = name
        self.digest = digest
        self.preprocessing = preprocessing
        self.options = options or Options()
        if self.options.pooling != "max":
            raise InputError(
                f"The network '{name}' was distilled from VGG19 with max pooling and knows no "
                f"'{self.options.pooling}' pooling: choose pooling max, or the network vgg19."
            )
        _require_shapes(weights, name)
        self.convs = nnx.Dict(
            {
                conv: FrozenConv(
                    weights[f"{conv}.kernel"],
                    weights[f"{conv}.bias"],
                    self.options.precision,
                    stride=2**number,
                )
                for number, block in enumerate(BLOCKS)
                for conv in block
            }
        )
        self.heads = nnx.Dict(
            {
                layer: nnx.Param(jnp.asarray(weights[f"{layer}.head"], jnp.float32))
                for layer in WIDTHS
            }
        )

    @property
    def widths(self) -> dict[str, int]:
        """VGG19's number of feature maps for each available layer, in order of depth."""
        return dict(WIDTHS)

    @property
    def strides(self) -> dict[str, int]:
        """Stride of each layer: picture pixels from one position to the next."""
        return dict(STRIDES)

    @property
    def margins(self) -> dict[str, int]:
        """For each layer, the pixels that a position sees beyond its own block, on each side."""
        strides = [2**number for number, block in enumerate(BLOCKS) for _ in block]
        convs = itertools.chain(*BLOCKS)
        found = dict(zip(map(_relu, convs), itertools.accumulate(strides), strict=True))
        return {layer: found[layer] for layer in WIDTHS}

    def __call__(
        self, image: Float[AnyArray, "h w 3"], layers: tuple[str, ...], tap: Tap = keep
    ) -> dict[str, Any]:
        """Compute features of `layers`. Nothing past the deepest of them is computed.

        Args:
            image: RGB in [0, 1]; values outside are allowed, since optimisers pass through them.
            layers: any of `relu1_1`, `relu2_1`, `relu3_1`, `relu4_1`, `relu4_2`, `relu5_1`.
            tap: decides what to return for a layer from its activations and its head; by default
                the features.

        Returns:
            A dict from layer name to features (h', w', c), float32, or bfloat16 at that precision.
            Height and width are those of VGG19. The channels are fewer, and rotated.

        Raises:
            InputError: the network has no head for a layer.
        """
        require_layers(self, layers)
        tap = tap if isinstance(tap, Partial) else Partial(tap)
        wanted, features = set(layers), {}
        x = preprocess(image, self.preprocessing).astype(activation_dtype(self.options.precision))
        for block in BLOCKS:
            if not wanted:
                break
            run = partial(_run_block, options=self.options, wanted=frozenset(wanted))
            run = rematerialized(run) if self.options.remat else run
            convs = {conv: self.convs[conv] for conv in block}
            heads = {
                layer: self.heads[layer][...] for layer in map(_relu, block) if layer in wanted
            }
            x, found = run((convs, heads, tap), x)
            features |= found
            wanted -= found.keys()
        return features


def _relu(conv: str) -> str:
    return conv.replace("conv", "relu")


def _run_block(
    parts: tuple[dict[str, FrozenConv], dict[str, Array], Tap],
    x: Array,
    *,
    options: Options,
    wanted: frozenset[str],
) -> tuple[Array, dict[str, Any]]:
    """Run one block and the pooling after it; stop after the last layer in `wanted`."""
    (convs, heads, tap), found = parts, {}
    *_, last = convs
    for name, conv in convs.items():
        layer = _relu(name)
        if name == last and layer not in heads:
            return with_pool(conv, x), found
        padding = options.padding if name == "conv1_1" else "zero"
        x = with_relu(conv, x, padding, measured=layer in heads)
        if layer in heads:
            x, found[layer] = tap(layer, x, heads[layer])
            if found.keys() == wanted:
                return x, found
    return pool2x2(x, "max"), found


def _require_shapes(weights: Mapping[str, AnyArray], name: str) -> None:
    """Raise one `InputError` that lists all tensors that are missing or do not fit."""
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    problems, depth = [], 3

    def check(key: str, expected: tuple[int, ...]) -> None:
        if shapes.get(key) != expected:
            problems.append(f"{key} is {shapes.get(key, 'missing')}, expected {expected}")

    for conv in itertools.chain(*BLOCKS):
        # The kernel in the file sets the width of a convolution; everything else must fit it.
        width = (shapes.get(f"{conv}.kernel") or (0,))[-1]
        check(f"{conv}.kernel", (3, 3, depth, width))
        check(f"{conv}.bias", (width,))
        if _relu(conv) in WIDTHS:
            check(f"{_relu(conv)}.head", (width, width))
        depth = width
    if problems:
        raise InputError(f"The weights '{name}' are no {ARCHITECTURE}: {'; '.join(problems)}.")

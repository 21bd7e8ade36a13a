"""The embedded network `vgg19-lite`: VGG19 distilled to a twentieth of its arithmetic.

Half of VGG19's width from its second block on, eight 3x3 convolutions where VGG19 has thirteen:

====================  ========================================================================
`shallow`             picture -> relu1_1's own filters, at full size; nothing else is
`stem`                2x2 patches of the picture as 12 channels -> first features, at half size
`conv2_1`             -> relu2_1, then pooling
`conv3_1` ...         -> relu3_1, two more convolutions, pooling
`conv4_1`, `conv4_2`  -> relu4_1, relu4_2, pooling
`conv5_1`             -> relu5_1
====================  ========================================================================

Each layer's features h go through a linear head, trained to predict all of VGG19's feature maps
as A h. Kept is not A but the triangular R of A = QR: Q's columns are orthonormal, so squared
distances and Gram matrices' distances of R h are those of A h, with as many channels as h has.
`widths` states VGG19's N for the losses' normalisations, so loss weights mean the same for both.
`scripts/distill.py` trains it; `docs/vgg19-lite.md` is its model card.
"""

import itertools
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.networks.layers import (
    FrozenConv,
    activation_dtype,
    pool2x2,
    rematerialized,
    with_padding,
)
from nst_jax.networks.vgg import Options, preprocess, require_layers
from nst_jax.networks.weightfile import Preprocessing
from nst_jax.typing import AnyArray

ARCHITECTURE = "vgg19-lite"
# VGG19's number of feature maps, and the picture's pixels per position.
WIDTHS = {
    "relu1_1": 64,
    "relu2_1": 128,
    "relu3_1": 256,
    "relu4_1": 512,
    "relu4_2": 512,
    "relu5_1": 512,
}
STRIDES = {layer: 2 ** (int(layer[4]) - 1) for layer in WIDTHS}
CONVS = ("shallow", "stem", "conv2_1", "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2",
         "conv5_1")  # fmt: skip


class Lite(nnx.Module):
    """The embedded network; a pytree, its options are static.

    Args:
        weights: `shallow.kernel` (3, 3, 3, w), `shallow.bias` (w,), `stem.kernel` (3, 3, 12, w),
            ..., and `relu1_1.head` (w, w), `relu2_1.head`, ...: the heads' R, transposed.
        preprocessing: how RGB in [0, 1] becomes what these weights were trained on.
        options: border, precision, rematerialisation; the pooling is always `"max"`.
        name: the name of the weights, kept with results.
        digest: digest of the weights, kept with results.

    Raises:
        InputError: weights that are missing or do not fit together, or another pooling.
    """

    def __init__(
        self,
        weights: Mapping[str, AnyArray],
        preprocessing: Preprocessing,
        options: Options | None = None,
        *,
        name: str = ARCHITECTURE,
        digest: str = "",
    ):
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
                    jnp.asarray(weights[f"{conv}.kernel"], jnp.float32),
                    jnp.asarray(weights[f"{conv}.bias"], jnp.float32),
                )
                for conv in CONVS
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
        """VGG19's feature maps of every available layer, in order of depth."""
        return dict(WIDTHS)

    @property
    def strides(self) -> dict[str, int]:
        """Picture pixels from one position to the next, per layer."""
        return dict(STRIDES)

    def __call__(
        self, image: Float[AnyArray, "h w 3"], layers: tuple[str, ...]
    ) -> dict[str, Float[Array, "h2 w2 c"]]:
        """Activations of `layers`; nothing past the deepest of them is computed.

        Args:
            image: RGB in [0, 1] (values outside are allowed: an optimiser passes through them).
            layers: of `relu1_1`, `relu2_1`, `relu3_1`, `relu4_1`, `relu4_2`, `relu5_1`.

        Returns:
            A dict from layer name to (h', w', c), float32, or bfloat16 at that precision; VGG19's
            sizes, its channels rotated and fewer.

        Raises:
            InputError: a layer that the network has no head for.
        """
        require_layers(self, layers)
        x = preprocess(image, self.preprocessing).astype(activation_dtype(self.options.precision))
        features = {}
        if "relu1_1" in layers:
            features["relu1_1"] = self._head("relu1_1", self._at_border("shallow", x))
        deep = [conv for conv in CONVS[2:] if conv.replace("conv", "relu") in layers]
        if not deep:
            return features
        x = self._at_border("stem", patches2x2(x))
        for block, convs in itertools.groupby(
            CONVS[2 : CONVS.index(deep[-1]) + 1], key=lambda conv: conv[4]
        ):
            run = partial(_run_block, pool=block != "2", layers=layers, options=self.options)
            run = rematerialized(run) if self.options.remat else run
            names = tuple(convs)
            parts = (
                {conv: self.convs[conv] for conv in names},
                {
                    layer: self.heads[layer][...]
                    for conv in names
                    if (layer := conv.replace("conv", "relu")) in layers
                },
            )
            x, found = run(parts, x)
            features |= found
        return features

    def _at_border(self, conv: str, x: Array) -> Array:
        options = self.options
        return jax.nn.relu(with_padding(self.convs[conv], x, options.padding, options.precision))

    def _head(self, layer: str, x: Array) -> Array:
        return _project(x, self.heads[layer][...])


def _run_block(
    parts: tuple[dict, dict], x: Array, *, pool: bool, layers: tuple[str, ...], options: Options
) -> tuple[Array, dict[str, Array]]:
    convs, heads = parts
    if pool:
        x = pool2x2(x, "max")
    found = {}
    for name, conv in convs.items():
        x = jax.nn.relu(conv(x, options.precision))
        layer = name.replace("conv", "relu")
        if layer in layers:
            found[layer] = _project(x, heads[layer])
    return x, found


def _project(x: Array, head: Array) -> Array:
    return jnp.dot(x, head.astype(x.dtype), precision=lax.Precision.HIGHEST)


def patches2x2(x: Float[Array, "h w c"]) -> Float[Array, "h2 w2 c4"]:
    """Each 2x2 patch as one position: channels of its upper left, upper right, lower left and
    lower right pixel. An odd last row or column is dropped, as VGG19's pooling does.
    """
    h, w, _ = x.shape
    x = x[: h // 2 * 2, : w // 2 * 2]
    return jnp.concatenate([x[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)


def _require_shapes(weights: Mapping[str, AnyArray], name: str) -> None:
    """Raise one `InputError` that lists every tensor that is missing or does not fit."""
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    problems, depth = [], {"shallow": 3, "stem": 12}
    for previous, conv in itertools.pairwise(("", *CONVS)):
        expected = depth.get(conv) or shapes.get(f"{previous}.kernel", (0,))[-1]
        kernel = shapes.get(f"{conv}.kernel", ())
        width = kernel[-1] if kernel else 0
        if kernel[:3] != (3, 3, expected):
            problems.append(f"{conv}.kernel is {kernel}, expected (3, 3, {expected}, ...)")
        if shapes.get(f"{conv}.bias") != (width,):
            problems.append(f"{conv}.bias is {shapes.get(f'{conv}.bias')}, expected ({width},)")
        layer = {"shallow": "relu1_1"}.get(conv, conv.replace("conv", "relu"))
        if layer in WIDTHS and shapes.get(f"{layer}.head") != (width, width):
            problems.append(
                f"{layer}.head is {shapes.get(f'{layer}.head')}, expected {(width, width)}"
            )
    if problems:
        raise InputError(f"The weights '{name}' are no {ARCHITECTURE}: {'; '.join(problems)}.")

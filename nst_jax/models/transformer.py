"""Networks that transform a picture, in the layout of Johnson et al., for one style or several.

`johnson` is the network of Johnson et al. 2016 with its authors' later changes (instance
normalisation, nearest-neighbour upsampling, reflected borders): c9s1-32, d64, d128, residual
blocks, u64, u32, c9s1-3.

`small` and `medium` are half as wide, for CPUs and live use. They start by packing 2x2 pixels into
one pixel of twelve channels, so that no wide layer has the full resolution. Their last convolution
includes the upsampling to full resolution. Their upsampling stage is a depthwise and a pointwise
convolution, and so are the residual blocks of `small`.

`dumoulin`, `magenta`, `lengstrom` and `torch7` are networks of others in the layout of `johnson`;
`_LAYOUTS` says how they differ.

Each style has its own scales and shifts after every normalisation; the styles share all other
parameters (Dumoulin et al. 2017). A `blend` holds weights of the styles that sum to 1: `(b, n)` for
each picture, or `(b, h, w, n)` for each pixel.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.models import stages
from nst_jax.models.layers import EPSILON, padded
from nst_jax.models.stages import Kind, Padding, Parameters, Stage
from nst_jax.typing import AnyArray

Variant = Literal["johnson", "medium", "small", "dumoulin", "magenta", "lengstrom", "torch7"]
Output = Literal["sigmoid", "linear", "tanh"]
VARIANTS: tuple[str, ...] = get_args(Variant)
_GAIN = 150.0  # of a `tanh` output, in 0..255
_MEAN = (123.68, 116.779, 103.939)  # of the pictures with which VGG was trained


@dataclass(frozen=True)
class _Layout:
    """How networks in Johnson et al.'s layout differ.

    Attributes:
        widths: channels after each of the three convolutions down, and of the two up.
        first: whether the convolutions down are normalised.
        last: whether the last convolution is normalised.
        transposed: whether convolutions up are transposed, not after nearest-neighbour upsampling.
        padding: what is beyond the border.
        inner: the same in the residual blocks. With `none` the picture gets a reflected rim, which
            the blocks use up.
        epsilon: what the normalisation adds to the variance.
        mean: mean colour that is taken from pictures in 0..255.
        center: colour in 0..255 around which a `tanh` output lies.
    """

    widths: tuple[int, ...] = (32, 64, 128, 64, 32)
    first: bool = True
    last: bool = False
    transposed: bool = False
    padding: Padding = "reflect"
    inner: Padding = "reflect"
    epsilon: float = EPSILON
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    center: tuple[float, float, float] = (127.5, 127.5, 127.5)


_LAYOUTS = {
    "johnson": _Layout(),
    # Dumoulin et al. 2017, as in Magenta; their batch of styles on phones is narrower.
    "dumoulin": _Layout(last=True),
    # Ghiasi et al. 2017, as in Magenta's TensorFlow Lite files; batch normalisation became biases.
    "magenta": _Layout(first=False, last=True),
    # github.com/lengstrom/fast-style-transfer
    "lengstrom": _Layout(last=True, transposed=True, padding="same", inner="same", epsilon=1e-3),
    # Johnson et al.'s own models, github.com/jcjohnson/fast-neural-style
    "torch7": _Layout(transposed=True, padding="zero", inner="none", mean=_MEAN, center=_MEAN),
}


_HALF_UP = (
    Stage("up1", "separable", 3, 64, 32, doubles=True),
    Stage("out", "unpacked", 9, 32, 3, normalized=False, linear=True),
)


def _half_down(channels: int) -> tuple[Stage, ...]:
    """The stages down of a network half as wide."""
    return (
        Stage("conv1", "packed", 5, 4 * channels, 32),
        Stage("conv2", "plain", 3, 32, 64, stride=2),
    )


def _johnson(layout: _Layout, channels: int) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    """The stages down and up of a network in Johnson et al.'s layout."""
    a, b, c, d, e = layout.widths
    own: dict[str, Any] = {"padding": layout.padding, "epsilon": layout.epsilon}
    down: dict[str, Any] = own | {"normalized": layout.first}
    kind: Kind = "transposed" if layout.transposed else "plain"
    up: dict[str, Any] = own | {"doubles": not layout.transposed}
    return (
        (
            Stage("conv1", "plain", 9, channels, a, **down),
            Stage("conv2", "plain", 3, a, b, stride=2, **down),
            Stage("conv3", "plain", 3, b, c, stride=2, **down),
        ),
        (
            Stage("up1", kind, 3, c, d, **up),
            Stage("up2", kind, 3, d, e, **up),
            Stage("out", "plain", 9, e, 3, normalized=layout.last, linear=True, **own),
        ),
    )


@dataclass(frozen=True)
class Architecture:
    """The static description of a transformer; hashable.

    Attributes:
        variant: one of `VARIANTS`.
        styles: number of styles.
        output: `sigmoid`; or, for networks of other projects, whose results are clipped, `linear`
            or `tanh` (150 tanh(x) in 0..255, around a mean colour).
        units: pictures enter the network in [0, units]; a `linear` output has the same range.
        blocks: number of residual blocks.
        widths: channels after each of the three convolutions down, and of the two up; none for
            those of the variant.
        carried: whether it is for films (Ruder, Dosovitskiy & Brox 2018): after the picture's
            channels come those of the last frame's result, warped to this frame, and how far that
            can be trusted, which is zero where there is none.
    """

    variant: Variant = "small"
    styles: int = 1
    output: Output = "sigmoid"
    units: float = 1.0
    blocks: int = 5
    widths: tuple[int, ...] = ()
    carried: bool = False

    @property
    def channels(self) -> int:
        """Number of channels that enter the network."""
        return 7 if self.carried else 3

    @property
    def groups(self) -> tuple[tuple[Stage, ...], ...]:
        """The stages in order, in groups: downsampling, each residual block, upsampling."""
        own: dict[str, Any] = {}
        deep: Kind = "separable" if self.variant == "small" else "plain"
        if self.variant in ("medium", "small"):
            width, down, up = 64, _half_down(self.channels), _HALF_UP
        else:
            layout = _LAYOUTS[self.variant]
            layout = replace(layout, widths=self.widths or layout.widths)
            width, (down, up) = layout.widths[2], _johnson(layout, self.channels)
            own = {"padding": layout.inner, "epsilon": layout.epsilon}
        blocks = tuple(
            (
                Stage(f"res{i}.a", deep, 3, width, width, **own),
                Stage(f"res{i}.b", deep, 3, width, width, adds=True, **own),
            )
            for i in range(1, self.blocks + 1)
        )
        return (down, *blocks, up)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages, in order."""
        return tuple(stage for group in self.groups for stage in group)

    @property
    def leads(self) -> bool:
        """Whether pictures are extended to multiples of four above and on the left.

        There TensorFlow's padding puts the rows and columns that are missing.
        """
        return self.variant == "lengstrom"

    @property
    def widest(self) -> float:
        """The largest number of activations per picture pixel in any stage."""
        size, found = 1.0, 0.0
        for stage in self.stages:
            size *= stage.scale
            found = max(found, size**2 * stage.outputs)
        return found

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all parameters, by name."""
        return stages.shapes(self.stages, self.styles)


_FLAT = 0.02  # below this slope of the logistic function (0.25 in the middle) nothing is learnt
STRIDE = 4  # both sides of a picture are multiples of it


def transform(
    architecture: Architecture,
    parameters: Parameters,
    image: Float[AnyArray, "b h w c"],
    blend: Float[AnyArray, "b *hw n"],
) -> Float[Array, "b h w 3"]:
    """Draw pictures in the styles of `blend`.

    Args:
        architecture: the network; static.
        parameters: arrays with the names and shapes of `architecture.shapes`.
        image: RGB in [0, 1]; both sides are multiples of 4. For a network with `carried` also the
            four channels carried from the frame before, unless there is none.
        blend: weights of the styles, (b, n) or (b, h, w, n), summing to 1.
    """
    x = entry(architecture, parameters, image)
    for group in architecture.groups:
        x, _ = stages.run(group, parameters, x, blend, [None] * len(group))
    return exit_(architecture, x)


def entry(
    architecture: Architecture, parameters: Parameters, image: Float[AnyArray, "b h w c"]
) -> Float[Array, "b h2 w2 c2"]:
    """The input of the first stage, in the dtype of the parameters."""
    layout = _LAYOUTS.get(architecture.variant, _Layout())
    missing = architecture.channels - image.shape[-1]
    x = jnp.pad(image, ((0, 0), (0, 0), (0, 0), (0, missing))) * architecture.units
    if any(layout.mean):
        x = x - jnp.asarray(layout.mean)[None, None, None]
    if layout.inner == "none":
        x = padded(x, 2 * STRIDE * architecture.blocks)
    return x.astype(parameters["conv1.kernel"].dtype)


def exit_(architecture: Architecture, x: Float[AnyArray, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Convert the output of the last stage to a picture, float32."""
    x = jnp.asarray(x, jnp.float32)
    if architecture.output == "sigmoid":
        return _sigmoid(x)
    if architecture.output == "tanh":
        center = _LAYOUTS.get(architecture.variant, _Layout()).center
        return (_GAIN * jnp.tanh(x) + jnp.asarray(center)[None, None, None]) / 255
    return x / architecture.units


def for_films(
    architecture: Architecture, parameters: Parameters
) -> dict[str, Float[np.ndarray, "..."]]:
    """Parameters of a network with `carried` that draws as `architecture`, whatever is carried."""
    found = {name: np.asarray(value) for name, value in parameters.items()}
    kernel = found["conv1.kernel"]
    side, _, inputs, outputs = kernel.shape
    pixels = inputs // architecture.channels
    more = replace(architecture, carried=True).channels - architecture.channels
    apart = kernel.reshape(side, side, pixels, -1, outputs)
    wide = np.pad(apart, ((0, 0), (0, 0), (0, 0), (0, more), (0, 0)))
    return found | {"conv1.kernel": wide.reshape(side, side, -1, outputs)}


@jax.custom_vjp
def _sigmoid(x):
    """The logistic function, with a larger gradient from black or white back to the middle.

    Early in training the steps of the last convolution are large. Pixels that they make black or
    white would stay so for thousands of steps, because the function's own slope is tiny there.
    """
    return jax.nn.sigmoid(x)


def _sigmoid_forward(x):
    y = jax.nn.sigmoid(x)
    return y, y


def _sigmoid_backward(y, g):
    slope, back = y * (1 - y), g * (y - 0.5) > 0
    return (g * jnp.where(back & (slope < _FLAT), 0.25, slope),)


_sigmoid.defvjp(_sigmoid_forward, _sigmoid_backward)

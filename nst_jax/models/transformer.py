"""The networks that transform a picture: Johnson's layout, for one style or for many.

`johnson` (Johnson et al. 2016, as its authors later gave it: instance normalisation, nearest-
neighbour upsampling, reflected borders): c9s1-32, d64, d128, residual blocks, u64, u32, c9s1-3.
`small` and `medium` are for CPUs and live use, half as wide. They take 2x2 pixels as one of twelve
channels, so that nothing wide is as large as the picture; their upsampling is a depthwise and a
pointwise convolution, and so are `small`'s residual blocks; their last convolution is taken after
nearest-neighbour upsampling too.

Each style has scales and shifts of its own after every normalisation, and shares all else (Dumoulin
et al. 2017). A `blend` says how much of each style there is: `(b, n)` for each picture, or
`(b, h, w, n)` for each pixel, summing to 1.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.models import stages
from nst_jax.models.stages import Kind, Parameters, Stage
from nst_jax.typing import AnyArray

Variant = Literal["johnson", "medium", "small"]
VARIANTS: tuple[str, ...] = get_args(Variant)


@dataclass(frozen=True)
class Architecture:
    """Which network: static and hashable.

    Attributes:
        variant: `johnson`, `medium` or `small`.
        styles: how many.
        output: `sigmoid`, or `linear` for networks of others, whose results are clipped.
        units: the network sees pictures in 0..units; what it gives is in these units if linear.
        blocks: how many residual blocks.
    """

    variant: Variant = "small"
    styles: int = 1
    output: Literal["sigmoid", "linear"] = "sigmoid"
    units: float = 1.0
    blocks: int = 5

    @property
    def groups(self) -> tuple[tuple[Stage, ...], ...]:
        """The stages in order: down, each residual block, up."""
        half = self.variant != "johnson"
        width = 64 if half else 128
        deep: Kind = "separable" if self.variant == "small" else "plain"
        if half:
            down = (
                Stage("conv1", "packed", 5, 12, 32),
                Stage("conv2", "plain", 3, 32, 64, stride=2),
            )
            up = (
                Stage("up1", "separable", 3, 64, 32, doubles=True),
                Stage("out", "unpacked", 9, 32, 3, normalized=False, linear=True),
            )
        else:
            down = (
                Stage("conv1", "plain", 9, 3, 32),
                Stage("conv2", "plain", 3, 32, 64, stride=2),
                Stage("conv3", "plain", 3, 64, 128, stride=2),
            )
            up = (
                Stage("up1", "plain", 3, 128, 64, doubles=True),
                Stage("up2", "plain", 3, 64, 32, doubles=True),
                Stage("out", "plain", 9, 32, 3, normalized=False, linear=True),
            )
        blocks = tuple(
            (
                Stage(f"res{i}.a", deep, 3, width, width),
                Stage(f"res{i}.b", deep, 3, width, width, adds=True),
            )
            for i in range(1, self.blocks + 1)
        )
        return (down, *blocks, up)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All of them."""
        return tuple(stage for group in self.groups for stage in group)

    @property
    def widest(self) -> float:
        """The largest number of activations to a pixel of the picture, of any stage."""
        size, found = 1.0, 0.0
        for stage in self.stages:
            size *= stage.scale
            found = max(found, size**2 * stage.outputs)
        return found

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by name."""
        return stages.shapes(self.stages, self.styles)


_FLAT = 0.02  # slopes, of a logistic function's 0.25 in the middle, below which nothing is learnt
STRIDE = 4  # both sides of a picture are multiples of it


def transform(
    architecture: Architecture,
    parameters: Parameters,
    image: Float[AnyArray, "b h w 3"],
    blend: Float[AnyArray, "b *hw n"],
) -> Float[Array, "b h w 3"]:
    """The picture in the styles of `blend`.

    Args:
        architecture: static.
        parameters: of `architecture.shapes`.
        image: RGB in [0, 1]; both sides multiples of 4.
        blend: weights of the styles, (b, n) or (b, h, w, n), summing to 1.
    """
    x = entry(architecture, parameters, image)
    for group in architecture.groups:
        x, _ = stages.run(group, parameters, x, blend, [None] * len(group))
    return exit_(architecture, x)


def entry(
    architecture: Architecture, parameters: Parameters, image: Float[AnyArray, "b h w 3"]
) -> Float[Array, "b h w 3"]:
    """What the first stage sees, in the dtype of the parameters."""
    dtype = parameters["conv1.kernel"].dtype
    return (jnp.asarray(image) * architecture.units).astype(dtype)


def exit_(architecture: Architecture, x: Float[AnyArray, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """What the last stage gave as a picture, float32."""
    x = jnp.asarray(x, jnp.float32)
    return _sigmoid(x) if architecture.output == "sigmoid" else x / architecture.units


@jax.custom_vjp
def _sigmoid(x):
    """The logistic function; what is black or white has a gradient back to the middle.

    Early in a training the last convolution's steps are large, and by the function's own slope what
    they have made black or white would stay so for thousands of steps.
    """
    return jax.nn.sigmoid(x)


def _sigmoid_forward(x):
    y = jax.nn.sigmoid(x)
    return y, y


def _sigmoid_backward(y, g):
    slope, back = y * (1 - y), g * (y - 0.5) > 0
    return (g * jnp.where(back & (slope < _FLAT), 0.25, slope),)


_sigmoid.defvjp(_sigmoid_forward, _sigmoid_backward)

"""The networks that transform a picture: Johnson's layout, for one style or for many.

`johnson` (Johnson et al. 2016, as its authors later gave it: instance normalisation, nearest-
neighbour upsampling, reflected borders): c9s1-32, d64, d128, residual blocks, u64, u32, c9s1-3.
`small` is for CPUs and live use, half as wide. It takes 2x2 pixels as one of twelve channels, so
that nothing wide is as large as the picture; its residual blocks and its upsampling are depthwise
and pointwise convolutions; its last convolution is taken after nearest-neighbour upsampling too.

Each style has scales and shifts of its own after every normalisation, and shares all else (Dumoulin
et al. 2017). A `blend` says how much of each style there is: `(b, n)` for each picture, or
`(b, h, w, n)` for each pixel, summing to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.feedforward.layers import (
    Moments,
    convolve,
    convolve_doubled,
    depthwise,
    doubled,
    instance_moments,
    normalize,
    padded,
    pointwise,
    space_to_depth,
)
from nst_jax.typing import AnyArray

Variant = Literal["johnson", "small"]
VARIANTS: tuple[str, ...] = get_args(Variant)
Parameters = Mapping[str, AnyArray]
Kind = Literal["plain", "packed", "separable", "unpacked"]


@dataclass(frozen=True)
class Stage:
    """One convolution, and what is around it.

    Attributes:
        name: prefix of its parameters.
        kind: `plain`, `separable`, after `space_to_depth` (`packed`), or at twice the size
            (`unpacked`, see `convolve_doubled`).
        side: of the kernel.
        inputs: channels.
        outputs: channels.
        stride: of the convolution.
        doubles: upsampled before.
        normalized: instance normalisation and, unless `adds`, ReLU follow.
        adds: the input of the stage before is added: the end of a residual block.
    """

    name: str
    kind: Kind
    side: int
    inputs: int
    outputs: int
    stride: int = 1
    doubles: bool = False
    normalized: bool = True
    adds: bool = False

    @property
    def scale(self) -> float:
        """Size of the output relative to the input's."""
        return {"packed": 0.5, "unpacked": 2.0}.get(self.kind, (1 + self.doubles) / self.stride)

    @property
    def reach(self) -> float:
        """How far the output looks, in pixels of the input, rounding included."""
        rim = {"packed": self.side - 1, "unpacked": self.side // 4}.get(self.kind, self.side // 2)
        return rim / (1 + self.doubles) + 1


@dataclass(frozen=True)
class Architecture:
    """Which network: static and hashable.

    Attributes:
        variant: `johnson` or `small`.
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
        small = self.variant == "small"
        width = 64 if small else 128
        deep: Kind = "separable" if small else "plain"
        if small:
            down = (
                Stage("conv1", "packed", 5, 12, 32),
                Stage("conv2", "plain", 3, 32, 64, stride=2),
            )
            up = (
                Stage("up1", "separable", 3, 64, 32, doubles=True),
                Stage("out", "unpacked", 9, 32, 3, normalized=False),
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
                Stage("out", "plain", 9, 32, 3, normalized=False),
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
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by name."""
        found: dict[str, tuple[int, ...]] = {}
        for s in self.stages:
            if s.kind == "separable":
                found[f"{s.name}.depthwise"] = (s.side, s.side, s.inputs)
                found[f"{s.name}.pointwise"] = (s.inputs, s.outputs)
            else:
                found[f"{s.name}.kernel"] = (s.side, s.side, s.inputs, s.outputs)
            if s.normalized:
                found[f"{s.name}.scale"] = (self.styles, s.outputs)
                found[f"{s.name}.shift"] = (self.styles, s.outputs)
            else:
                found[f"{s.name}.bias"] = (s.outputs,)
        return found


STRIDE = 4  # both sides of a picture are multiples of it


def is_conditional(name: str) -> bool:
    """Whether a parameter is the styles' own: the first axis is theirs."""
    return name.endswith((".scale", ".shift"))


def initial(architecture: Architecture, seed: int = 0) -> dict[str, Float[np.ndarray, "..."]]:
    """Parameters to train from, float32: He's normal distribution; the result is near mid grey."""
    found = {}
    for number, (name, shape) in enumerate(architecture.shapes.items()):
        if name.endswith(".scale"):
            found[name] = np.ones(shape, np.float32)
        elif name.endswith((".shift", ".bias")):
            found[name] = np.zeros(shape, np.float32)
        else:
            fan = np.prod(shape[:2] if name.endswith("depthwise") else shape[:-1])
            gain = 1.0 if name.endswith(("depthwise", "out.kernel")) else 2.0
            noise = np.random.default_rng([seed, number]).normal(size=shape)
            found[name] = (noise * np.sqrt(gain / fan)).astype(np.float32)
    return found


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
        x, _ = run(group, parameters, x, blend, [None] * len(group))
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
    return jax.nn.sigmoid(x) if architecture.output == "sigmoid" else x / architecture.units


def run(
    stages: tuple[Stage, ...],
    parameters: Parameters,
    x: Float[AnyArray, "b h w c"],
    blend: Float[AnyArray, "b *hw n"],
    moments: Sequence[Moments | None],
) -> tuple[Float[Array, "b h2 w2 c2"], Float[Array, "b h2 w2 c2"]]:
    """Some stages; the result, and what the last of them convolved, before its normalisation.

    Where `moments` has some, these are taken in place of those of `x`, which is part of a picture.
    """
    before = raw = x = jnp.asarray(x)
    for stage, given in zip(stages, moments, strict=True):
        raw = _convolved(stage, parameters, x)
        if not stage.normalized:
            y = raw + jnp.asarray(parameters[f"{stage.name}.bias"])[None, None, None]
        else:
            own = (parameters[f"{stage.name}.{part}"] for part in ("scale", "shift"))
            scale, shift = (_mixed(blend, p, raw.shape[1]) for p in own)
            y = normalize(raw, given or instance_moments(raw), scale, shift)
            y = y + before if stage.adds else jax.nn.relu(y)
        before, x = x, y
    return x, raw


def _convolved(stage: Stage, parameters: Parameters, x: Array) -> Array:
    if stage.kind == "packed":
        return convolve(
            padded(space_to_depth(x), stage.side // 2), _of(stage, parameters, "kernel")
        )
    if stage.kind == "unpacked":
        return convolve_doubled(padded(x, stage.side // 4), _of(stage, parameters, "kernel"))
    x = padded(doubled(x) if stage.doubles else x, stage.side // 2)
    if stage.kind == "separable":
        x = depthwise(x, _of(stage, parameters, "depthwise"))
        return pointwise(x, _of(stage, parameters, "pointwise"))
    return convolve(x, _of(stage, parameters, "kernel"), stage.stride)


def _of(stage: Stage, parameters: Parameters, part: str) -> Array:
    return jnp.asarray(parameters[f"{stage.name}.{part}"])


def _mixed(blend: AnyArray, own: AnyArray, rows: int) -> Array:
    """The styles' scales or shifts as mixed for each picture, (b, c), or for each position."""
    own = jnp.asarray(own, jnp.float32)
    if blend.ndim == 2:
        return jnp.dot(jnp.asarray(blend), own, precision=jax.lax.Precision.HIGHEST)
    b, h, w, n = blend.shape
    stride = h // rows
    cells = jnp.asarray(blend).reshape(b, h // stride, stride, w // stride, stride, n).mean((2, 4))
    return jnp.dot(cells, own, precision=jax.lax.Precision.HIGHEST)

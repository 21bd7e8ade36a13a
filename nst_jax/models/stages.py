"""Stages, the parts of feed-forward networks: each is a convolution with what is around it.

Parameters are arrays by name, with the name of the stage before the dot: `conv1.kernel`,
`conv1.scale`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.linalg import dot
from nst_jax.models.cells import (
    convolve_cells,
    convolve_doubled,
    convolve_halving,
    convolve_transposed,
    depth_to_space,
    space_to_depth,
)
from nst_jax.models.layers import (
    EPSILON,
    Moments,
    convolve,
    depthwise,
    doubled,
    doubled_smoothly,
    instance_moments,
    normalize,
    padded,
    pointwise,
    zero_padded,
)
from nst_jax.typing import AnyArray

Parameters = Mapping[str, AnyArray]
_FEW = 8  # channels; with so few, wide kernels are faster on cells of 2x2 pixels
Kind = Literal["plain", "packed", "separable", "unpacked", "transposed"]
# `same` is that of TensorFlow: with stride two, zeros below and on the right alone. `zero` is that
# of Torch: zeros on all sides. With `none` the output is smaller than the input.
Padding = Literal["reflect", "same", "zero", "none"]


@dataclass(frozen=True)
class Stage:
    """One convolution, with its upsampling, normalisation and nonlinearity.

    Attributes:
        name: prefix of its parameters' names.
        kind: `plain`; `separable` (depthwise, then pointwise); `packed` (after `space_to_depth`);
            `unpacked` (on the upsampled input, by `convolve_doubled`); or `transposed` (which
            doubles the size, by `convolve_transposed`).
        side: side of the kernel.
        inputs: number of input channels.
        outputs: number of output channels.
        stride: stride of the convolution.
        doubles: whether the input is upsampled by two first.
        normalized: whether instance normalisation follows; otherwise a bias is added.
        linear: whether no ReLU follows.
        adds: whether this stage ends a residual block: the input of the stage before is added, and
            there is no ReLU.
        padding: what is beyond the border, for `plain` and `transposed` stages.
        smooth: whether the input is doubled by bilinear, not nearest-neighbour upsampling.
        epsilon: what the normalisation adds to the variance.
    """

    name: str
    kind: Kind
    side: int
    inputs: int
    outputs: int
    stride: int = 1
    doubles: bool = False
    normalized: bool = True
    linear: bool = False
    adds: bool = False
    padding: Padding = "reflect"
    smooth: bool = False
    epsilon: float = EPSILON

    @property
    def scale(self) -> float:
        """Size of the output relative to the input."""
        own = {"packed": 0.5, "unpacked": 2.0, "transposed": 2.0}
        return own.get(self.kind, (1 + self.doubles) / self.stride)

    @property
    def reach(self) -> float:
        """How far an output pixel sees to each side, in input pixels, with one for rounding."""
        rim = {"packed": self.side - 1, "unpacked": self.side // 4}.get(self.kind, self.side // 2)
        return rim / (1 + self.doubles) + 1 + self.smooth


def shapes(stages: Iterable[Stage], styles: int = 1) -> dict[str, tuple[int, ...]]:
    """The shapes of all parameters, by name."""
    found: dict[str, tuple[int, ...]] = {}
    for s in stages:
        if s.kind == "separable":
            found[f"{s.name}.depthwise"] = (s.side, s.side, s.inputs)
            found[f"{s.name}.pointwise"] = (s.inputs, s.outputs)
        else:
            found[f"{s.name}.kernel"] = (s.side, s.side, s.inputs, s.outputs)
        if s.normalized:
            found[f"{s.name}.scale"] = (styles, s.outputs)
            found[f"{s.name}.shift"] = (styles, s.outputs)
        else:
            found[f"{s.name}.bias"] = (s.outputs,)
    return found


def is_conditional(name: str) -> bool:
    """Whether a parameter has values for each style, along its first axis."""
    return name.endswith((".scale", ".shift"))


def initial(
    shapes: Mapping[str, tuple[int, ...]], seed: int = 0
) -> dict[str, Float[np.ndarray, "..."]]:
    """Random initial parameters in float32, by He's normal distribution.

    A network with them draws pictures near mid grey.
    """
    found = {}
    for number, (name, shape) in enumerate(shapes.items()):
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


def run(
    stages: tuple[Stage, ...],
    parameters: Parameters,
    x: Float[AnyArray, "b h w c"],
    blend: Float[AnyArray, "b *hw n"],
    moments: Sequence[Moments | None],
) -> tuple[Float[Array, "b h2 w2 c2"], Float[Array, "b h2 w2 c2"]]:
    """Run stages on activations.

    Args:
        stages: the stages, in order.
        parameters: arrays by name.
        x: activations of pictures, or of a part of one picture.
        blend: weights of the styles, (b, n) or (b, h, w, n).
        moments: for each stage None, or the moments of the whole picture for its normalisation,
            where `x` is only a part.

    Returns:
        The result, and the last stage's convolution before its normalisation.
    """
    before = raw = x = jnp.asarray(x)
    pixels = 1  # at each position: four where activations lie in cells of 2x2 pixels
    for stage, given in zip(stages, moments, strict=True):
        if pixels > 1 and stage.stride == 1:
            x, pixels = depth_to_space(x), 1
        raw, pixels = _convolved(stage, parameters, x, pixels)
        if not stage.normalized:
            bias = jnp.tile(_of(stage, parameters, "bias"), pixels)
            y = raw + bias[None, None, None]
        else:
            own = (parameters[f"{stage.name}.{part}"] for part in ("scale", "shift"))
            scale, shift = (_mixed(blend, p, raw.shape[1], pixels) for p in own)
            found = given or instance_moments(raw, pixels)
            found = Moments(*(jnp.tile(m, (1, pixels)) for m in found))
            y = normalize(raw, found, scale, shift, stage.epsilon)
        if stage.adds:
            shaved = (before.shape[1] - y.shape[1]) // 2  # by convolutions without padding
            kept = before[:, shaved : before.shape[1] - shaved, shaved : before.shape[2] - shaved]
            y = y + kept
        elif not stage.linear:
            y = jax.nn.relu(y)
        before, x = x, y
    if pixels > 1:
        x, raw = depth_to_space(x), depth_to_space(raw)
    return x, raw


def _convolved(stage: Stage, parameters: Parameters, x: Array, pixels: int) -> tuple[Array, int]:
    """The convolution of a stage, and the number of pixels at each of its positions."""
    half = stage.side // 2
    if stage.kind == "packed":
        return convolve(padded(space_to_depth(x), half), _of(stage, parameters, "kernel")), 1
    if stage.kind == "unpacked":
        kernel = _of(stage, parameters, "kernel")
        return convolve_doubled(padded(x, stage.side // 4), kernel), 4
    if stage.kind == "transposed":
        lead = 0 if stage.padding == "same" else 1
        return convolve_transposed(x, _of(stage, parameters, "kernel"), lead), 4
    if pixels > 1:
        lead = 0 if stage.padding == "same" else 1
        kernel = _of(stage, parameters, "kernel")
        return convolve_halving(x, kernel, lead, stage.padding == "reflect"), 1
    if stage.doubles and stage.kind == "plain" and not stage.smooth and stage.side == 3:
        # The reflection of a doubled pixel is in the pixel at the border itself.
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        return convolve_doubled(x, _of(stage, parameters, "kernel")), 4
    if stage.doubles:
        x = doubled_smoothly(x) if stage.smooth else doubled(x)
    if stage.padding == "same":
        rim = stage.side - stage.stride
        x = zero_padded(x, rim // 2, rim - rim // 2)
    elif stage.padding == "zero":
        x = zero_padded(x, half, half)
    elif stage.padding == "reflect":
        x = padded(x, half)
    if stage.kind == "separable":
        x = depthwise(x, _of(stage, parameters, "depthwise"))
        return pointwise(x, _of(stage, parameters, "pointwise")), 1
    kernel = _of(stage, parameters, "kernel")
    if stage.side > 3 and stage.stride == 1 and stage.inputs <= _FEW:
        return convolve_cells(x, kernel), 4
    return convolve(x, kernel, stage.stride), 1


def _of(stage: Stage, parameters: Parameters, part: str) -> Array:
    return jnp.asarray(parameters[f"{stage.name}.{part}"])


def _mixed(blend: AnyArray, own: AnyArray, rows: int, pixels: int) -> Array:
    """Mix the styles' scales or shifts, for each picture, (b, c), or for each position."""
    own = jnp.asarray(own, jnp.float32)
    if blend.ndim == 2:
        return jnp.tile(dot(jnp.asarray(blend), own), (1, pixels))
    if pixels > 1:
        return space_to_depth(_mixed(blend, own, 2 * rows, 1))
    b, h, w, n = blend.shape
    stride = h // rows
    cells = jnp.asarray(blend).reshape(b, h // stride, stride, w // stride, stride, n).mean((2, 4))
    return dot(cells, own)

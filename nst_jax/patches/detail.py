"""Fine detail of a drawing: from patches of its style, or from its content.

A network that draws in one pass has learned colours and large strokes, but no fine ones: where its
loss asks for some, it draws a regular weave. So all detail is taken out of the drawing. Each patch
gets the detail of the style's patch whose coarse colours are most like its own (Freeman et al.
2002, "Example-based super-resolution"), where differences within a patch count more than its mean.
Where the content has more detail, its own is used, in shades of grey.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax.patches import shapes
from nst_jax.patches.coarse import BLOCK, block_means, blurred
from nst_jax.patches.fields import windows
from nst_jax.patches.nearest import nearest, patches
from nst_jax.typing import AnyArray

SIDE = 16  # of the patches in pixels; they overlap by half
STEP = SIDE // 2
_WIDTH = 2.0  # deviation of the Gaussian in pixels: what it blurs away is detail
_AROUND = 2.0  # deviation of the Gaussian over which the strength of detail is measured
REACH = 208  # pixels that a pixel of the result depends on to each side, rounded up
_MOST = 16384  # patches of a style that are compared
# Deviation of the noise on the blocks' colours, by which patches are compared. Where a drawing is
# flat, neighbouring patches would all take the same patch of the style, and repeat it in steps.
_NOISE = 0.03
# By what the mean colours of patches are multiplied before they are compared. An even sky of a
# colour that the style lacks takes even patches then; mixtures of its colours would have lines.
_TONE = 0.3
_CHUNK = 512  # distances of so many patches at a time stay in a CPU's cache: 2.6 times as fast
_HIDDEN = 1e3  # more than patches can differ
_TINY = 1e-6


class Source(NamedTuple):
    """The detail that a style picture offers.

    Attributes:
        detail: the picture less its blurred self, (h, w, 3).
        colors: the blocks' colours of each patch that may be taken, as they are compared, (n, d).
        corners: their upper left corners, (n, 2).
        penalty: of each patch, above 0 if it shows transparent pixels.
        power: mean square of the detail.
        contrast: mean square of the shapes, in grey.
    """

    detail: Float[Array, "h w 3"]
    colors: Float[Array, "n d"]
    corners: Int[Array, "n 2"]
    penalty: Float[Array, " n"]
    power: Float[Array, ""]
    contrast: Float[Array, ""]


def source(rgb: Float[AnyArray, "h w 3"], alpha: Float[AnyArray, "h w"] | None = None) -> Source:
    """Gather the patches of a style picture; both sides need at least `SIDE` pixels."""
    rgb = jnp.asarray(rgb, jnp.float32)
    means = block_means(rgb)
    rows, columns = (n - SIDE // BLOCK + 1 for n in means.shape[:2])
    stride = int(np.ceil(np.sqrt(max(1, rows * columns / _MOST))))
    colors = patches(means, SIDE // BLOCK, stride)
    places = jnp.stack(jnp.indices(colors.shape[:2], jnp.int32), -1)
    corners = BLOCK * stride * places.reshape(-1, 2)
    penalty = jnp.zeros(len(corners), jnp.float32)
    if alpha is not None:
        shown = patches(
            block_means(jnp.asarray(alpha, jnp.float32)[..., None]), SIDE // BLOCK, stride
        )
        # It is finite, since not every style has a patch that is opaque throughout.
        penalty = _HIDDEN * (1 - shown.reshape(len(corners), -1).mean(1))
    smooth = blurred(rgb, _WIDTH)
    detail = rgb - smooth
    colors = _toned(colors.reshape(len(corners), -1))
    powers = (jnp.square(x).mean() for x in (detail, shapes.shapes(smooth)))
    return Source(detail, colors, corners, penalty, *powers)


def redetailed(
    drawing: Float[AnyArray, "h w 3"],
    content: Float[AnyArray, "h w 3"],
    noise: Float[AnyArray, "h w"],
    styles: Sequence[Source],
    shares: Float[AnyArray, "*hw k"],
    strength: Float[AnyArray, ""] | float = 1.0,
) -> Float[Array, "h w 3"]:
    """Replace the detail of a drawing, and add the shapes that it lacks; see `shapes.lacking`.

    Args:
        drawing: the drawing; its sides are multiples of `STEP`.
        content: the picture that it was made of.
        noise: standard normal noise, by which patches of even parts differ.
        styles: each style's detail, from `source`.
        shares: weights of the styles, summing to 1: for the picture, (k,), or each pixel.
        strength: how much of the styles' detail to use, from 0 to 1.
    """
    drawing, content = jnp.asarray(drawing, jnp.float32), jnp.asarray(content, jnp.float32)
    parts = [jnp.asarray(shares)[..., k] for k in range(len(styles))]
    parts = [share.reshape(share.shape + (1,) * (3 - share.ndim)) for share in parts]
    power, contrast = jnp.zeros((1, 1, 1)), jnp.zeros((1, 1, 1))
    for share, style in zip(parts, styles, strict=True):
        power += share * style.power
        contrast += share * style.contrast

    smooth, plain = (blurred(x, _WIDTH) for x in (drawing, content))
    added = shapes.lacking(smooth, plain, contrast, strength)
    seen = drawing + added + _NOISE * BLOCK * jnp.asarray(noise)[..., None]
    ours = patches(block_means(_wide(seen)), SIDE // BLOCK, STEP // BLOCK)
    vectors = _toned(ours.reshape(-1, ours.shape[-1]))
    found = jnp.zeros_like(drawing)
    for share, style in zip(parts, styles, strict=True):
        found_at = nearest(vectors, style.colors, penalty=style.penalty, chunk=_CHUNK)
        index = found_at.indices[:, 0]
        taken = windows(style.detail, style.corners[index], SIDE)
        # Styles know nothing of each other, so the squares of their detail add up.
        found += jnp.sqrt(share) * _joined(taken.reshape(*ours.shape[:2], SIDE, SIDE, 3))
    found *= strength
    own = (content - plain).mean(-1, keepdims=True)
    there, here = (_power(jnp.square(x)) for x in (found, own))
    part, factor = shapes.balance(there, here, power, strength)
    return smooth + added + jnp.sqrt(1 - part) * found + part * factor * own


def _toned(colors: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Blocks' colours of patches, in which the mean of each patch counts less."""
    blocks = colors.reshape(len(colors), -1, 3)
    return (blocks - (1 - _TONE) * blocks.mean(1, keepdims=True)).reshape(colors.shape)


def _joined(taken: Float[Array, "rows columns s s 3"]) -> Float[Array, "h w 3"]:
    """Join patches that overlap by half, so that the sum is as strong as they are.

    They may fit together, and then add up, or not, and then their squares do.
    """
    slope = np.sin((np.arange(SIDE) + 0.5) / SIDE * np.pi).astype(np.float32)
    window = jnp.asarray(np.outer(slope, slope))[None, None, ..., None]  # its squares sum to 1
    found, squares = _added(window * taken), _added(jnp.square(window * taken))
    asked, there = (_power(x) for x in (squares, jnp.square(found)))
    return found * jnp.sqrt((asked + _TINY) / (there + _TINY))


def _power(squares: Float[Array, "h w c"]) -> Float[Array, "h w 1"]:
    """The mean of squares around each pixel, over all channels."""
    return blurred(squares.mean(-1, keepdims=True), _AROUND)


def _added(blocks: Float[Array, "rows columns s s 3"]) -> Float[Array, "h w 3"]:
    """Add up patches that overlap by half; of the outermost, half lies outside."""
    rows, columns = blocks.shape[0] - 1, blocks.shape[1] - 1
    total = jnp.zeros((rows, columns, STEP, STEP, 3), jnp.float32)
    for i in (0, 1):
        for j in (0, 1):
            part = blocks[:, :, (1 - i) * STEP :, (1 - j) * STEP :][:, :, :STEP, :STEP]
            total += part[i : i + rows, j : j + columns]
    return total.swapaxes(1, 2).reshape(rows * STEP, columns * STEP, 3)


def _wide(x: Float[Array, "h w c"]) -> Float[Array, "h2 w2 c"]:
    return jnp.pad(x, ((STEP, STEP), (STEP, STEP), (0, 0)), mode="symmetric")

"""Run a transformer over tiles without seams, for pictures larger than memory.

Instance normalisation uses moments of the whole picture, so a tile cannot go through the whole
network by itself. Each group of stages (downsampling, one residual block, or upsampling) goes over
all tiles once for each of its normalisations, to collect the moments, and then once more for its
result. Only the activations between groups are complete in memory. Tiles overlap by as far as a
group sees.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from nst_jax.models import transformer
from nst_jax.models.layers import Moments
from nst_jax.models.stages import Parameters, Stage, run
from nst_jax.models.transformer import STRIDE, Architecture
from nst_jax.programs import jit


class _Piece(NamedTuple):
    """A tile along one axis: its block in the input, and the part of the block that is its own."""

    start: int
    stop: int
    own: slice


def transform_tiled(
    architecture: Architecture,
    parameters: Parameters,
    image: Float[np.ndarray, "1 h w c"],
    blend: Float[np.ndarray, "1 *hw n"],
    tile: int,
) -> Float[np.ndarray, "1 h w 3"]:
    """Run `transformer.transform` on one picture, in tiles of `tile` pixels a side.

    The result is the same, up to the rounding of sums.
    """
    x = np.asarray(transformer.entry(architecture, parameters, image))
    rows = x.shape[1]
    for group in architecture.groups:
        x = _group(group, parameters, x, blend, tile, rows)
    return np.asarray(transformer.exit_(architecture, x))


def _group(
    stages: tuple[Stage, ...],
    parameters: Parameters,
    x: np.ndarray,
    blend: np.ndarray,
    tile: int,
    rows: int,
) -> np.ndarray:
    scale = math.prod(stage.scale for stage in stages)
    align = max(1, round(1 / scale))
    halo = align * math.ceil(reach(stages) / align)
    per = rows // x.shape[1]  # picture pixels per position
    side = align * max(1, tile // per // align)
    known: list[Moments | None] = [None] * len(stages)
    names = {name: parameters[name] for name in parameters if _belongs(name, stages)}
    # Zeros beyond the border keep sizes simple; what they touch is left out below.
    shaved = np.cumsum([stage.padding == "none" for stage in stages])
    stages = tuple(replace(s, padding="zero") if s.padding == "none" else s for s in stages)

    def blocks(
        through: tuple[Stage, ...], raw: bool
    ) -> Iterator[tuple[_Piece, _Piece, np.ndarray]]:
        for down in _pieces(x.shape[1], side, halo):
            for right in _pieces(x.shape[2], side, halo):
                block = x[:, down.start : down.stop, right.start : right.stop]
                part = blend
                if blend.ndim == 4:
                    part = blend[
                        :, down.start * per : down.stop * per, right.start * per : right.stop * per
                    ]
                moments = tuple(known[: len(through)])
                yield down, right, np.asarray(_run(through, raw, names, block, part, moments))

    for k, stage in enumerate(stages):
        if stage.normalized:
            through = stages[: k + 1]
            here = math.prod(s.scale for s in through)
            rim = int(shaved[k])
            known[k] = _gathered(
                found[
                    :,
                    _scaled(_within(down, rim, x.shape[1]), here),
                    _scaled(_within(right, rim, x.shape[2]), here),
                ]
                for down, right, found in blocks(through, True)
            )
    _, h, w, _ = x.shape
    result = np.empty((1, round(h * scale), round(w * scale), stages[-1].outputs), x.dtype)
    for down, right, found in blocks(stages, False):
        rows_, columns = (
            _scaled(slice(p.start + p.own.start, p.start + p.own.stop), scale)
            for p in (down, right)
        )
        result[:, rows_, columns] = found[:, _scaled(down.own, scale), _scaled(right.own, scale)]
    rim = int(shaved[-1])
    return result[:, rim : result.shape[1] - rim, rim : result.shape[2] - rim]


@jit(static=["stages", "raw"])
def _run(stages, raw, parameters, block, blend, moments):
    found, convolved = run(stages, parameters, block, blend, moments)
    return convolved if raw else found


def _pieces(length: int, side: int, halo: int) -> list[_Piece]:
    """Tiles along an axis. All blocks have the same length, so that one program serves all."""
    block = min(length, side + 2 * halo)
    found = []
    for first in range(0, length, side):
        last = min(first + side, length)
        start = min(max(first - halo, 0), length - block)
        found.append(_Piece(start, start + block, slice(first - start, last - start)))
    return found


def _within(piece: _Piece, rim: int, length: int) -> slice:
    """The part of a block that is its own, without a rim around the whole."""
    first = max(piece.own.start, rim - piece.start)
    return slice(first, max(first, min(piece.own.stop, length - rim - piece.start)))


def _scaled(part: slice, scale: float) -> slice:
    return slice(round(part.start * scale), round(part.stop * scale))


def _gathered(parts: Iterator[np.ndarray]) -> Moments:
    """Mean and variance over all parts, each (1, h, w, c), by the method of Chan et al. 1979."""
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for part in parts:
        values = part.astype(np.float64)
        size = values.shape[1] * values.shape[2]
        if not size:
            continue
        own = values.mean((1, 2))
        apart = own - mean
        squares = squares + np.square(values - own[:, None, None]).sum((1, 2))
        squares = squares + np.square(apart) * (count * size / (count + size))
        mean = mean + apart * (size / (count + size))
        count += size
    return Moments(mean.astype(np.float32), (squares / count).astype(np.float32))


def _belongs(name: str, stages: Sequence[Stage]) -> bool:
    return any(name.startswith(f"{stage.name}.") for stage in stages)


def reach(stages: Sequence[Stage]) -> int:
    """How far an output pixel of some stages sees to each side, in pixels of their input."""
    total, size = 0.0, 1.0
    for stage in stages:
        total += stage.reach / size
        size *= stage.scale
    return math.ceil(total)


def over_tiles(
    function: Callable[[np.ndarray], Any], x: np.ndarray, side: int, halo: int, scale: float
) -> np.ndarray:
    """Apply a function to pictures tile by tile; it must not use statistics of the whole picture.

    Args:
        function: maps a block (b, h, w, c) to a block whose sides are `scale` times as long.
        x: the pictures or activations, (b, h, w, c).
        side: side of the tiles. `side`, `halo` and the sides of `x` are multiples of 1 / `scale`.
        halo: how far the function sees to each side, in pixels of `x`.
        scale: size of the output relative to the input.
    """
    rows = []
    for down in _pieces(x.shape[1], side, halo):
        row = []
        for right in _pieces(x.shape[2], side, halo):
            block = x[:, down.start : down.stop, right.start : right.stop]
            own = _scaled(down.own, scale), _scaled(right.own, scale)
            row.append(np.asarray(function(block))[:, own[0], own[1]])
        rows.append(np.concatenate(row, axis=2))
    return np.concatenate(rows, axis=1)


def tile_side(widest: float, height: int, width: int, free: int) -> int | None:
    """The side of tiles that fit into `free` bytes of memory; None if the whole picture fits.

    `widest` is the largest number of activations per picture pixel in any layer.
    """
    each = 4 * (3 * widest + 9)  # bytes per pixel: three copies of the widest layer, and pictures
    if height * width * each < free:
        return None
    return max(256, int(math.sqrt(free / each / 2)) // STRIDE * STRIDE)

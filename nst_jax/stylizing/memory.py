"""Estimate the memory of a stylization before it starts, and fit it into what is free."""

import math
import warnings
from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nst_jax import devices
from nst_jax.errors import InputError
from nst_jax.losses import tiling
from nst_jax.networks.base import Network
from nst_jax.stylizing.settings import Settings
from nst_jax.stylizing.terms import terms_of

# Measured at the peak of memory, in this order: copies of the convolutions' activations; copies of
# the named layers' activations, if a network names no convolutions; copies of the first layer's
# activations in a forward pass alone, as for a style picture; pictures in addition to the history.
# Terms say themselves how many further copies of their layers they hold.
_COPIES = 0.75
_COPIES_OF_NAMED = 1.4
_COPIES_FORWARD = 3
_PICTURES = 18
# XLA's CPU backend also holds many of the bfloat16 activations in float32.
_BFLOAT16_BYTES = {"cpu": 3.3}
# Bytes of the compiler and its programs, where they are in the same memory.
_PROGRAMS = {"cpu": 200_000_000}
# With more pixels than this at work, another lane saves no time. Measured on two CPU cores: beyond
# 64x64 pixels, a lane takes longer beside others than alone. For accelerators it is an estimate.
_BUSY_PIXELS = {"cpu": 4 * 64**2}
_BUSY_PIXELS_ELSEWHERE = 16 * 512**2
# The share of free memory that lanes may use; the estimate can be wrong by a quarter.
_SHARE = 0.7
# What `fitted` tries in turn for a single stylization: the share of free memory that it may use
# (other programs need some), and the smallest number of curvature pairs. Measured: with 20 pairs,
# 300 evaluations come as far as 273 with 100 pairs.
_ALL = 10_000
_STEPS = ((0.5, _ALL), (0.7, _ALL), (0.5, 20), (0.7, 20), (1.0, _ALL), (1.0, 5), (1.0, 1))
_WORTH_TELLING = 0.1
_TILES = (2048, 1024, 512, 256, 128)


class Size(NamedTuple):
    """What the need for memory depends on: the sizes of pictures and the number of regions.

    Attributes:
        height: height of the result in pixels.
        width: width of the result in pixels.
        styles: height and width of each style picture.
        regions: the number of regions; 0 for none.
    """

    height: int
    width: int
    styles: tuple[tuple[int, int], ...] = ()
    regions: int = 0


def estimate(
    settings: Settings, network: Network, layers: tuple[str, ...], size: Size, lanes: int = 1
) -> int:
    """Estimate the bytes at the peak of stylizations side by side, to about a quarter.

    They hold the network's weights, the optimiser's history, the features of the content, the
    guides of regions, and activations. The activations are those kept for the backward pass, or
    those of a style picture if they need more; with tiles, those of one tile.
    """
    return _shared(network) + lanes * _of_pictures(settings, network, layers, size)


def _shared(network: Network) -> int:
    programs = _PROGRAMS.get(jax.default_backend(), 0)
    return programs + sum(leaf.nbytes for leaf in jax.tree.leaves(network))


def _of_pictures(settings: Settings, network: Network, layers: tuple[str, ...], size: Size) -> int:
    element = 4
    if settings.precision == "bfloat16":
        element = _BFLOAT16_BYTES.get(jax.default_backend(), 2)

    def at_once(height: int, width: int) -> int:
        cut = tiling.layout(settings.tile or 0, network, layers, height, width)
        return height * width if cut is None else cut.rows.length * cut.columns.length

    widest = max((at_once(*style) for style in size.styles), default=0)
    drawn = at_once(size.height, size.width) * _kept(settings, network, layers)
    measured = _COPIES_FORWARD * next(iter(network.widths.values())) * widest
    positions = {k: 1 / network.strides[k] ** 2 for k in layers}
    content = sum(network.widths[k] * positions[k] for k in layers if k in settings.content_layers)
    guides = size.regions * sum(positions[k] for k in layers if k in settings.style_layers)
    pictures = 3 * (_PICTURES + optimizer_pictures(settings))
    whole = size.height * size.width * (pictures + guides) * 4
    return int(whole + element * (size.height * size.width * content + max(drawn, measured)))


def optimizer_pictures(settings: Settings) -> int:
    """The number of pictures that this optimiser keeps in addition to what all optimisers keep."""
    if isinstance(settings.optimizer, str):
        return 2 * settings.pairs
    picture = jax.ShapeDtypeStruct((1, 1, 3), jnp.float32)
    leaves = jax.tree.leaves(jax.eval_shape(settings.optimizer.init, picture))
    return sum(math.prod(leaf.shape) for leaf in leaves) // 3


def _kept(settings: Settings, network: Network, layers: tuple[str, ...]) -> float:
    """The numbers for each pixel that the backward pass needs: kept activations and its own."""
    known = list(network.widths)
    used = known[: max((known.index(k) for k in layers), default=-1) + 1]
    per_pixel = {k: network.widths[k] / network.strides[k] ** 2 for k in used}
    convolutions = {k: v for k, v in per_pixel.items() if k.startswith("conv")}
    if not settings.remat:
        kept = _COPIES * sum(convolutions.values()) or _COPIES_OF_NAMED * sum(per_pixel.values())
        whole = [term for term in terms_of(settings) if not term.additive]
        return kept + sum(term.copies * per_pixel[k] for term in whole for k in term.layers)
    blocks: dict[int, float] = defaultdict(float)
    for k, v in (convolutions or per_pixel).items():
        blocks[network.strides[k]] += v
    return max(blocks.values(), default=0) + sum(per_pixel[k] for k in layers)


def fitted(settings: Settings, network: Network, layers: tuple[str, ...], size: Size) -> Settings:
    """Choose the tile and the history so that the stylization fits into free memory.

    First it tries the whole picture at once, then tiles, as large as possible: tiles do not change
    the result. Last it keeps fewer curvature pairs, and warns. It changes only what the settings
    leave open.

    Raises:
        InputError: the stylization does not fit into memory in any way that the settings allow.
    """
    free, wanted = devices.available(), settings.pairs
    pair = 2 * 3 * 4 * size.height * size.width
    for share, fewest in _STEPS:
        for choice in _tiled(settings):
            missing = estimate(choice, network, layers, size) - share * free
            pairs = wanted - max(math.ceil(missing / pair), 0)
            shorter = settings.history is None and pairs >= min(fewest, wanted)
            if missing <= 0 or (wanted and shorter):
                if pairs < wanted:
                    warnings.warn(
                        f"Memory has no room for {wanted} curvature pairs of {size.width}x"
                        f"{size.height} pixels: L-BFGS keeps {pairs}.",
                        stacklevel=2,
                    )
                    choice = replace(choice, history=pairs)
                return choice if choice.tile else replace(choice, tile=settings.tile)
    least = [replace(one, history=settings.history or 1) for one in _tiled(settings)]
    needed = min(estimate(one, network, layers, size) for one in least)
    raise InputError(
        f"A picture of {size.width}x{size.height} pixels needs about {needed / 1e9:.1f} GB of "
        f"memory, but {free / 1e9:.1f} GB are free: lower size or history, set tile or remat, or "
        "use optimizer 'adam'."
    )


def outlook(
    settings: Settings, network: Network, layers: tuple[str, ...], size: Size
) -> str | None:
    """A line with the estimate and the tiles, if any; None if it needs little memory."""
    needed, free = estimate(settings, network, layers, size), devices.available()
    cut = tiling.layout(settings.tile or 0, network, layers, size.height, size.width)
    if cut is None and needed < _WORTH_TELLING * free:
        return None
    line = f"About {needed / 1e9:.1f} GB of memory, of {free / 1e9:.1f} GB that are free"
    if cut is not None:
        line += f"; in {len(cut.table())} tiles of about {settings.tile} pixels a side"
    return line + "."


def _tiled(settings: Settings) -> list[Settings]:
    """The settings as they are if they set `tile`; otherwise without tiles and with each size."""
    if settings.tile is not None:
        return [settings]
    parts = not settings.normalize_gradients and all(
        term.additive for term in terms_of(settings) if term.layers
    )
    return [replace(settings, tile=tile) for tile in (0, *_TILES) if parts or not tile]


def lanes_in_flight(
    settings: Settings, network: Network, layers: tuple[str, ...], size: Size
) -> int:
    """The number of stylizations to run side by side on one device.

    It is limited by memory, and by the number of pixels beyond which it saves no time.
    """
    each = _of_pictures(settings, network, layers, size)
    fit = int((_SHARE * devices.available() - _shared(network)) // each)
    busy = _BUSY_PIXELS.get(jax.default_backend(), _BUSY_PIXELS_ELSEWHERE)
    return max(1, min(fit, busy // (size.height * size.width)))

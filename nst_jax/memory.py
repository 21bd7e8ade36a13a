"""How much memory a stylization needs, told before it starts."""

import ctypes
import os
from collections import defaultdict

import jax
import psutil

from nst_jax.errors import InputError
from nst_jax.networks.vgg import Network
from nst_jax.settings import Settings

# Copies of the kept activations, and pictures beside the history, at the peak: measured.
_COPIES = 1.4
_OTHER_PICTURES = 8
# Pixels in flight beyond which another lane saves no time. Two CPU cores: measured, beyond 64x64
# pixels a lane beside others takes longer than alone. Accelerators: an estimate.
_BUSY_PIXELS = {"cpu": 4 * 64**2}
_BUSY_PIXELS_ELSEWHERE = 16 * 512**2
# Of the memory that is free; the estimate is good to a quarter.
_SHARE = 0.7


def estimate(
    settings: Settings, network: Network, layers: tuple[str, ...], height: int, width: int
) -> int:
    """Bytes at the peak of a stylization of `height` x `width` pixels, within about a quarter.

    Activations kept for the backward pass, the optimiser's history, the network's weights.
    """
    known = list(network.widths)
    used = known[: max((known.index(k) for k in layers), default=-1) + 1]
    per_pixel = {k: network.widths[k] / network.strides[k] ** 2 for k in used}
    # A network that names no convolutions is counted by the layers that it names.
    convolutions = {k: v for k, v in per_pixel.items() if k.startswith("conv")} or per_pixel
    kept = _COPIES * sum(convolutions.values())
    if settings.remat:
        blocks: dict[int, float] = defaultdict(float)
        for k, v in convolutions.items():
            blocks[network.strides[k]] += v
        kept = _COPIES * max(blocks.values(), default=0) + sum(per_pixel[k] for k in layers)
    element = 2 if settings.precision == "bfloat16" else 4
    pictures = _OTHER_PICTURES
    if settings.optimizer.startswith("lbfgs"):
        pictures += 2 * min(settings.history, settings.iterations)
    pixels = height * width
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(network))
    return int(pixels * (kept * element + pictures * 3 * 4)) + weights


def lanes_in_flight(
    settings: Settings, network: Network, layers: tuple[str, ...], height: int, width: int
) -> int:
    """How many stylizations to run side by side on one device: what fits, and what pays."""
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(network))
    each = estimate(settings, network, layers, height, width) - weights
    fit = int((_SHARE * available() - weights) // each)
    busy = _BUSY_PIXELS.get(jax.default_backend(), _BUSY_PIXELS_ELSEWHERE)
    return max(1, min(fit, busy // (height * width)))


def available() -> int:
    """Bytes free on the default device; on the CPU, of the machine."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return psutil.virtual_memory().available


def release() -> None:
    """Give what was freed back to the system, where the C library would keep it (glibc).

    Compiling at 512 px leaves 140 MB behind, which would stand beside the loop's own at its peak.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


def require(
    settings: Settings, network: Network, layers: tuple[str, ...], height: int, width: int
) -> None:
    """Raise `InputError` where the estimate exceeds the memory available."""
    needed, free = estimate(settings, network, layers, height, width), available()
    if needed > free:
        raise InputError(
            f"A picture of {width}x{height} pixels needs about {needed / 1e9:.1f} GB of memory, "
            f"but {free / 1e9:.1f} GB are free: lower size or history, set remat, or use "
            "optimizer 'adam'."
        )

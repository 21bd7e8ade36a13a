"""How much memory a stylization needs, told before it starts."""

import jax
import psutil

from nst_jax.errors import InputError
from nst_jax.networks.vgg import Network
from nst_jax.settings import Settings

_FLOAT = 4


def estimate(
    settings: Settings, network: Network, layers: tuple[str, ...], height: int, width: int
) -> int:
    """Bytes at the peak of a stylization of `height` x `width` pixels, within about a quarter.

    Activations kept for the backward pass, the optimiser's history, the network's weights.
    """
    deepest = max(map(list(network.widths).index, layers), default=-1)
    used = list(network.widths)[: deepest + 1]
    pixels = height * width
    activations = [
        network.widths[k] * pixels // network.strides[k] ** 2 for k in used if k.startswith("conv")
    ]
    element = _FLOAT // 2 if settings.precision == "bfloat16" else _FLOAT
    kept = element * int(_KEPT * (max(activations, default=0) * 2 if settings.remat else sum(activations)))
    picture = 3 * pixels * _FLOAT
    vectors = {"lbfgs": 2 * settings.history, "lbfgs-zoom": 2 * settings.history}
    history = picture * (vectors.get(settings.optimizer, 2) + _WORKING_PICTURES)
    leaves = jax.tree.leaves(network)
    return kept + history + sum(leaf.nbytes for leaf in leaves)


def available() -> int:
    """Bytes free on the default device; on the CPU, of the machine."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return psutil.virtual_memory().available


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

"""How fast the machine is now, and what follows from that for a run.

The constants are measured on two CPU cores. They are ratios to a matrix product where they can be,
and so hold for faster and busier machines too.
"""

import time

import jax
import jax.numpy as jnp

from nst_jax.networks import lite
from nst_jax.programs import jit

NETWORK, BETTER = lite.ARCHITECTURE, "vgg19"
PASS = 2.3  # a pass of a model, in evaluations of the small network at the same size
AFTER = 3e-7  # seconds for each pixel, to encode the result
# Operations of a matrix product in the time of an evaluation, for each pixel of the picture; and
# seconds of any evaluation.
_OPERATIONS = {NETWORK: 2.2e5, BETTER: 9.8e5}
_EACH = 0.004
# Seconds to trace a scale's programs, load them from JAX's cache and compute the targets, on a
# machine of this speed.
_READY, _MEASURED_AT = 0.8, 1.8e11
_SIDE = 1024  # of the matrices


def speed() -> float:
    """Operations a second at a float32 matrix product, now."""
    x = jnp.ones((_SIDE, _SIDE))
    jax.block_until_ready(_product(x))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(_product(x))
        times.append(time.perf_counter() - began)
    return 2 * _SIDE**3 / min(times)


@jit()
def _product(x):
    return jnp.dot(x, x, precision="highest")


def evaluation_seconds(network: str, pixels: int, rate: float) -> float:
    """The seconds of an evaluation of a network, at a `speed`."""
    return _OPERATIONS[network] * pixels / rate + _EACH


def ready_seconds(rate: float) -> float:
    """The seconds until a scale is ready to be drawn, at a `speed`; no machine is much faster."""
    return _READY * max(1.0, _MEASURED_AT / rate)

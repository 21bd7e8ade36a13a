"""A preconditioner for pictures: steps that move coarse structure as easily as fine.

Natural pictures have amplitudes that fall as 1/f, and a step that changes every pixel alike spends
itself on grain. Multiplying directions by f^-a in the Fourier domain is the same as optimising z in
picture = filter(z), with the root of this filter (Olah, Mordvintsev & Schubert 2017, "Feature
Visualization", who optimise z); here the picture stays the unknown.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.typing import AnyArray


def spectral(direction: Float[AnyArray, "h w c"], exponent: float) -> Float[Array, "h w c"]:
    """A direction times f^-exponent in the Fourier domain, for each channel; symmetric, positive.

    f is the spatial frequency in cycles a pixel, at least one on the longer side; the filter's
    mean is 1, so that white noise keeps its energy on the whole.
    """
    height, width, _ = direction.shape
    factors = _radius(jnp.fft.rfftfreq(width), height, width) ** -exponent
    mean = jnp.mean(_radius(jnp.fft.fftfreq(width), height, width) ** -exponent)
    spectrum = jnp.fft.rfft2(direction, axes=(0, 1)) * (factors / mean)[..., None]
    return jnp.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))


def _radius(across: Array, height: int, width: int) -> Array:
    down = jnp.fft.fftfreq(height)
    return jnp.maximum(jnp.hypot(down[:, None], across[None]), 1 / max(height, width))

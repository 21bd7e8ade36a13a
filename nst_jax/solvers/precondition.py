"""A preconditioner for pictures, with which steps move coarse structure as easily as fine.

In natural pictures the amplitude falls as 1/f with the spatial frequency f. Steps that treat all
frequencies alike mostly add fine grain. This preconditioner multiplies directions by f^-a in the
Fourier domain. The steps are then the same as those of an optimiser of z, where picture = filter(z)
and the filter is f^(-a/2). Olah, Mordvintsev & Schubert 2017 ("Feature Visualization") optimise
such a z; here the unknown is still the picture.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.typing import AnyArray


def spectral(direction: Float[AnyArray, "h w c"], exponent: float) -> Float[Array, "h w c"]:
    """Multiply each channel of a direction by f^-exponent in the Fourier domain.

    f is the spatial frequency in cycles per pixel. Frequencies below one cycle on the longer side
    count as one cycle. The filter P is a symmetric positive linear map. Its mean over all
    frequencies is 1, so that g.Pg is g.g on average for white noise g.
    """
    height, width, _ = direction.shape
    dtype = direction.dtype
    factors = _radius(jnp.fft.rfftfreq(width, dtype=dtype), height, width) ** -exponent
    mean = jnp.mean(_radius(jnp.fft.fftfreq(width, dtype=dtype), height, width) ** -exponent)
    spectrum = jnp.fft.rfft2(direction, axes=(0, 1))
    spectrum *= (factors / mean)[..., None].astype(spectrum.dtype)
    return jnp.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))


def _radius(across: Array, height: int, width: int) -> Array:
    down = jnp.fft.fftfreq(height, dtype=across.dtype)
    return jnp.maximum(jnp.hypot(down[:, None], across[None]), 1 / max(height, width))

"""PyAV, or a sentence that says how to install it."""

from nst_jax.errors import InputError

try:
    import av as av
except ImportError:
    raise InputError(
        'Films need PyAV, which is not installed: pip install "nst-jax[video]".'
    ) from None

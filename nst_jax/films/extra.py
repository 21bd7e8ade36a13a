"""PyAV, or a sentence that says how to install it."""

import importlib
from typing import Any

from nst_jax.errors import InputError

try:
    av: Any = importlib.import_module("av")
except ImportError:
    raise InputError(
        'Films need PyAV, which is not installed: pip install "nst-jax[video]".'
    ) from None

"""OpenCV's dense inverse search (Kroeger et al. 2016), or a sentence that says how to get it."""

import importlib
from typing import Any

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError

try:
    cv2: Any = importlib.import_module("cv2")
except ImportError:
    raise InputError(
        'The flow "dis" needs OpenCV, which is not installed: pip install "nst-jax[video]", or '
        'take "variational", which needs nothing.'
    ) from None

_LEAST = 64  # pixels of a side; smaller pictures are padded


def dis(a: Float[np.ndarray, "h w 3"], b: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 2"]:
    """The flow from picture `a` to picture `b`, both RGB in [0, 1]; preset "medium"."""
    h, w, _ = a.shape
    width = ((0, max(0, _LEAST - h)), (0, max(0, _LEAST - w)))
    greys = [
        np.pad(cv2.cvtColor(np.rint(p * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY), width, "edge")
        for p in (a, b)
    ]
    found = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*greys, None)
    return found[:h, :w]

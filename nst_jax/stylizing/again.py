"""What changes in a run that goes on from a result: larger, or longer.

JAX is not imported, since the command line reads this.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.stylizing.settings import Settings


def larger(
    settings: Settings, image: Float[np.ndarray, "h w 3"], style_scales: Sequence[float], size: int
) -> dict[str, Any]:
    """The options of `stylize` that draw a result larger, with strokes in the same proportion.

    The run starts from the result at the first scale above it, and goes from coarse to fine.

    Args:
        settings: the settings of the result.
        image: its picture.
        style_scales: long side of each style picture relative to the result's; empty if not known.
        size: long side of the new picture in pixels.

    Raises:
        InputError: the new picture is not larger, or the sizes of the styles are not known.
    """
    long = max(image.shape[:2])
    if size <= long:
        raise InputError(
            f"size is {size}, but the picture has {long} pixels on its long side: a print must be "
            "larger."
        )
    absolute = settings.style_size or settings.size
    if not style_scales and settings.style_scale is None and absolute is None:
        raise InputError(
            "The result does not tell how large its style pictures were: give style_scale, the "
            "long side of each relative to the content's."
        )
    known = tuple(style_scales) or settings.style_scale or (absolute / long,)  # pyright: ignore
    return {
        "init": image,
        "size": size,
        "style_size": None,
        "style_scale": known,
        # A scale that is less than half a step above the result adds nothing.
        "min_size": round(settings.scale_step**0.5 * long),
    }


def longer(image: Float[np.ndarray, "h w 3"], iterations: int) -> dict[str, Any]:
    """The options of `stylize` that go on with a result for so many evaluations, at its size."""
    return {"init": image, "min_size": None, "draft": False, "iterations": iterations}

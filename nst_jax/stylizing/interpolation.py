"""interpolate(): a series of pictures from one style to the next."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.pictures.reading import PictureSource
from nst_jax.stylizing.api import stylize
from nst_jax.stylizing.outputs import OUTPUTS
from nst_jax.stylizing.result import Stylization


def interpolate(
    content: PictureSource | None,
    styles: Sequence[PictureSource],
    *,
    steps: int = 5,
    each: Callable[[Stylization], None] | None = None,
    **options: Any,
) -> list[Stylization]:
    """Stylize one picture in blends that go from the first style through all others to the last.

    Every picture starts anew, as `stylize` does with these `style_blend` weights. The weights are
    data, so the program is compiled once.

    Args:
        content: as for `stylize`.
        styles: two pictures or more.
        steps: how many pictures, evenly spaced, the pure first and last style included.
        each: called with every picture as soon as it is there.
        **options: as for `stylize`.

    Returns:
        The pictures in order; after Ctrl-C, or when the callback stops one, those made so far.

    Raises:
        InputError: what `stylize` raises; fewer than two styles or steps; a `style_blend`.
        KeyboardInterrupt: Ctrl-C before there was a picture.
    """
    if len(styles) < 2:
        raise InputError("To interpolate, give a list of two style pictures or more.")
    written = [name for name in OUTPUTS if name in options]
    if written:
        raise InputError(f"Interpolation makes many pictures: leave out {' and '.join(written)}.")
    if options.get("style_blend") is not None:
        raise InputError("Interpolation sets style_blend itself, in steps: leave one of them out.")
    results: list[Stylization] = []
    for blend in path(len(styles), steps):
        options["style_blend"] = tuple(blend)
        try:
            result = stylize(content, styles, **options)
        except KeyboardInterrupt:
            if not results:
                raise
            break
        results.append(result)
        if each:
            each(result)
        if result.status in ("interrupted", "stopped"):
            break
    return results


def path(styles: int, steps: int) -> Float[np.ndarray, "steps styles"]:
    """Blend weights, each row summing to 1, along the line from style to style.

    Raises:
        InputError: steps that are no whole number from 2.
    """
    if steps < 2:
        raise InputError(f"steps is {steps}, but must be a whole number from 2.")
    positions = np.linspace(0, styles - 1, steps)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(styles)))

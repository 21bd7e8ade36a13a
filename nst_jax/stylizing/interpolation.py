"""interpolate(): a series of pictures that goes from one style to the next."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.options import in_range
from nst_jax.pictures.sources import PictureSource
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
    """Stylize one picture several times, with blends from the first style to the last.

    The blends pass through all styles in their order. Each picture is drawn from the start, as
    `stylize` does with these weights as `style_blend`. The program is compiled only once.

    Args:
        content: as for `stylize`.
        styles: two or more style pictures.
        steps: the number of pictures. They are evenly spaced; the first has only the first style,
            the last only the last style.
        each: called with each picture as soon as it is done.
        **options: as for `stylize`.

    Returns:
        The pictures in order. After Ctrl-C, or when the callback stops a run, those drawn so far.

    Raises:
        InputError: `stylize` raises it, there are fewer than two styles or steps, or `style_blend`
            or a file to write during the run is given.
        KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
    """
    if not isinstance(styles, list | tuple) or len(styles) < 2:
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
    """The blend weights for each step on the way from style to style; each row sums to 1.

    Raises:
        InputError: `steps` is no whole number from 2 to 10,000.
    """
    in_range(steps, "steps", Integral, 2, 10_000)
    positions = np.linspace(0, styles - 1, steps)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(styles)))

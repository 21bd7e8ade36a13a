"""Code that the plots of all results share."""

from typing import Any

from nst_jax.errors import InputError


def axes(given: Any = None) -> Any:
    """The matplotlib axes to draw on: `given`, or the axes of a new figure.

    Raises:
        InputError: matplotlib is not installed.
    """
    if given is not None:
        return given
    try:
        from matplotlib import pyplot
    except ImportError:
        raise InputError(
            "plot() needs matplotlib, which is not installed: pip install matplotlib."
        ) from None
    return pyplot.figure().add_subplot()

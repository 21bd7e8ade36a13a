"""What the plots of results share."""

from typing import Any

from nst_jax.errors import InputError


def axes(given: Any = None) -> Any:
    """The matplotlib axes to draw on: those given, or those of a new figure.

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

"""Sample pictures in the package: photographs as content, and styles drawn for this project.

    nst.samples.content()      # a photograph
    nst.samples.style("ink")   # an ink painting

ORIGIN.md, beside the files, gives the source and licence of each picture.
"""

import difflib
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.pictures import reading

_CONTENT = ("cat", "coffee")
_STYLE = ("night", "autumn", "glass", "ink", "waves")


def content_names() -> tuple[str, ...]:
    """The names of the photographs; the first is the default."""
    return _CONTENT


def style_names() -> tuple[str, ...]:
    """The names of the style pictures; the first is the default."""
    return _STYLE


def content(name: str = _CONTENT[0]) -> Float[np.ndarray, "h w 3"]:
    """A photograph to stylize: RGB float32 in [0, 1], long side 451 to 600 pixels.

    Raises:
        InputError: the name is unknown; the message gives the nearest and all known names.
    """
    return _read(name, "content picture", _CONTENT)


def style(name: str = _STYLE[0]) -> Float[np.ndarray, "h w 3"]:
    """A style picture: RGB float32 in [0, 1], 640 pixels wide and 512 high.

    Raises:
        InputError: the name is unknown; the message gives the nearest and all known names.
    """
    return _read(name, "style picture", _STYLE)


def path(name: str) -> Path:
    """The path of a sample picture, photograph or style.

    Raises:
        InputError: the name is unknown; the message gives the nearest and all known names.
    """
    return _find(name, "picture", _CONTENT + _STYLE)


def _read(name: str, what: str, known: tuple[str, ...]) -> Float[np.ndarray, "h w 3"]:
    return reading.read(_find(name, what, known), what=f"sample {what}").rgb


def _find(name: str, what: str, known: tuple[str, ...]) -> Path:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(f"There is no sample {what} '{name}'.{hint} There is {', '.join(known)}.")
    return Path(__file__).with_name(f"{name}.jpg")

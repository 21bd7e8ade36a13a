"""Find the lanes of a sweep: all combinations of the axes' values, or the values in parallel."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nst_jax.errors import InputError
from nst_jax.options import unknown
from nst_jax.pictures.sources import PictureSource, distinct
from nst_jax.stylizing.settings import LISTS

_HOW = ("product", "zip")
# One style picture, or several that are mixed.
Style = PictureSource | Sequence[PictureSource]

_LIKE_LISTS = (list, tuple, Mapping)


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Split options into those with one value and axes, which have a list of values.

    For options whose value is a list itself (layers, `style_blend`), only a list of lists or of
    mappings is an axis.

    Returns:
        The options with one value, and the axes.
    """
    axes = {name: _values(name, given) for name, given in options.items()}
    fixed = {name: options[name] for name, values in axes.items() if values is None}
    return fixed, {name: values for name, values in axes.items() if values is not None}


def _values(name: str, given: Any) -> list[Any] | None:
    if getattr(given, "ndim", None) == 1:
        given = given.tolist()
    if isinstance(given, Iterator):
        given = list(given)
    # A named tuple, such as an optax transformation, is one value.
    if not isinstance(given, list | tuple | range) or hasattr(given, "_fields"):
        return None
    values = list(given)
    if name in LISTS and not (values and all(isinstance(v, _LIKE_LISTS) for v in values)):
        return None
    return values


def labelled(sources: Any, what: str) -> dict[str, Any]:
    """Give each picture a name.

    The names are the keys if `sources` is a mapping. In a list, files are named by their file name,
    other pictures by their place in the list, from 0. Of files with one name, all but the first
    are numbered: `1.jpg`, `1-2.jpg`.

    Args:
        sources: a list of pictures, or a mapping from names to pictures.
        what: `"content"` or `"style"`, for error messages.

    Raises:
        InputError: `sources` is empty, or neither list nor mapping.
    """
    if isinstance(sources, Mapping):
        found = {str(name): source for name, source in sources.items()}
    elif isinstance(sources, str | os.PathLike) or not isinstance(sources, Iterable):
        raise InputError(f"{what}s must be a list of pictures, or a mapping from names to them.")
    else:
        listed = list(sources)
        names = distinct([label(source) or str(number) for number, source in enumerate(listed)])
        found = dict(zip(names, listed, strict=True))
    if not found:
        raise InputError(f"{what}s is empty: give at least one picture.")
    return found


def label(source: Any) -> str | None:
    """The name of a file, or of several that are mixed, joined by `+`; None for other pictures."""
    if isinstance(source, str | os.PathLike):
        return os.path.basename(source)
    if isinstance(source, list | tuple):
        names = [label(one) for one in source]
        return "+".join(names) if all(names) else None  # pyright: ignore
    return None


def points(axes: Mapping[str, Sequence[Any]], how: str) -> list[dict[str, Any]]:
    """The value of each axis, for each lane.

    Args:
        axes: the values of each axis, by name.
        how: `"product"` for all combinations, in which the last axis changes fastest; `"zip"` for
            the first values together, then the second values, and so on.

    Raises:
        InputError: `how` is unknown, an axis is empty, or axes under `"zip"` differ in length.
    """
    if how not in _HOW:
        raise InputError(unknown("way to combine axes", how, _HOW))
    for name, values in axes.items():
        if not values:
            raise InputError(f"The axis {name} is empty: give at least one value.")
    lengths = {name: len(values) for name, values in axes.items()}
    if how == "zip" and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise InputError(
            f"Under zip all axes must be of one length, but {listed}: give as many values for "
            "each, or leave out zip for every combination."
        )
    if not axes:
        return [{}]
    combine = itertools.product if how == "product" else zip
    return [dict(zip(axes, values, strict=True)) for values in combine(*axes.values())]


def require_distinct(lanes: Sequence[tuple[Mapping[str, Any], Any]]) -> None:
    """Check that no two lanes are the same.

    Args:
        lanes: for each lane, its values on the axes, and everything that determines its result.

    Raises:
        InputError: two lanes are the same.
    """
    seen: dict[str, int] = {}
    for i, (values, essence) in enumerate(lanes):
        earlier = seen.setdefault(repr(essence), i)
        if earlier != i:
            raise InputError(
                f"Lanes {earlier} and {i} of the sweep are the same ({described(values)}): leave "
                "one of them out."
            )


def described(values: Mapping[str, Any]) -> str:
    """The values of a lane in words: `style_weight 1000, seed 1`."""
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """The value of an axis as a short text, for tables and labels."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ",".join(k if w == 1 else f"{k}:{w:g}" for k, w in value.items())
    if isinstance(value, list | tuple):
        return ",".join(shown(v) for v in value)
    return str(value)

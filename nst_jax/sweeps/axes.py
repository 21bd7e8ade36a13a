"""Which lanes a sweep has: lists of values, crossed or side by side."""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nst_jax.errors import InputError
from nst_jax.options import unknown
from nst_jax.pictures.reading import PictureSource
from nst_jax.stylizing.settings import LISTS

_HOW = ("product", "zip")
# A style, or several that are mixed.
Style = PictureSource | Sequence[PictureSource]

_LIKE_LISTS = (list, tuple, Mapping)


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Options with one value, and axes: options with a list of values.

    Where one value is a list itself (layers, `style_blend`), a list of lists or mappings is an
    axis.
    """
    axes = {name: _values(name, given) for name, given in options.items()}
    fixed = {name: options[name] for name, values in axes.items() if values is None}
    return fixed, {name: values for name, values in axes.items() if values is not None}


def _values(name: str, given: Any) -> list[Any] | None:
    if getattr(given, "ndim", None) == 1:
        given = given.tolist()
    # A named tuple, such as an optax transformation, is one value.
    if not isinstance(given, list | tuple | range) or hasattr(given, "_fields"):
        return None
    values = list(given)
    if name in LISTS and not (values and all(isinstance(v, _LIKE_LISTS) for v in values)):
        return None
    return values


def labelled(sources: Any, what: str) -> dict[str, Any]:
    """Pictures by name: a mapping as it is, files by their names, anything else by its number.

    Raises:
        InputError: none, or two of one name.
    """
    if isinstance(sources, Mapping):
        found = {str(name): source for name, source in sources.items()}
    elif isinstance(sources, str | os.PathLike) or not isinstance(sources, Iterable):
        raise InputError(f"{what}s must be a list of pictures, or a mapping from names to them.")
    else:
        found = {}
        for number, source in enumerate(sources):
            name = label(source) or str(number)
            if name in found:
                raise InputError(
                    f"Two {what}s are called '{name}': give a mapping from names of your own to "
                    "pictures."
                )
            found[name] = source
    if not found:
        raise InputError(f"{what}s is empty: give at least one picture.")
    return found


def label(source: Any) -> str | None:
    """The file's name; of several that are mixed, all of them; None for what has no name."""
    if isinstance(source, str | os.PathLike):
        return os.path.basename(source)
    if isinstance(source, list | tuple):
        names = [label(one) for one in source]
        return "+".join(names) if all(names) else None  # pyright: ignore
    return None


def points(axes: Mapping[str, Sequence[Any]], how: str) -> list[dict[str, Any]]:
    """The value of each axis at each lane; in a product the last axis runs fastest.

    Raises:
        InputError: an empty axis, axes of unequal length under zip.
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
    """Raise `InputError` where two lanes (their values, and what determines them) are the same."""
    seen: dict[str, int] = {}
    for i, (values, essence) in enumerate(lanes):
        earlier = seen.setdefault(repr(essence), i)
        if earlier != i:
            raise InputError(
                f"Lanes {earlier} and {i} of the sweep are the same ({described(values)}): leave "
                "one of them out."
            )


def described(values: Mapping[str, Any]) -> str:
    """A lane in words: `style_weight 1000, seed 1`."""
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """A value of an axis as tables and labels show it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ",".join(k if w == 1 else f"{k}:{w:g}" for k, w in value.items())
    if isinstance(value, list | tuple):
        return ",".join(shown(v) for v in value)
    return str(value)

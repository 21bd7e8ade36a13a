"""Where a drawn film comes from, where it goes, and its size."""

import os
from dataclasses import replace
from pathlib import Path

from nst_jax.films import film, reading
from nst_jax.films.film import Film
from nst_jax.pictures.resizing import fit


def ends(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    size: int | None,
    rate: float | None,
    overwrite: bool,
) -> tuple[Path, Film, Film]:
    """The target's path, the film that is read, and the film at the size that is drawn.

    Args:
        source: a film, a GIF, or a folder of pictures.
        target: where the drawn film goes.
        size: long side of its frames in pixels; None for the film's own size.
        rate: frames per second of a folder of pictures; None for the usual one.
        overwrite: whether the target may exist.

    Raises:
        InputError: the film cannot be read, or the target cannot be written.
    """
    path = film.check(target, overwrite=overwrite)
    found = reading.probe(source, rate=rate)
    if not film.format_of(path).pixel:
        found = film.square(found)
    height, width = found.height, found.width
    if size is not None:
        height, width = fit(height, width, size)
    return path, found, replace(found, height=height, width=width)

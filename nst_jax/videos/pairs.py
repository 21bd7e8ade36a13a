"""Films that belong together frame by frame: an original, and what was drawn of it."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from nst_jax.errors import InputError
from nst_jax.films import reading
from nst_jax.films.film import Film, Frame

_ROUNDING = 2  # pixels by which tools make a side longer or shorter


def require_alike(original: Film, other: Film) -> None:
    """Check that two films may have the same frames, as far as their headers tell.

    Raises:
        InputError: one is of another shape, or a folder has fewer pictures.
    """
    h, w, high, wide = original.height, original.width, other.height, other.width
    scale = max(high / h, wide / w)
    if abs(h * scale - high) > _ROUNDING or abs(w * scale - wide) > _ROUNDING:
        raise InputError(
            f"The film {str(other.source)!r} is {wide}x{high} pixels and {str(original.source)!r} "
            f"{w}x{h}, which is another shape: give the film that it was made from, uncropped."
        )
    counts = [
        film.count for film in (original, other) if film.source is not None and film.source.is_dir()
    ]
    if len(counts) == 2 and counts[0] != counts[1]:
        raise _unlike(original, other, f"{counts[0]} frames", f"{counts[1]}")


def together(films: Sequence[Film], *, skip: int = 0) -> Iterator[tuple[Frame, ...]]:
    """Yield the frames of films side by side, all in the size of the second one.

    Args:
        films: the original, and what was drawn of it.
        skip: number of frames at the start to leave out.

    Raises:
        InputError: a film ends before another, or a frame cannot be read.
    """
    _, second, *_ = films
    every = [reading.frames(film, second.height, second.width, skip=skip) for film in films]
    for number, frames in enumerate(zip_longest(*every), skip):
        found = [frame for frame in frames if frame is not None]
        if len(found) < len(films):
            short = next(f for f, frame in zip(films, frames, strict=True) if frame is None)
            long = next(f for f, frame in zip(films, frames, strict=True) if frame is not None)
            raise _unlike(long, short, "more frames", f"{number}")
        yield tuple(found)


def _unlike(one: Film, other: Film, count: str, less: str) -> InputError:
    return InputError(
        f"The film {str(one.source)!r} has {count} and {str(other.source)!r} has {less}: give "
        "films with a frame for each frame of the other."
    )

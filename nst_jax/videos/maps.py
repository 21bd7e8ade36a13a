"""Region maps and masks of a film: one for each of its frames, or one for all.

What the colours of maps mean is found from all frames together. So a frame may lack a region, and
a mask may be black in it.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from nst_jax.errors import InputError
from nst_jax.films import folder, reading
from nst_jax.films.film import Film
from nst_jax.films.folder import Pictures
from nst_jax.pictures import masks
from nst_jax.pictures.masks import MapSource, Masks
from nst_jax.pictures.sources import SUFFIXES, PictureSource
from nst_jax.videos.identity import beginning, identity
from nst_jax.videos.pairs import require_alike, together

_SPREAD = 8  # levels by which the channels of greys differ in a film that was compressed
_COLOURED = 26  # levels by which the channels of a mask may not differ


class Maps:
    """The regions of a film's frames, and their pixels that stay as they are.

    Args:
        original: the film.
        size: height and width of the frames, to which masks are resized.
        content_regions: a region map, or a list with a mask for each region, as for `stylize`: each
            a picture for all frames, or a film or a folder with a picture for each frame.
        keep: a mask, white where pixels stay as they are, likewise.

    Raises:
        InputError: a map or mask cannot be read or used, or has other frames than the film.
    """

    def __init__(
        self,
        original: Film,
        size: tuple[int, int],
        content_regions: MapSource | None = None,
        keep: PictureSource | None = None,
    ):
        self.size = size
        self._tracks: list[_Track] = []
        self._given = content_regions, keep
        what = "region map of the content"
        if isinstance(content_regions, list | tuple) and content_regions:
            self._regions = [
                self._mask(original, one, f"mask {n} of the {what}", str(n))
                for n, one in enumerate(content_regions, 1)
            ]
        else:
            self._regions = (
                [] if content_regions is None else [self._map(original, content_regions, what)]
            )
        self._kept = None if keep is None else self._mask(original, keep, "keep mask", "")

    def at(self, number: int) -> tuple[Masks, Float[np.ndarray, "h w"] | None]:
        """The masks of a frame's regions, with all labels, and the mask of what stays.

        There are no masks if the film has no regions, and None stands for no mask.
        """
        regions = {k: v for read in self._regions for k, v in self._read(read, number).items()}
        keep = None if self._kept is None else self._read(self._kept, number)[""]
        return regions, keep

    def _read(self, read: "_Reader", number: int) -> Masks:
        return {k: masks.resized(mask, self.size) for k, mask in read(number).items()}

    def identity(self) -> Any:
        """What tells these maps from others, in plain values."""
        return _identity(self._given)

    def store(self, place: Path) -> None:
        """Keep maps that come from films in a folder, so that frames can be read in any order.

        Raises:
            OSError: the folder cannot be written.
        """
        for number, track in enumerate(self._tracks):
            track.store(place / f"maps{number}")

    def _map(self, original: Film, source: Any, what: str) -> "_Reader":
        if not _is_film(source):
            found = masks.read(source, what)
            return lambda _: found
        track = self._track(original, source)
        codes, counts = track.counted(original)
        palette = masks.palette_of(codes, counts, what, colours=not track.numbers, spread=_SPREAD)
        return lambda number: palette.masks(track.at(number))

    def _mask(self, original: Film, source: Any, what: str, label: str) -> "_Reader":
        if not _is_film(source):
            found = {label: masks.read_mask(source, what)}
            return lambda _: found
        track = self._track(original, source)
        codes, _ = track.counted(original)
        if not track.numbers and masks.spread_of(codes) > _COLOURED:
            raise InputError(
                f"The {what} has colours; expected masks of greys, white where they hold."
            )
        white = int(masks.levels(codes).max())
        if not white:
            raise InputError(f"The {what} is black in all frames: leave it out.")
        # Where the largest number is 1, it is white, as in masks of segmentation code.
        white = np.float32(1 if white == 1 else 255)

        def read(number: int) -> Masks:
            return {label: masks.levels(track.at(number)).astype(np.float32) / white}

        return read

    def _track(self, original: Film, source: Any) -> "_Track":
        self._tracks.append(_Track(reading.probe(source)))
        require_alike(original, self._tracks[-1].film)
        return self._tracks[-1]


_Reader = Callable[[int], Masks]


class _Track:
    """A film or a folder of maps.

    Attributes:
        film: where they are.
        numbers: whether they hold whole numbers in place of colours.
    """

    def __init__(self, film: Film):
        assert film.source is not None
        self.film, self.numbers = film, False
        if film.source.is_dir():
            first = folder.files_of(film.source)[0]
            self.numbers = masks.numbers_of(first, "region map") is not None
        self._coming, self._next = self._codes(0), 0

    def at(self, number: int) -> Int[np.ndarray, "h w"]:
        """The colours or numbers of a frame; backwards in a file this is slow (`store`)."""
        if number != self._next:
            self._coming = self._codes(number)
        self._next = number + 1
        return next(self._coming)

    def counted(self, original: Film) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """All colours or numbers of all frames, and how many pixels have each.

        Raises:
            InputError: there are more or fewer frames than in the original.
        """
        found = Counter[int]()
        for number, (_, frame) in enumerate(together([original, self.film])):
            codes = self.at(number) if self.numbers else masks.packed(frame.rgb)
            each, counts = np.unique(codes, return_counts=True)
            found.update(dict(zip(each.tolist(), counts.tolist(), strict=True)))
        each = sorted(found)
        return np.array(each, np.int64), np.array([found[code] for code in each], np.int64)

    def store(self, place: Path) -> None:
        """Put the frames of a file into a folder, and read them there."""
        assert self.film.source is not None
        if self.film.source.is_dir():
            return
        place.mkdir(parents=True, exist_ok=True)
        made = Pictures(place)
        for frame in reading.frames(self.film, *self._size(), skip=made.done):
            made.add(frame)
        self.film = reading.probe(place)
        self._coming, self._next = self._codes(0), 0

    def _codes(self, skip: int) -> Iterator[Int[np.ndarray, "h w"]]:
        if not self.numbers:
            for frame in reading.frames(self.film, *self._size(), skip=skip):
                yield masks.packed(frame.rgb)
            return
        assert self.film.source is not None
        for path in folder.files_of(self.film.source)[skip:]:
            found = masks.numbers_of(path, "region map")
            if found is None or found.shape != self._size():
                raise InputError(
                    f"The region map {str(path)!r} is not of the kind and size of the first one "
                    "in its folder: save all alike."
                )
            yield found

    def _size(self) -> tuple[int, int]:
        return self.film.height, self.film.width


def _is_film(source: Any) -> bool:
    """Whether a map is a film or a folder, and no picture."""
    if not isinstance(source, str | os.PathLike):
        return False
    return os.path.isdir(source) or Path(source).suffix.lower() not in SUFFIXES


def _identity(given: Any) -> Any:
    if isinstance(given, list | tuple):
        return [_identity(one) for one in given]
    return beginning(Path(given)) if _is_film(given) else identity(given)

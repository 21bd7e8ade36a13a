"""Training pictures: random crops of a folder's pictures, the same on every run with a seed."""

import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from nst_jax.errors import InputError
from nst_jax.pictures import reading, resizing
from nst_jax.pictures.sources import SUFFIXES

_KEPT = 1024  # number of pictures kept in memory
_DETAIL = 3  # pictures are reduced so that the short side is at most this many crop sides
_reading = Lock()


def _inside(place: Path) -> list[Path]:
    if os.path.isfile(place):
        return [place]
    if not os.path.isdir(place):
        raise InputError(f"There is no folder {str(place)!r} of training pictures.")
    return sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


class Crops:
    """Square random crops of the pictures in folders and their subfolders.

    The crops of a step depend only on the seed and the step's number, so that a run can be resumed
    at any step. Files that cannot be read or are smaller than a crop are skipped; `skipped` says
    why.

    Args:
        places: a folder, or a list of folders and files.
        size: side of a crop in pixels.
        seed: seed of the random crops.

    Raises:
        InputError: a folder does not exist, or no file is a picture that can be used.
    """

    def __init__(
        self, places: str | os.PathLike | Sequence[str | os.PathLike], size: int, seed: int = 0
    ):
        self.size, self.seed = size, seed
        self.skipped: dict[str, str] = {}
        several = [places] if isinstance(places, str | os.PathLike) else list(places)
        folder = ", ".join(map(os.fsdecode, several))
        self.paths = [path for place in several for path in _inside(Path(os.fsdecode(place)))]
        if not self.paths:
            raise InputError(
                f"The folder {folder!r} holds no pictures: training takes files that end in "
                f"{', '.join(SUFFIXES)}, in subfolders too."
            )
        self._read = lru_cache(maxsize=_KEPT)(self._decoded)
        if all(self._read(path) is None for path in self._until_usable()):
            small = sum("smaller" in why for why in self.skipped.values())
            raise InputError(
                f"The folder {folder!r} holds no picture that can be used: of "
                f"{len(self.paths)} files {len(self.paths) - small} cannot be read and {small} are "
                f"smaller than the crop of {size} pixels: give another folder, or a smaller crop."
            )

    def _until_usable(self) -> Iterator[Path]:
        for path in self.paths:
            yield path
            if str(path) not in self.skipped:
                return

    def _decoded(self, path: Path) -> UInt8[np.ndarray, "h w 3"] | None:
        try:
            # Warning filters apply to the whole process, so only one thread at a time reads.
            with _reading, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rgb = reading.read(path).rgb
        except InputError:
            self.skipped[str(path)] = "cannot be read"
            return None
        h, w, _ = rgb.shape
        if min(h, w) < self.size:
            self.skipped[str(path)] = "smaller than the crop"
            return None
        share = _DETAIL * self.size / min(h, w)
        if share < 1:
            rgb = resizing.resize(rgb, (round(h * share), round(w * share)))
        return np.rint(rgb * 255).astype(np.uint8)

    def batch(self, step: int, count: int) -> Float[np.ndarray, "b s s 3"]:
        """The crops of one step, RGB in [0, 1]: random place and scale, half of them mirrored."""
        rng = np.random.default_rng([self.seed, step])
        return np.stack([self._crop(self._draw(rng), rng) for _ in range(count)])

    def _draw(self, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
        while True:
            picture = self._read(self.paths[rng.integers(len(self.paths))])
            if picture is not None:
                return picture

    def _crop(
        self, picture: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
    ) -> Float[np.ndarray, "s s 3"]:
        h, w, _ = picture.shape
        # The side in the picture is log-uniform, from the crop's size to the whole short side.
        side = min(float(np.exp(rng.uniform(np.log(self.size), np.log(min(h, w))))), h, w)
        top, left = rng.uniform(0, h - side), rng.uniform(0, w - side)
        square = Image.fromarray(picture).resize(
            (self.size, self.size),
            Image.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
        )
        found = np.asarray(square, np.float32) / 255
        return found[:, ::-1].copy() if rng.random() < 0.5 else found

    def stream(self, first: int, end: int, count: int) -> Iterator[Float[np.ndarray, "b s s 3"]]:
        """Yield the batches of steps `first` to `end - 1`, prepared ahead on all processors."""
        workers = os.cpu_count() or 1
        steps = iter(range(first, end))
        with ThreadPoolExecutor(workers) as pool:
            ahead = deque(pool.submit(self.batch, n, count) for n in islice(steps, workers))
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(self.batch, n, count) for n in islice(steps, 1))
                yield batch

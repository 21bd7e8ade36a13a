"""key_video(): one or several painted frames, carried over a whole film by guided synthesis.

From each key the painting goes along the film's motion, forwards and backwards, to the next key. In
between, strokes change from those of one key to those of the other, place by place.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from safetensors.numpy import load_file, save_file
from tqdm.auto import tqdm

from nst_jax._version import __version__
from nst_jax.films import reading, writing
from nst_jax.patches.guided import matched, painted_at, places_in
from nst_jax.videos.coherent import crossed
from nst_jax.videos.ends import ends
from nst_jax.videos.identity import beginning, identity
from nst_jax.videos.keys import read_keys, require_frames
from nst_jax.videos.passages import Method, method_of, passage
from nst_jax.videos.passes import Store, unit

Frame = Float[np.ndarray, "h w 3"]


def key_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    keys: Any,
    *,
    method: Method = "auto",
    size: int | None = None,
    rate: float | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Paint a film as some of its frames are painted (after Jamriska et al. 2019, EbSynth).

    All frames are kept on the disk until the film is complete.

    Args:
        source: as for `video`, and so are target, size, rate, overwrite and progress.
        target: see there.
        keys: painted frames; see `keys.read_keys`. They stay as they are.
        method: how the motion is found; see `passages.passage`.
        size: see `video`.
        rate: see `video`.
        overwrite: see `video`.
        progress: see `video`.

    Returns:
        `target` as a path.

    Raises:
        InputError: the film or a key cannot be read, a key is no frame of the film, or the target
            cannot be written.
        KeyboardInterrupt: Ctrl-C was pressed; the same call goes on.
    """
    method = method_of(method)
    target, found, wanted = ends(source, target, size=size, rate=rate, overwrite=overwrite)
    height, width = wanted.height, wanted.width
    painted = read_keys(keys, found, (height, width))
    require_frames(painted, found)
    settings = {
        "version": __version__,
        "source": beginning(Path(source)),
        "keys": identity(painted),
        "motion": method,
    }
    with writing.opened(target, wanted, settings=settings, overwrite=overwrite) as out:
        folder = out.folder / writing.PASSES
        with out.telling():
            folder.mkdir(exist_ok=True)
            frames = Store(folder / "film")
            for number, frame in enumerate(reading.frames(found, height, width)):
                if number not in frames:
                    frames.put(number, frame.rgb)
        count, numbers = len(frames), list(painted)
        total = 3 * count - numbers[0] - (count - 1 - numbers[-1])
        with tqdm(total=total, disable=not progress, unit="frame", desc="video") as bar:
            there, back = (_Strand(folder / name) for name in ("forwards", "backwards"))
            with out.telling():
                for strand, step in ((there, 1), (back, -1)):
                    for span in _spans(numbers, count, step):
                        _carry(strand, span, frames, painted[span[0]], method, bar)
            coming = reading.frames(found, height, width, skip=out.done)
            for number, frame in enumerate(coming, out.done):
                with out.telling():
                    rgb = _between(number, numbers, there, back)
                out.write(frame._replace(rgb=np.rint(rgb * 255).astype(np.uint8)))
                bar.update()
    return target


def _spans(keys: list[int], count: int, step: int) -> list[range]:
    """The frames that each key is carried to: itself, and those up to the next key."""
    if step > 0:
        return [range(a, b) for a, b in zip(keys, [*keys[1:], count], strict=True)]
    return [range(b, a, -1) for a, b in zip([-1, *keys[:-1]], keys, strict=True)]


class _Painted(NamedTuple):
    """What was painted of a frame from a key, and how far motion tells it, from 0 to 1."""

    rgb: UInt8[np.ndarray, "h w 3"]
    known: UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class _Strand:
    """The frames that are painted in one direction, in a folder; one that is there is whole."""

    folder: Path

    def __post_init__(self):
        self.folder.mkdir(exist_ok=True)

    def put(self, number: int, painted: _Painted, places: Float[np.ndarray, "h w 2"]) -> None:
        """Keep a frame, and its places in the key until the next one is kept."""
        self._write(self._of(number, ".places"), {"places": places})
        self._write(self._of(number, ".painted"), painted._asdict())
        for path in self.folder.glob("*.places"):
            if path != self._of(number, ".places"):
                path.unlink()

    def get(self, number: int) -> _Painted | None:
        """A frame, or None if it is not there."""
        path = self._of(number, ".painted")
        return _Painted(**load_file(path)) if path.exists() else None

    def places(self, number: int) -> Float[np.ndarray, "h w 2"] | None:
        """The places of the last frame."""
        path = self._of(number, ".places")
        return load_file(path)["places"] if path.exists() else None

    def _of(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:06}{suffix}"

    @staticmethod
    def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        part = path.with_suffix(".part")
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, part)
        os.replace(part, path)


def _carry(
    strand: _Strand, span: range, frames: Store, key: Frame, method: Method, bar: Any
) -> None:
    """Paint the frames of a span as its first one, the key, is painted."""
    original = unit(frames.get(span[0]))
    height, width, _ = key.shape
    earlier, places = original, places_in(height, width)
    known = np.ones((height, width), np.float32)
    for number in span:
        done = strand.get(number)
        if done is not None:
            kept = strand.places(number)
            if kept is not None:
                places, known = kept, done.known / np.float32(255)
                earlier = unit(frames.get(number))
        else:
            rgb = key
            if number != span[0]:
                frame = unit(frames.get(number))
                way = passage(earlier, frame, method=method)
                guess, known = _moved(places, known, way.flow)
                known = known * way.reliable
                places = matched(original, key, frame, guess, way.reliable)
                rgb, earlier = np.asarray(painted_at(key, places)), frame
            strand.put(number, _Painted(_to_uint8(rgb), _to_uint8(known)), places)
            known = _to_uint8(known) / np.float32(255)  # as in a run that was killed here
        bar.update()


def _moved(
    places: Float[np.ndarray, "h w 2"],
    known: Float[np.ndarray, "h w"],
    flow: Float[np.ndarray, "h w 2"],
) -> tuple[Float[np.ndarray, "h w 2"], Float[np.ndarray, "h w"]]:
    """Places, and what is known, moved along a flow to the earlier frame; edges stay edges."""
    h, w = known.shape
    there = places_in(h, w) + np.nan_to_num(flow)
    at = np.rint(np.clip(there, 0, [w - 1, h - 1])).astype(np.int64)
    guess = places[at[..., 1], at[..., 0]] + (there - at)
    return guess.astype(np.float32), known[at[..., 1], at[..., 0]]


def _between(number: int, keys: list[int], there: _Strand, back: _Strand) -> Frame:
    """A frame between keys: in the strokes of the one before, and more and more of the next."""
    one, other = there.get(number), back.get(number)
    if one is None or other is None or number in keys:
        alone = one or other
        assert alone is not None
        return unit(alone.rgb)
    before, after = (max(k for k in keys if k < number), min(k for k in keys if k > number))
    share = (number - before) / (after - before)
    known = (other.known.astype(np.float32) - one.known) / 255
    return crossed(unit(one.rgb), unit(other.rgb), share, known)


def _to_uint8(values: Float[np.ndarray, "*n"]) -> UInt8[np.ndarray, "*n"]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)

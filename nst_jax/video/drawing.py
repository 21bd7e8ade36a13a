"""Draw films with a model: frames are decoded ahead, drawn, and encoded behind."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nst_jax._version import __version__
from nst_jax.films import film, folder, reading, writing
from nst_jax.films.ahead import ahead
from nst_jax.pictures.resizing import fit

_TOGETHER = 2**20  # pixels in the frames that are drawn at once
_BEGIN = 2**20  # bytes by which films are told apart


def draw_video(
    model: Any,
    source: str | os.PathLike,
    target: str | os.PathLike,
    style: Any = None,
    *,
    size: int | None = None,
    rate: float | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Draw every frame of a film in a style; sound, subtitles and time stamps are kept.

    Each frame is drawn independently, so films flicker where the camera's noise moves strokes. A
    call that was killed goes on at the next frame when it is made again (`writing.opened`).

    Args:
        model: a model from `load`.
        source: a film, a GIF, or a folder of pictures.
        target: `.mp4`, `.mov`, `.mkv`, `.webm`, `.gif`, or a name without suffix for a folder of
            frames; it appears only when it is complete.
        style: the style, as the model takes it.
        size: long side of the frames in pixels; None keeps the film's size.
        rate: frames per second of a folder of pictures; None for 25.
        overwrite: replace an existing film, and what is left of one with other settings.
        progress: show a bar.
        **options: options of the model's `painter`.

    Returns:
        `target` as a path.

    Raises:
        InputError: the film cannot be read, or the target cannot be written.
    """
    target = film.check(target, overwrite=overwrite)
    found = reading.probe(source, rate=rate)
    if not film.format_of(target).pixel:
        found = film.square(found)
    height, width = found.height, found.width
    if size is not None:
        height, width = fit(height, width, size)
    paint = model.painter(style, height, width, **options)
    settings = {
        "version": __version__,
        "model": model.digest,
        "source": _begin(Path(source)),
        "style": _identity(style),
        "options": _identity(options),
    }
    together = max(1, _TOGETHER // (height * width))
    wanted = replace(found, height=height, width=width)
    with writing.opened(target, wanted, settings=settings, overwrite=overwrite) as out:
        # The same frames are drawn together as in a run that was not killed.
        start = out.done - out.done % together
        coming = ahead(reading.frames(found, height, width, skip=start), 2 * together)
        bar = tqdm(
            total=found.count, initial=start, disable=not progress, unit="frame", desc="apply"
        )
        with bar:
            while frames := list(islice(coming, together)):
                drawn = paint(np.stack([frame.rgb for frame in frames]) / np.float32(255))
                for number, (frame, rgb) in enumerate(zip(frames, drawn, strict=True), start):
                    if number >= out.done:
                        out.write(frame._replace(rgb=np.rint(rgb * 255).astype(np.uint8)))
                start += len(frames)
                bar.update(len(frames))
    return target


def _begin(source: Path) -> str:
    """Tells one film from another: sizes of files, and the first bytes."""
    files = folder.files_of(source) if source.is_dir() else [source]
    found = hashlib.sha256(repr([(p.name, p.stat().st_size) for p in files[1:]]).encode())
    with files[0].open("rb") as file:
        found.update(file.read(_BEGIN))
    return f"{files[0].stat().st_size} {found.hexdigest()}"


def _identity(value: Any) -> Any:
    """A value in plain values, with digests for files and arrays."""
    if isinstance(value, Mapping):
        return {str(k): [_identity(k), _identity(v)] for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(one) for one in value]
    if isinstance(value, str | os.PathLike) and os.path.isfile(value):
        return hashlib.sha256(Path(value).read_bytes()).hexdigest()
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return hashlib.sha256(f"{array.shape} {array.dtype}".encode() + array.tobytes()).hexdigest()
    return repr(value)

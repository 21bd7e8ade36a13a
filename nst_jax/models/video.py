"""Films through a model, frame by frame, by ffmpeg: decoded, drawn and encoded as a stream."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nst_jax.errors import InputError
from nst_jax.files.atomic import check_place
from nst_jax.pictures import film
from nst_jax.pictures.resizing import fit


def draw_video(
    model: Any,
    source: str | os.PathLike,
    target: str | os.PathLike,
    style: Any = None,
    *,
    size: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Draw every frame of a film in a style; its sound is kept.

    Each frame is drawn for itself: where the camera's noise moves strokes, films flicker.

    Args:
        model: from `load`.
        source: any film that ffmpeg reads.
        target: `.mp4`, `.mov` or `.mkv`; it appears when it is complete.
        style: as for the model.
        size: long side of the frames in pixels; None keeps the film's own.
        overwrite: replace a file that is there.
        progress: show a bar.
        **options: as for the model's `painter`.

    Raises:
        InputError: no ffmpeg; a film that cannot be read; a place that cannot be written.
    """
    target = check_place(target, overwrite=overwrite)
    if target.suffix.lower() not in film.CONTAINERS:
        raise InputError(
            f"The film {str(target)!r} must end in one of {', '.join(film.CONTAINERS)}."
        )
    if not Path(source).is_file():
        raise InputError(f"There is no film {str(source)!r}: check the path.")
    if shutil.which("ffmpeg") is None:
        raise InputError("Films need ffmpeg, which is not installed: install it.")
    found = film.probe(source)
    height, width = found[:2] if size is None else fit(*found[:2], size)
    found = film.Film(height, width, found.rate)
    paint = model.painter(style, height, width, **options)
    with (
        tqdm(disable=not progress, unit="frame", desc="apply") as bar,
        film.encoded(target, found, sound=source) as write,
    ):
        for batch in film.decoded(source, found):
            write(np.rint(paint(batch) * 255).astype(np.uint8))
            bar.update(len(batch))
    return target

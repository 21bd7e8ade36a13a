"""Draw films with a model: ffmpeg decodes and encodes, and frames are streamed between."""

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
    """Draw every frame of a film in a style, and keep its sound.

    Each frame is drawn independently, so films flicker where the camera's noise moves strokes.

    Args:
        model: a model from `load`.
        source: any film that ffmpeg can read.
        target: `.mp4`, `.mov` or `.mkv`; the file appears only when it is complete.
        style: the style, as the model takes it.
        size: long side of the frames in pixels; None keeps the film's size.
        overwrite: replace an existing file.
        progress: show a bar.
        **options: options of the model's `painter`.

    Returns:
        `target` as a path.

    Raises:
        InputError: ffmpeg is missing, the film cannot be read, or the target cannot be written.
    """
    target = check_place(target, overwrite=overwrite)
    if target.suffix.lower() not in film.CONTAINERS:
        raise InputError(
            f"The film {str(target)!r} must end in one of {', '.join(film.CONTAINERS)}."
        )
    if not os.path.isfile(source):
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

"""video(): a film in, a film in a style out, by a model or by optimisation."""

import os
from pathlib import Path
from typing import Any, Literal, get_args

from nst_jax.errors import InputError
from nst_jax.models.load import load
from nst_jax.options import unknown
from nst_jax.videos.drawing import draw_video
from nst_jax.videos.keyed import key_video
from nst_jax.videos.optimising import optimise_video

Engine = Literal["auto", "model", "optimise", "keys"]


def video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    style: Any = None,
    *,
    model: Any = None,
    keys: Any = None,
    engine: Engine = "auto",
    size: int | None = None,
    rate: float | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Draw a film in a style, without flicker; sound, subtitles and time stamps are kept.

    A call that was killed goes on at the next frame when it is made again.

    Args:
        source: a film, a GIF, or a folder of pictures, one for each frame.
        target: `.mp4`, `.mov`, `.mkv`, `.webm`, `.gif`, or a name without suffix for a folder of
            frames; it appears only when it is complete.
        style: a style of the model, as it takes it; without a model a picture, or a list of them.
        model: a model from `load`, or its name or file.
        keys: painted frames of the film, in a folder, each named by the number of its frame, from
            1, or as that frame is if the film is a folder; or a mapping from numbers to pictures.
        engine: "model" draws each frame in one pass, "optimise" as `stylize` does, and "keys"
            carries the painted frames over the film; "auto" takes what is there.
        size: long side of the frames in pixels; None keeps the film's size.
        rate: frames per second of a folder of pictures; None for 25.
        overwrite: replace an existing film, and what is left of one with other settings.
        progress: show a bar.
        **options: for a model those of `drawing.draw_video`, for optimisation those of
            `optimising.optimise_video`, for keys those of `keyed.key_video`.

    Returns:
        `target` as a path.

    Raises:
        InputError: the film cannot be read, an option cannot be used, or the target cannot be
            written.
        KeyboardInterrupt: Ctrl-C was pressed; the same call goes on.
    """
    chosen = chosen_engine(engine, model, keys)
    shared: dict[str, Any] = {
        "size": size,
        "rate": rate,
        "overwrite": overwrite,
        "progress": progress,
    }
    if chosen == "keys":
        if style is not None:
            raise InputError("The style is that of the key frames: leave out the other one.")
        return key_video(source, target, keys, **shared, **options)
    if chosen == "optimise":
        if style is None:
            raise InputError("There is no style: give a picture, or a model that has learned some.")
        return optimise_video(source, target, style, **shared, **options)
    if isinstance(model, str | os.PathLike):
        model = load(model)
    return draw_video(model, source, target, style, **shared, **options)


def chosen_engine(
    engine: str, model: Any, keys: Any = None
) -> Literal["model", "optimise", "keys"]:
    """The engine that is meant: "model", "optimise" or "keys".

    Raises:
        InputError: there is no such engine, or it does not fit the model or the keys.
    """
    if engine not in get_args(Engine):
        raise InputError(unknown("engine", engine, get_args(Engine)))
    if engine == "model" and model is None:
        raise InputError("The engine 'model' needs a model: give its name or file.")
    if engine == "optimise" and model is not None:
        raise InputError("The engine 'optimise' draws without a model: leave out one of them.")
    if keys is not None and (model is not None or engine not in ("auto", "keys")):
        raise InputError("Key frames are painted already: leave out the model, or the keys.")
    if engine == "keys" and keys is None:
        raise InputError("The engine 'keys' needs key frames: give the folder of painted frames.")
    if keys is not None:
        return "keys"
    return "optimise" if model is None else "model"

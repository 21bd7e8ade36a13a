"""Draw films with a model: frames are decoded ahead, drawn, and encoded behind."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nst_jax._version import __version__
from nst_jax.films import reading, writing
from nst_jax.films.ahead import ahead
from nst_jax.films.film import Frame
from nst_jax.options import parse_choices
from nst_jax.pictures.color import with_lightness
from nst_jax.pictures.masks import MapSource
from nst_jax.pictures.sources import PictureSource
from nst_jax.videos.ends import ends
from nst_jax.videos.identity import beginning, identity
from nst_jax.videos.maps import Maps
from nst_jax.videos.parts import Parts
from nst_jax.videos.passages import Method, Passage, method_of, passage
from nst_jax.videos.preview import Preview
from nst_jax.videos.shots import Shots

_TOGETHER = 2**20  # pixels in the frames that are drawn at once


def draw_video(
    model: Any,
    source: str | os.PathLike,
    target: str | os.PathLike,
    style: Any = None,
    *,
    content_regions: MapSource | None = None,
    region_styles: Any = None,
    keep: PictureSource | None = None,
    coherent: bool = True,
    method: Method = "auto",
    size: int | None = None,
    rate: float | None = None,
    overwrite: bool = False,
    progress: bool = True,
    keep_colors: bool = False,
    **options: Any,
) -> Path:
    """Draw every frame of a film in a style; sound, subtitles and time stamps are kept.

    A call that was killed goes on at the next frame when it is made again (`writing.opened`), and
    the film is the same.

    Args:
        model: a model from `load`.
        source: a film, a GIF, or a folder of pictures.
        target: `.mp4`, `.mov`, `.mkv`, `.webm`, `.gif`, or a name without suffix for a folder of
            frames; it appears only when it is complete.
        style: the style, as the model takes it; with `content_regions` a list of styles.
        content_regions: the regions of the frames, as for `optimise_video`.
        region_styles: the number of the style of each region, from 1, by its label, as a mapping or
            as `LABEL:NUMBER,...`; 0 keeps the film's pixels there.
        keep: a mask, white where the film's own pixels stay, as for `optimise_video`.
        coherent: carry strokes from frame to frame along the film's motion (`coherent`). Otherwise
            each frame is drawn independently, and the noise of a camera is enough for flicker.
        method: how the motion is found; see `passages.passage`.
        size: long side of the frames in pixels; None keeps the film's size.
        rate: frames per second of a folder of pictures; None for 25.
        overwrite: replace an existing film, and what is left of one with other settings.
        progress: show a bar.
        keep_colors: keep the film's own chroma, and use only the lightness of the drawing.
        **options: other options of the model's `painter`.

    Returns:
        `target` as a path.

    Raises:
        InputError: the film cannot be read, or the target cannot be written.
    """
    motion = method_of(method) if coherent else None
    target, found, wanted = ends(source, target, size=size, rate=rate, overwrite=overwrite)
    height, width = wanted.height, wanted.width
    maps, chosen = Maps(found, (height, width), content_regions, keep), parse_choices(region_styles)
    several = isinstance(style, list | tuple) and content_regions is not None
    painters = [
        model.painter(one, height, width, **options) for one in (style if several else [style])
    ]
    parted = content_regions is not None or keep is not None or chosen is not None
    parts = Parts(painters, maps, chosen) if parted else None
    settings = {
        "version": __version__,
        "model": model.digest,
        "source": beginning(Path(source)),
        "style": identity(style),
        "options": identity(options | {"keep_colors": keep_colors}),
        "motion": motion,
        "maps": [maps.identity(), chosen],
    }
    # A model that carries needs the last result before it can draw the next frame.
    alone = coherent and model.carries
    together = 1 if alone else max(1, _TOGETHER // (height * width))
    preview = Preview(target, told=progress and coherent)
    with writing.opened(
        target, wanted, settings=settings, overwrite=overwrite, states=together
    ) as out:
        # The same frames are drawn together as in a run that was not killed.
        start = out.done - out.done % together
        frames = reading.frames(found, height, width, skip=max(start - 1, 0))
        coming = ahead(moving(ahead(frames, 2 * together), motion), 2 * together)
        if start:
            next(coming)  # only there for the motion to the next one
        shots = Shots(out.states, carries=alone)
        bar = tqdm(
            total=found.count, initial=start, disable=not progress, unit="frame", desc="apply"
        )
        with bar:
            while several := list(islice(coming, together)):
                pictures = np.stack([frame.rgb for frame, _ in several]) / np.float32(255)
                there = max(0, out.done - start)
                ways = [way for _, way in several]
                batch = parts and parts.batch(start, ways)
                paint, ways = (batch.paint, batch.ways) if batch else (painters[0], ways)
                if coherent:
                    drawn = shots.drawn(paint, pictures, ways, start, there)
                else:
                    drawn = [(rgb, None) for rgb in paint(pictures)[there:]]
                for i, (rgb, state) in enumerate(drawn, there):
                    whole = np.asarray(with_lightness(pictures[i], rgb)) if keep_colors else rgb
                    whole = batch.shown(i, pictures[i], whole) if batch else whole
                    if not start + i:
                        preview.show(np.clip(whole, 0, 1))
                    whole = np.rint(np.clip(whole, 0, 1) * 255).astype(np.uint8)
                    out.write(several[i][0]._replace(rgb=whole), state)
                start += len(several)
                bar.update(len(several))
    preview.remove()
    return target


def moving(
    frames: Iterator[Frame], method: Method | None
) -> Iterator[tuple[Frame, Passage | None]]:
    """Yield frames, each with its passage from the one before: None for the first, or no method."""
    earlier = None
    for frame in frames:
        picture = frame.rgb.astype(np.float32) / 255
        way = None
        if method is not None and earlier is not None:
            way = passage(earlier, picture, method=method)
        yield frame, way
        earlier = picture

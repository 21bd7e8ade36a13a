"""deflicker(): frames that any tool drew of a film, made coherent by the film's own motion."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from nst_jax._version import __version__
from nst_jax.films import film, reading, writing
from nst_jax.films.ahead import ahead
from nst_jax.options import WEIGHT, in_range
from nst_jax.videos.identity import beginning
from nst_jax.videos.pairs import require_alike, together
from nst_jax.videos.passages import Method, method_of, passage
from nst_jax.videos.poisson import STRENGTH, steadied

_AHEAD = 4  # frames read ahead


def deflicker(
    source: str | os.PathLike,
    styled: str | os.PathLike,
    target: str | os.PathLike,
    *,
    strength: float = STRENGTH,
    method: Method = "auto",
    rate: float | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Take the flicker out of a film that any tool drew of another, frame by frame.

    Each frame keeps the gradients of its drawing and takes the colours of the last result where
    the original film moved there (Bonneel et al. 2015). A call that was killed goes on at the next
    frame when it is made again, and the film is the same.

    Args:
        source: the original: a film, a GIF, or a folder of pictures.
        styled: what was drawn of it, with as many frames of the same shape.
        target: `.mp4`, `.mov`, `.mkv`, `.webm`, `.gif`, or a name without suffix for a folder of
            frames; it has the size of `styled` and the sound of the original, and appears only
            when it is complete.
        strength: how much the last result counts; more is steadier and less sharp.
        method: how the motion is found; see `passages.passage`.
        rate: frames per second of folders; None for 25.
        overwrite: replace an existing film, and what is left of one with other settings.
        progress: show a bar.

    Returns:
        `target` as a path.

    Raises:
        InputError: a film cannot be read, the two do not belong together, or the target cannot be
            written.
    """
    in_range(strength, "strength", *WEIGHT)
    method = method_of(method)
    target = film.check(target, overwrite=overwrite)
    original, drawn = (
        reading.probe(path, rate=rate if os.path.isdir(path) else None) for path in (source, styled)
    )
    require_alike(original, drawn)
    settings = {
        "version": __version__,
        "source": beginning(Path(source)),
        "styled": beginning(Path(styled)),
        "strength": strength,
        "motion": method,
    }
    whole = original if original.source is not None and original.source.is_file() else drawn
    wanted = replace(
        whole, height=drawn.height, width=drawn.width, pixel=drawn.pixel, alpha=drawn.alpha
    )
    with writing.opened(target, wanted, settings=settings, overwrite=overwrite) as out:
        last = out.states[-1]["result"].astype(np.float32) if out.states else None
        coming = ahead(together((original, drawn), skip=max(out.done - 1, 0)), _AHEAD)
        earlier = next(coming)[0].rgb.astype(np.float32) / 255 if out.done else None
        bar = tqdm(
            total=drawn.count,
            initial=out.done,
            disable=not progress,
            unit="frame",
            desc="deflicker",
        )
        with bar:
            for first, second in coming:
                frame = first.rgb.astype(np.float32) / 255
                found = second.rgb.astype(np.float32) / 255
                if last is not None and earlier is not None:
                    way = passage(earlier, frame, method=method)
                    if not way.cut:
                        more = frame, earlier, way.flow, way.reliable, float(strength)
                        found = np.asarray(steadied(found, last, *more))
                kept = found.astype(np.float16)
                # As it is kept, so that a run that goes on has the same.
                last, earlier = kept.astype(np.float32), frame
                rgb = np.rint(last * 255).astype(np.uint8)
                timed = first._replace(rgb=rgb, alpha=second.alpha)
                out.write(timed, {"result": kept})
                bar.update()
    return target

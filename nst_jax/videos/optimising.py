"""optimise_video(): the frames of a film by optimisation, with all side effects."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.films import reading, writing
from nst_jax.films.ahead import ahead
from nst_jax.films.film import Film
from nst_jax.losses.regions import Regions
from nst_jax.networks.base import Network
from nst_jax.options import in_range
from nst_jax.pictures.masks import MapSource
from nst_jax.pictures.sources import PictureSource
from nst_jax.stylizing import checkpoint
from nst_jax.stylizing.inputs import Sources
from nst_jax.stylizing.run import requested
from nst_jax.videos.ends import ends
from nst_jax.videos.identity import beginning
from nst_jax.videos.maps import Maps
from nst_jax.videos.optimised import Frame, Optimised, Past, Plan
from nst_jax.videos.passages import Method, method_of
from nst_jax.videos.passes import in_passes, unit
from nst_jax.videos.preview import Preview

_WEIGHT = 1e6  # of the temporal term
_AHEAD = 2  # frames that are decoded while one is drawn


def optimise_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    style: PictureSource | list[PictureSource],
    *,
    evaluations: int = Plan.evaluations,
    seconds_per_frame: float | None = None,
    coherent: bool = True,
    lags: tuple[int, ...] = Plan.lags,
    passes: int = 1,
    loop: bool = False,
    method: Method = "auto",
    content_regions: MapSource | None = None,
    style_regions: MapSource | Sequence[MapSource | None] | None = None,
    keep: PictureSource | None = None,
    size: int | None = None,
    rate: float | None = None,
    preset: str = "default",
    network: str | os.PathLike | Network = "auto",
    offline: bool | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Draw a film in the style of a picture by optimisation (Ruder et al. 2016).

    The first frame of each shot is drawn as `stylize` does. Until the film is complete, that of the
    first shot is in `OUT.preview.png`. Memory does not grow with the film's length.

    Args:
        source: as for `video`, and so are target, size, rate, overwrite and progress.
        target: see there.
        style: the style picture, or several, as for `stylize`.
        evaluations: function evaluations of each frame after the first of a shot.
        seconds_per_frame: time limit for each of these frames; None for none. Frames then depend on
            the machine, and do not repeat to the bit. The option `seconds` limits the first ones.
        coherent: hold frames to earlier ones. Otherwise each is drawn by itself, in about as much
            time, to compare with.
        lags: the earlier frames to which a frame is held: how many frames back, the nearest first.
        passes: how often the film is drawn, backwards and forwards in turn; see `passes.in_passes`.
            More than one keeps all frames on the disk.
        loop: whether the film goes on with its first frame after the last one; takes two passes.
        method: how the motion is found; see `passages.passage`.
        content_regions: the regions of the frames, as for `stylize`: a region map or a list with a
            mask for each region, each a picture for all frames, or a film or a folder with a
            picture for each frame. A region may be missing in some frames.
        style_regions: as for `stylize`.
        keep: a mask, white where the film's own pixels stay: a picture, a film or a folder.
        size: see `video`.
        rate: see `video`.
        preset: as for `stylize`.
        network: as for `stylize`.
        offline: as for `stylize`.
        overwrite: see `video`.
        progress: see `video`.
        **options: the settings of `stylize`. `temporal_weight` is the weight of earlier frames.

    Returns:
        `target` as a path.

    Raises:
        InputError: the film or the style cannot be read, an option cannot be used, or the target
            cannot be written.
        KeyboardInterrupt: Ctrl-C was pressed; the same call goes on.
    """
    plan = Plan(evaluations, tuple(lags), seconds_per_frame, method_of(method), coherent)
    in_range(passes, "passes", Integral, 1, 1000)
    if not coherent and (passes > 1 or loop):
        raise InputError(
            "Several passes and loops hold frames to others, and each is to be drawn by itself: "
            "leave out one of them."
        )
    passes = max(passes, 2) if loop else passes
    target, found, wanted = ends(source, target, size=size, rate=rate, overwrite=overwrite)
    height, width = wanted.height, wanted.width
    first = next(_frames(found, wanted, 0)).rgb
    maps = Maps(found, (height, width), content_regions, keep)
    regions, kept = maps.at(0)
    # Of all that `match` looks at, the frames' masks have the labels alone in common.
    whole = None if kept is None else np.ones_like(kept)
    request = requested(
        Sources(unit(first), style, None, regions or None, style_regions, whole),
        preset=preset,
        network=network,
        offline=offline,
        progress=progress,
        **{"temporal_weight": _WEIGHT, **options, "size": max(height, width)},
    )
    matched = request.pictures.regions
    mapped = content_regions is not None or keep is not None

    def regions_of(number: int) -> Regions | None:
        return matched.of_frame(*maps.at(number)) if matched and mapped else matched

    request = replace(request, pictures=request.pictures._replace(regions=regions_of(0)))
    settings = {
        **checkpoint.identity(request),
        "version": __version__,
        "iterations": request.settings.iterations,
        "source": beginning(Path(source)),
        "plan": asdict(plan),
        "passes": [passes, loop],
        "maps": maps.identity(),
    }
    frames = Optimised(request, plan)
    preview = Preview(target, told=progress and coherent)
    with writing.opened(
        target, wanted, settings=settings, overwrite=overwrite, states=frames.reach
    ) as out:
        total = found.count and found.count * passes
        bar = tqdm(total=total, initial=out.done, disable=not progress, unit="frame", desc="video")

        with bar:
            if passes > 1:
                with out.telling():
                    maps.store(out.folder / writing.PASSES)
                parts = frames, out, found, wanted, regions_of
                _in_passes(*parts, bar, preview.show, passes=passes, loop=loop)
            else:
                _at_once(frames, out, found, wanted, regions_of, bar, preview.show)
    preview.remove()
    return target


def _at_once(
    frames: Optimised,
    out: writing.Writer,
    found: Film,
    wanted: Film,
    regions_of: Callable[[int], Regions | None],
    bar: Any,
    show: Callable[[Frame], None],
) -> None:
    """Draw one frame after the other; the last ones are kept as states."""
    coming = _resumed(frames, out, found, wanted, regions_of)
    for number, frame in enumerate(coming, out.done):
        drawn = frames.draw(unit(frame.rgb), regions_of(number))
        if not number:
            show(drawn)
        state = {"drawn": drawn, "since": np.asarray([frames.since])}
        out.write(frame._replace(rgb=np.rint(drawn * 255).astype(np.uint8)), state)
        bar.update()


def _in_passes(
    frames: Optimised,
    out: writing.Writer,
    found: Film,
    wanted: Film,
    regions_of: Callable[[int], Regions | None],
    bar: Any,
    show: Callable[[Frame], None],
    *,
    passes: int,
    loop: bool,
) -> None:
    """Draw the film several times, then write it."""
    folder, shown = out.folder / writing.PASSES, list[bool]()

    def told(rgb: Any) -> None:
        if not shown:
            shown.append(True)
            show(unit(rgb))
        bar.update()

    film = (frame.rgb for frame in _frames(found, wanted, 0))
    with out.telling():
        folder.mkdir(exist_ok=True)
        drawn = in_passes(frames, film, folder, passes, loop=loop, told=told, regions=regions_of)
    for number, frame in enumerate(_frames(found, wanted, out.done), out.done):
        out.write(frame._replace(rgb=drawn.get(number)))


def _frames(found: Film, wanted: Film, skip: int) -> Iterator[Any]:
    return reading.frames(found, wanted.height, wanted.width, skip=skip)


def _resumed(
    frames: Optimised,
    out: writing.Writer,
    found: Film,
    wanted: Film,
    regions_of: Callable[[int], Regions | None],
) -> Iterator[Any]:
    """The frames that are not drawn yet; `frames` gets what was drawn before a kill."""
    states = out.states
    since = int(states[-1]["since"][0]) if states else 0
    if out.done and len(states) < min(since or 1, frames.reach):
        raise InputError(
            f"The film cannot go on in {str(out.folder)!r}, as what its later frames are drawn "
            "from is gone: delete that folder to begin anew."
        )
    coming = ahead(_frames(found, wanted, out.done - len(states)), _AHEAD + len(states))
    past = [
        Past(unit(frame.rgb), state["drawn"], regions_of(number))
        for number, state, frame in zip(
            range(out.done - len(states), out.done),
            states,
            islice(coming, len(states)),
            strict=True,
        )
    ]
    frames.resume(past, since)
    return coming

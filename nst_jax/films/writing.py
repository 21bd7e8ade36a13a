"""Write films frame by frame; a film appears when it is complete, and a killed run goes on."""

import contextlib
import heapq
import itertools
import os
import shutil
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from nst_jax.errors import InputError
from nst_jax.files import locks
from nst_jax.files.atomic import atomic
from nst_jax.films import gif, pieces, tracks
from nst_jax.films.encoding import codec_of
from nst_jax.films.extra import av
from nst_jax.films.film import FOLDER, Film, Format, Frame, check, format_of
from nst_jax.films.folder import Pictures
from nst_jax.films.reading import container_of
from nst_jax.films.states import States

_WAITING = 4  # frames that wait for the encoder
_END = ".unfinished"
PASSES = "passes"


class Writer:
    """Takes the frames of a film, one after another, and encodes them in a thread.

    Attributes:
        done: number of frames that are there already, from a run that was killed.
        states: the states that were written with the last of them, the oldest first.
        folder: the folder of the unfinished film; in a folder `passes` there, drawings of it can
            be kept until it is complete.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        made: Any,
        states: States,
        *,
        alpha: bool,
        resumable: bool,
    ):
        self.folder = folder
        self.done, self.states = made.done, states.before(made.done)
        self._made, self._kept = made, states
        self._path, self._alpha, self._resumable = path, alpha, resumable
        self._pool, self._waiting = ThreadPoolExecutor(1), deque[Future[None]]()
        self._told = self._failed = False

    def write(self, frame: Frame, state: Mapping[str, np.ndarray] | None = None) -> None:
        """Write a frame; it may fail for an earlier one.

        Args:
            frame: the frame.
            state: arrays from which later frames are drawn; see `states`.

        Raises:
            InputError: a frame cannot be written.
        """
        if frame.alpha is not None and not self._alpha:
            frame = self._on_white(frame)
        self._waiting.append(self._pool.submit(self._put, frame, state or {}))
        if len(self._waiting) > _WAITING:
            self._settle()

    def telling(self) -> contextlib.AbstractContextManager[None]:
        """A context that tells in a sentence what goes wrong in writing to `folder`."""
        return _told(self._path, self._resumable)

    def finish(self) -> None:
        """Wait until all frames are written.

        Raises:
            InputError: a frame cannot be written.
        """
        while self._waiting:
            self._settle()

    def close(self) -> None:
        """End the thread, after the frames that wait."""
        self._pool.shutdown()

    def _put(self, frame: Frame, state: Mapping[str, np.ndarray]) -> None:
        if self._failed:  # a later frame must not take the place of an earlier one
            return
        try:
            number = self._made.done
            if state:
                self._kept.put(number, state)
            self._made.add(frame)
            self._kept.forget(number)
        except BaseException:
            self._failed = True
            raise

    def _settle(self) -> None:
        with _told(self._path, self._resumable):
            self._waiting.popleft().result()

    def _on_white(self, frame: Frame) -> Frame:
        assert frame.alpha is not None
        share = frame.alpha[..., None] / np.float32(255)
        if frame.alpha.min() < 255 and not self._told:
            self._told = True
            warnings.warn(
                f"The film {str(self._path)!r} cannot hold transparency, so frames are laid on "
                "white: choose .webm, .mov, .gif or a folder to keep it.",
                stacklevel=3,
            )
        rgb = np.rint(frame.rgb * share + 255 * (1 - share)).astype(np.uint8)
        return frame._replace(rgb=rgb, alpha=None)


@contextlib.contextmanager
def opened(
    path: str | os.PathLike,
    film: Film,
    *,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    states: int = 1,
) -> Iterator[Writer]:
    """Yield a `Writer`; on leaving, the film appears at `path`, with its source's sound.

    Until then the frames are kept in a folder beside it, `NAME.unfinished`, which stays if the
    block raises or the process is killed. Opened again with the same settings, the writer's `done`
    tells how many frames are there; write those that come after them.

    Sides of H.264 must be even: the last row or column is repeated.

    Args:
        path: `.mp4`, `.mov`, `.mkv`, `.webm`, `.gif`, or a name without suffix for a folder.
        film: what is written; sound and subtitles are copied from its source, if it is a file.
        settings: what the frames depend on, in plain values; None always begins anew.
        overwrite: replace an existing film, and frames of other settings.
        states: of how many frames, the last ones, the states are kept.

    Raises:
        InputError: the path is refused, another process writes there, it cannot hold the source's
            sound or subtitles, there are frames of other settings, no frame was written, or the
            disk is full.
    """
    path = check(path, overwrite=overwrite)
    form = format_of(path)
    film = replace(film, alpha=film.alpha and form.alpha)
    source = film.source if film.source is not None and film.source.is_file() else None
    if source is not None:
        with container_of(source) as container:
            tracks.check(container, path, form)
    busy = (
        f"The film {str(path)!r} is being drawn already: wait until that ends, or choose another."
    )
    with (
        locks.held(path, busy),
        _kept(path, form, film, source, settings, overwrite=overwrite, states=states) as writer,
    ):
        yield writer


@contextlib.contextmanager
def _kept(
    path: Path,
    form: Format,
    film: Film,
    source: Path | None,
    settings: Mapping[str, Any] | None,
    *,
    overwrite: bool,
    states: int,
) -> Iterator[Writer]:
    """Yield a `Writer` into the folder of an unfinished film; on leaving, finish the film."""
    folder = path.with_name(path.name + _END)
    resumable = settings is not None
    identity = {**settings, "film": _plain(film), "to": form.muxer} if resumable else None
    with _told(path, resumable):
        pieces.prepare(folder, identity, overwrite=overwrite)
    try:
        with _told(path, resumable):
            made: Any = (
                Pictures(folder)
                if form is FOLDER
                else pieces.Pieces(folder, film, codec_of(form, film.alpha))
            )
        kept = States(folder, states)
        writer = Writer(path, folder, made, kept, alpha=form.alpha, resumable=resumable)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()
        with _told(path, resumable):
            made.close()
            if not made.done:
                raise InputError(
                    f"The film {str(path)!r} would have no frames: the source has none."
                )
            kept.clear()
            shutil.rmtree(folder / PASSES, ignore_errors=True)
            if form is FOLDER:
                made.move(path)
                (path / pieces.SETTINGS).unlink(missing_ok=True)
            else:
                with atomic(path) as part:
                    if form.muxer == "gif":
                        gif.write(part, film, made.packets(), made.last())
                    else:
                        _join(part, film, form, made.packets(), source)
            shutil.rmtree(folder, ignore_errors=True)
    except BaseException as error:
        if not resumable:
            shutil.rmtree(folder, ignore_errors=True)
        elif isinstance(error, KeyboardInterrupt):
            warnings.warn(
                f"What is drawn stays in {str(folder)!r}: the same command goes on there.",
                stacklevel=5,
            )
        raise


def _plain(film: Film) -> dict[str, str]:
    names = ("height", "width", "rate", "unit", "pixel", "alpha", "primaries", "transfer")
    return {name: str(getattr(film, name)) for name in names}


def _join(
    path: Path,
    film: Film,
    form: Format,
    packets: Iterator[tuple[Any, Fraction, Fraction]],
    source: Path | None,
) -> None:
    """Copy the packets of a film's frames, and its source's sound, into one container."""
    options = {"fflags": "+bitexact"}  # the same film gives the same bytes
    if form.muxer in ("mp4", "mov"):
        options["movflags"] = "+faststart"
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(av.open(str(path), "w", format=form.muxer, options=options))
        first = next(packets)
        video = out.add_stream_from_template(first[0].stream, opaque=True)
        video.time_base = film.unit
        video.codec_context.framerate = film.rate.limit_denominator(100_000)
        if film.alpha and form.muxer == "webm":
            # The decoder that PyAV takes for the pieces sees no transparency.
            video.codec_context.pix_fmt = "yuva420p"
        if video.codec_context.name == "prores":
            video.codec_context.codec_tag = "ap4h"
        others: Iterator[Any] = iter(())
        if source is not None:
            container = stack.enter_context(container_of(source))
            known = ("title", "artist", "comment")
            out.metadata.update({k: v for k, v in container.metadata.items() if k in known})
            others = tracks.add(out, container, form, film.start)
        for packet in heapq.merge(_placed(first, packets, video, film.unit), others, key=_when):
            out.mux(packet)


def _placed(
    first: tuple[Any, Fraction, Fraction],
    packets: Iterator[tuple[Any, Fraction, Fraction]],
    stream: Any,
    unit: Fraction,
) -> Iterator[Any]:
    """The packets with their times, for `stream`."""
    for packet, time, duration in itertools.chain([first], packets):
        packet.pts = packet.dts = round(time / unit)
        packet.duration, packet.time_base = round(duration / unit), unit
        packet.stream = stream
        yield packet


def _when(packet: Any) -> Fraction:
    return (packet.dts or 0) * packet.time_base


@contextlib.contextmanager
def _told(path: Path, resumable: bool) -> Iterator[None]:
    """Tell in a sentence what goes wrong in writing."""
    try:
        yield
    except (av.FFmpegError, OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        advice = (
            "make room, and the same command goes on with the frames that are drawn"
            if resumable
            else "choose another place"
        )
        raise InputError(
            f"The film {str(path)!r} cannot be written ({reason}): {advice}."
        ) from error

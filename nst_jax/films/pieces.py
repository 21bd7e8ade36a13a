"""Frames of an unfinished film, kept beside it, so that a killed run goes on at the next frame."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nst_jax.errors import InputError
from nst_jax.films.encoding import Codec, Encoder
from nst_jax.films.extra import av
from nst_jax.films.film import Film, Frame

SETTINGS = "settings.json"
_SINGLE = ".safetensors"
_LENGTH = 48  # frames of a piece, fewer where they are large
_BYTES = 2**28  # of the single frames that may lie in the folder


def prepare(folder: Path, settings: Mapping[str, Any] | None, *, overwrite: bool) -> None:
    """Make the folder for the frames, or find one of the same settings to go on from.

    Args:
        folder: the folder.
        settings: what must be the same to go on, in plain values; None always begins anew.
        overwrite: begin anew where the settings differ.

    Raises:
        InputError: the folder is of other settings, and `overwrite` is false.
        OSError: the folder cannot be written.
    """
    wanted = json.dumps(settings, sort_keys=True)
    if folder.exists() and any(folder.iterdir()):
        there = folder / SETTINGS
        if not there.is_file():
            raise InputError(
                f"The folder {str(folder)!r} is not of this film, which needs the place: move it."
            )
        if settings is not None and there.read_text("utf-8") == wanted:
            return
        if settings is not None and not overwrite:
            raise InputError(
                f"The folder {str(folder)!r} has frames of this film with other settings: ask for "
                "the same again to go on, or give --force (in Python overwrite=True) to begin anew."
            )
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    (folder / SETTINGS).write_text(wanted, "utf-8")


class Pieces:
    """A film's frames: pieces of encoded frames, and after these single frames without loss.

    Args:
        folder: a folder that `prepare` made.
        film: the film that is made.
        codec: how frames are encoded.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, film: Film, codec: Codec):
        self._folder, self._film, self._codec = folder, film, codec
        self._encoder: Encoder | None = None
        self._length = max(1, min(_LENGTH, _BYTES // (4 * film.height * film.width)))
        self._whole = len(list(folder.glob("*.mkv")))
        self._times: list[tuple[str, str]] = []
        self.done = sum(len(self._read_times(number)) for number in range(self._whole))
        for path in folder.glob(f"*{_SINGLE}"):
            if int(path.stem) < self.done:
                path.unlink()  # of a piece that is whole
        while (frame := _load(self._single(self.done))) is not None:
            self._encode(frame)

    def add(self, frame: Frame) -> None:
        """Keep a frame."""
        # safetensors takes the bytes of any array for those of one in C's order.
        values = {"rgb": frame.rgb, "alpha": frame.alpha}
        tensors = {k: np.ascontiguousarray(v) for k, v in values.items() if v is not None}
        part = self._single(self.done).with_suffix(".part")
        save_file(tensors, part, {"time": str(frame.time), "duration": str(frame.duration)})
        os.replace(part, self._single(self.done))
        self._encode(frame)

    def close(self) -> None:
        """Make a piece of the single frames that are left."""
        if self._encoder is not None:
            self._close_piece()

    def packets(self) -> Iterator[tuple[Any, Fraction, Fraction]]:
        """Yield the packets of all pieces, each with its time and duration in seconds."""
        for number in range(self._whole):
            times = self._read_times(number)
            with av.open(str(self._piece(number))) as piece:
                for packet in piece.demux(video=0):
                    if packet.size:
                        yield packet, *times[packet.pts]

    def last(self) -> Fraction:
        """Seconds for which the last frame is shown."""
        return self._read_times(self._whole - 1)[-1][1]

    def _encode(self, frame: Frame) -> None:
        if self._encoder is None:
            self._encoder = Encoder(self._piece(self._whole, ".part"), self._film, self._codec)
        self._encoder.add(frame)
        self._times.append((str(frame.time), str(frame.duration)))
        self.done += 1
        if len(self._times) == self._length:
            self._close_piece()

    def _close_piece(self) -> None:
        assert self._encoder is not None
        self._encoder.close()
        self._piece(self._whole, ".json").write_text(json.dumps(self._times), "utf-8")
        os.replace(self._piece(self._whole, ".part"), self._piece(self._whole))
        for number in range(self.done - len(self._times), self.done):
            self._single(number).unlink()
        self._encoder, self._times = None, []
        self._whole += 1

    def _read_times(self, number: int) -> list[tuple[Fraction, Fraction]]:
        text = self._piece(number, ".json").read_text("utf-8")
        return [(Fraction(time), Fraction(length)) for time, length in json.loads(text)]

    def _piece(self, number: int, suffix: str = ".mkv") -> Path:
        return self._folder / f"piece{number:06}{suffix}"

    def _single(self, number: int) -> Path:
        return self._folder / f"{number:08}{_SINGLE}"


def _load(path: Path) -> Frame | None:
    """A single frame, or None where there is none, or not all of it."""
    try:
        with safe_open(path, framework="np") as file:
            names, times = file.keys(), file.metadata()
            alpha = file.get_tensor("alpha") if "alpha" in names else None
            time, duration = Fraction(times["time"]), Fraction(times["duration"])
            return Frame(file.get_tensor("rgb"), time, duration, alpha)
    except (OSError, SafetensorError):
        return None

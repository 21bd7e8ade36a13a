"""Films: decode and encode frames with ffmpeg; write animations of a run as GIF, WebP or MP4."""

import contextlib
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from nst_jax.errors import InputError
from nst_jax.files.atomic import atomic, check_place
from nst_jax.files.atomic import write as write_file
from nst_jax.pictures import resizing

# File formats of a run's animation, and of films drawn by a model.
SUFFIXES = (".gif", ".webp", ".mp4")
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_TOGETHER = 2**20  # pixels in the frames that are decoded at once
_LONG_SIDE = 640
_PER_SECOND = 10
_LAST_SECONDS = 2


def check(path: str | os.PathLike) -> Path:
    """Check that an animation can be written at `path`, and return the path.

    Raises:
        InputError: the suffix is unknown, MP4 is asked for without ffmpeg, or the place cannot be
            written to.
    """
    path = check_place(path, overwrite=True)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"The animation {str(path)!r} must end in one of {', '.join(SUFFIXES)}: the suffix "
            "chooses the format."
        )
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise InputError(
            f"The animation {str(path)!r} needs ffmpeg, which is not installed: install it, or "
            "choose .webp or .gif."
        )
    return path


def frame(rgb: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Convert a picture in [0, 1] to a frame whose long side is at most 640 pixels."""
    height, width, _ = rgb.shape
    if max(height, width) > _LONG_SIDE:
        rgb = resizing.resize(rgb, resizing.fit(height, width, _LONG_SIDE))
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def save(path: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> None:
    """Write frames of one size as an animation: ten frames a second, the last for two seconds.

    Raises:
        InputError: the file cannot be written.
    """
    if path.suffix.lower() == ".mp4":
        _save_mp4(path, [*frames, *[frames[-1]] * (_PER_SECOND * _LAST_SECONDS - 1)])
        return
    first, *rest = (Image.fromarray(array) for array in frames)
    milliseconds = [1000 // _PER_SECOND] * len(rest) + [1000 * _LAST_SECONDS]
    file = io.BytesIO()
    options = {"quality": 85} if path.suffix.lower() == ".webp" else {}
    first.save(
        file,
        path.suffix[1:].upper(),
        save_all=True,
        append_images=rest,
        duration=milliseconds,
        loop=0,
        **options,
    )
    write_file(path, file.getvalue())


def _save_mp4(path: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> None:
    height, width, _ = frames[0].shape
    with encoded(path, Film(height, width, f"{_PER_SECOND}:1")) as write:
        write(np.stack(frames))


class Film(NamedTuple):
    """Height and width in pixels after rotation, and frames per second as a fraction, `25:1`."""

    height: int
    width: int
    rate: str


def probe(source: str | os.PathLike) -> Film:
    """Size and frame rate of a film, as ffmpeg decodes it.

    Raises:
        InputError: ffmpeg cannot read the file.
    """
    command = ["ffmpeg", "-v", "error", "-i", os.fspath(source), "-frames:v", "1"]
    command += ["-pix_fmt", "yuv444p", "-f", "yuv4mpegpipe", "-"]
    done = subprocess.run(command, capture_output=True)
    header, *_ = done.stdout.partition(b"\n")
    fields = {word[:1]: word[1:] for word in header.decode(errors="replace").split()[1:]}
    try:
        return Film(int(fields["H"]), int(fields["W"]), fields["F"])
    except (KeyError, ValueError):
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise InputError(
            f"The film {str(source)!r} cannot be read by ffmpeg ({reason or 'it has no frames'})."
        ) from None


def decoded(source: str | os.PathLike, film: Film) -> Iterator[Float[np.ndarray, "b h w 3"]]:
    """Yield a film's frames, resized to the size in `film`: RGB in [0, 1].

    Small frames come several at a time.
    """
    height, width, _ = film
    command = ["ffmpeg", "-v", "error", "-i", os.fspath(source)]
    command += ["-vf", f"scale={width}:{height}", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    count, frame = max(1, _TOGETHER // (height * width)), height * width * 3
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as decoder:
        assert decoder.stdout
        try:
            while data := decoder.stdout.read(count * frame):
                whole = len(data) // frame
                pixels = np.frombuffer(data[: whole * frame], np.uint8)
                yield pixels.reshape(whole, height, width, 3) / np.float32(255)
        finally:
            decoder.kill()


@contextlib.contextmanager
def encoded(
    path: Path, film: Film, sound: str | os.PathLike | None = None
) -> Iterator[Callable[[UInt8[np.ndarray, "b h w 3"]], None]]:
    """Yield a function that encodes frames; the film appears at `path` when it is complete.

    Args:
        path: `.mp4`, `.mov` or `.mkv`.
        film: size and frame rate.
        sound: a film whose sound is copied; None for no sound.

    Raises:
        InputError: ffmpeg cannot write the film.
    """
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{film.width}x{film.height}", "-r", film.rate.replace(":", "/"), "-i", "-"]
    if sound is not None:
        command += ["-i", os.fspath(sound), "-map", "0:v", "-map", "1:a?", "-c:a", "copy"]
    # Most players need even sides, and chroma at half the resolution.
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    command += ["-f", CONTAINERS[path.suffix.lower()]]
    try:
        with (
            atomic(path) as part,
            subprocess.Popen(
                [*command, str(part)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
            ) as encoder,
        ):
            pipe, errors = encoder.stdin, encoder.stderr
            assert pipe is not None
            assert errors is not None

            def write(frames: UInt8[np.ndarray, "b h w 3"]) -> None:
                pipe.write(frames.tobytes())

            try:
                yield write
                pipe.close()
            except BrokenPipeError:
                pass  # ffmpeg stopped: its own message is raised below
            except BaseException as error:
                encoder.kill()
                raise _WithinError from error
            reason = " ".join(errors.read().decode(errors="replace").split())
            if encoder.wait():
                raise InputError(f"ffmpeg could not write {str(path)!r} ({reason}).")
    except _WithinError as within:
        # The caller's own error, which says nothing of the film.
        raise cast(BaseException, within.__cause__) from None
    except OSError as error:
        raise InputError(f"The film {str(path)!r} cannot be written ({error}).") from error


class _WithinError(Exception):
    """An error between two frames, wrapped, so that it is not taken for one of the film's."""

"""Films through a model, frame by frame, by ffmpeg: decoded, drawn and encoded as a stream."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from nst_jax import images, writing
from nst_jax.errors import InputError

SUFFIXES = (".mp4", ".mov", ".mkv")
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_TOGETHER = 2**20  # pixels of the frames that are drawn at once


class Film(NamedTuple):
    """Size in pixels, upright, and frames per second as a fraction, `25:1`."""

    height: int
    width: int
    rate: str


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
    target = writing.check_place(target, overwrite=overwrite)
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"The film {str(target)!r} must end in one of {', '.join(SUFFIXES)}.")
    if not Path(source).is_file():
        raise InputError(f"There is no film {str(source)!r}: check the path.")
    if shutil.which("ffmpeg") is None:
        raise InputError("Films need ffmpeg, which is not installed: install it.")
    film = probe(source)
    height, width = film[:2] if size is None else images.fit(*film[:2], size)
    film = Film(height, width, film.rate)
    paint = model.painter(style, height, width, **options)
    part = target.parent / f".nst-jax-{secrets.token_hex(8)}.part"
    try:
        command = _encode(source, film, part, _FORMATS[target.suffix.lower()])
        with (
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder,
            tqdm(disable=not progress, unit="frame", desc="apply") as bar,
        ):
            assert encoder.stdin
            try:
                for batch in _batches(source, film):
                    drawn = paint(batch)
                    encoder.stdin.write(np.rint(drawn * 255).astype(np.uint8).tobytes())
                    bar.update(len(batch))
                encoder.stdin.close()
            except BrokenPipeError:
                pass  # told below, in its own words
            except BaseException:
                encoder.kill()
                raise
            errors = _text(encoder.stderr)
        if encoder.returncode:
            raise InputError(f"ffmpeg could not write {str(target)!r} ({errors}).")
        os.replace(part, target)
    except OSError as error:
        raise InputError(f"The film {str(target)!r} cannot be written ({error}).") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def probe(source: str | os.PathLike) -> Film:
    """Size and rate of a film, as its decoded frames come.

    Raises:
        InputError: a file that ffmpeg cannot read.
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


def _batches(source: str | os.PathLike, film: Film) -> Iterator[Float[np.ndarray, "b h w 3"]]:
    """The frames, RGB in [0, 1], several at once where they are small."""
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


def _encode(source: str | os.PathLike, film: Film, part: Path, kind: str) -> list[str]:
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{film.width}x{film.height}", "-r", film.rate.replace(":", "/"), "-i", "-"]
    command += ["-i", os.fspath(source), "-map", "0:v", "-map", "1:a?", "-c:a", "copy"]
    # Most players take even sides alone, and colours at half the resolution.
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    return [*command, "-f", kind, str(part)]


def _text(stream: IO[bytes] | None) -> str:
    return "" if stream is None else " ".join(stream.read().decode(errors="replace").split())

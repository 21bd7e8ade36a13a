"""Films of a run: GIF and WebP by Pillow, MP4 by ffmpeg where it is installed."""

import io
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from nst_jax import resample, writing
from nst_jax.errors import InputError

SUFFIXES = (".gif", ".webp", ".mp4")
_LONG_SIDE = 640
_PER_SECOND = 10
_LAST_SECONDS = 2


def check(path: str | os.PathLike) -> Path:
    """The path of a film that could be written now.

    Raises:
        InputError: another suffix, MP4 without ffmpeg, a place that cannot be written.
    """
    path = writing.check_place(path, overwrite=True)
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
    """A picture in [0, 1] as a frame, its long side 640 pixels at most."""
    height, width, _ = rgb.shape
    if max(height, width) > _LONG_SIDE:
        rgb = resample.resize(rgb, resample.fit(height, width, _LONG_SIDE))
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def save(path: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> None:
    """Write frames of one size, ten a second, the last for two seconds.

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
    writing.write(path, file.getvalue())


def _save_mp4(path: Path, frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> None:
    height, width, _ = frames[0].shape
    part = path.parent / f".nst-jax-{secrets.token_hex(8)}.part"
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", str(_PER_SECOND), "-i", "-"]
    # Most players take even sides alone, and colours at half the resolution.
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    command += ["-f", "mp4", str(part)]
    try:
        done = subprocess.run(
            command, input=b"".join(array.tobytes() for array in frames), capture_output=True
        )
        if done.returncode:
            reason = " ".join(done.stderr.decode(errors="replace").split())
            raise InputError(f"ffmpeg could not write {str(path)!r} ({reason}): choose .webp.")
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"The animation {str(path)!r} cannot be written ({error}).") from error
    finally:
        part.unlink(missing_ok=True)

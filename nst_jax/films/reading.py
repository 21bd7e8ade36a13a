"""Read films frame by frame: video files and GIFs, and through `folder` pictures in a folder."""

import os
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nst_jax.errors import InputError
from nst_jax.films import color, folder
from nst_jax.films.extra import av
from nst_jax.films.film import BT709, RATE, Film, Frame

# Containers whose headers tell how long the film is.
_TELLING = {"matroska", "mov", "avi", "flv", "asf"}
_MISSING = Fraction(1, 2)  # seconds that a film may be shorter than its header says
FULL, LIMITED = 2, 1  # ranges, in FFmpeg's numbers
_FULL_RANGE = ("yuvj", "gray", "ya", "pal", "mono")  # formats of pixels, beside RGB
# swscale's matrices by FFmpeg's numbers, where they differ.
SCALER = {color.SD: 5}
SCALING = (
    av.video.reformatter.Interpolation.BICUBIC
    | av.video.reformatter.Interpolation.ACCURATE_RND
    | av.video.reformatter.Interpolation.FULL_CHR_H_INT
    | av.video.reformatter.Interpolation.FULL_CHR_H_INP
)
_ORIENTATION = "DISPLAYMATRIX"


def probe(source: str | os.PathLike, *, rate: float | None = None) -> Film:
    """Size, time base and colours of a film, from its header and its first frame.

    Args:
        source: a film, or a folder of pictures, taken in the order of their names and numbers.
        rate: frames per second of a folder; None for 25.

    Raises:
        InputError: there is no such film, it cannot be read, or it has no frames.
    """
    source = Path(source)
    if os.path.isdir(source):
        return folder.probe(source, rate)
    if not os.path.isfile(source):
        raise InputError(f"The film {str(source)!r} does not exist: check the path.")
    if rate is not None:
        raise InputError(
            f"The film {str(source)!r} has its own frame rate: a rate is for folders of pictures."
        )
    with container_of(source) as container:
        stream = _stream(container, source)
        frame = next(_Decoder(container, stream).frames(), None)
        if frame is None:
            raise InputError(f"The film {str(source)!r} has no frames that can be read.")
        unit = stream.time_base or Fraction(1, RATE)
        speed = stream.average_rate or stream.guessed_rate or Fraction(RATE)
        start = Fraction(max(container.start_time or 0, 0), av.time_base)
        length = Fraction(container.duration or 0, av.time_base)
        shape = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        pixel = Fraction(shape) if shape else Fraction(1)
        turned, _, _ = _turn(frame)
        height, width = frame.height, frame.width
        if turned:
            height, width, pixel = width, height, 1 / pixel
        kind = {color.PQ: "HDR (PQ)", color.HLG: "HDR (HLG)"}.get(frame.color_trc)
        wide = frame.color_primaries == color.BT2020 or frame.colorspace == color.BT2020
        if kind or wide:
            warnings.warn(
                f"The film {str(source)!r} is {kind or 'in the wide colours of BT.2020'}: it is "
                "mapped to BT.709, the range of ordinary screens.",
                stacklevel=2,
            )
        return Film(
            height,
            width,
            speed,
            unit,
            source,
            start,
            pixel=pixel,
            alpha=_has_alpha(frame),
            hdr=bool(kind or wide),
            primaries=BT709 if kind or wide else _known(frame.color_primaries),
            transfer=BT709 if kind or wide else _known(frame.color_trc),
            count=stream.frames or round(length * speed) or None,
        )


def frames(film: Film, height: int, width: int, *, skip: int = 0) -> Iterator[Frame]:
    """Yield the frames of a film that `probe` found, resized to `height` x `width` pixels.

    Warns if the film is cut short or damaged; what can be read is yielded.

    Args:
        film: the film.
        height: height of the frames.
        width: width of the frames.
        skip: number of frames at the start to leave out.

    Raises:
        InputError: a picture of a folder cannot be read or has another size.
    """
    assert film.source is not None
    if film.source.is_dir():
        yield from folder.frames(film, height, width, skip)
        return
    with container_of(film.source) as container:
        stream = _stream(container, film.source)
        decoder = _Decoder(container, stream)
        shift, last = round(film.start / film.unit), None
        step = max(1, round(1 / (film.rate * film.unit)))
        for number, frame in enumerate(decoder.frames()):
            time = frame.pts - shift if frame.pts is not None else None
            if last is not None and (time is None or time <= last):  # a damaged time stamp
                time = last + (step if time is None else 1)
            last = time or 0
            if number >= skip:
                rgb, alpha = _picture(frame, film, height, width)
                length = frame.duration or step
                yield Frame(rgb, last * film.unit, length * film.unit, alpha)
        decoder.warn(film.source)


def container_of(source: Path) -> Any:
    """Open a file with PyAV.

    Raises:
        InputError: it is not of a format that FFmpeg reads.
    """
    try:
        # Absolute, because FFmpeg takes names such as `http:...` for addresses.
        return av.open(os.path.abspath(source), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"The film {str(source)!r} cannot be read ({reason}): give a video file, a GIF, or a "
            "folder of pictures."
        ) from None


class _Decoder:
    """Decodes the video of a container, and notices where it is damaged or cut short."""

    def __init__(self, container: Any, stream: Any):
        self._container, self._stream = container, stream
        self._codec = stream.codec_context
        self._codec.thread_type = "AUTO"
        if stream.metadata.get("alpha_mode") == "1":  # FFmpeg's own decoders leave alpha out
            name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(self._codec.name, self._codec.name)
            self._codec = av.CodecContext.create(name, "r")
        self._damaged, self._end = 0, Fraction(0)

    def frames(self) -> Iterator[Any]:
        for packet in self._packets():
            try:
                for frame in self._codec.decode(packet):
                    self._damaged += frame.is_corrupt
                    yield frame
            except av.FFmpegError:
                self._damaged += 1

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self._end = max(self._end, Fraction(end))
                if packet.stream_index == self._stream.index and packet.size:
                    yield packet
        except av.FFmpegError:
            self._damaged += 1
        yield None  # makes the decoder give what it holds

    def warn(self, source: Path) -> None:
        """Warn of a film that is cut short or damaged; call it after the last frame."""
        length = Fraction(self._container.duration or 0, av.time_base)
        found = self._end - Fraction(self._container.start_time or 0, av.time_base)
        told = _TELLING & set(self._container.format.name.split(","))
        if told and length - found > max(_MISSING, length / 50):
            warnings.warn(
                f"The film {str(source)!r} is cut short: {float(found):.1f} of "
                f"{float(length):.1f} seconds can be read, and these are drawn.",
                stacklevel=3,
            )
        elif self._damaged:
            warnings.warn(
                f"The film {str(source)!r} is damaged: some frames are missing or wrong.",
                stacklevel=3,
            )


def _stream(container: Any, source: Path) -> Any:
    """The video that players show; covers of albums are none."""
    found = [
        s
        for s in container.streams.video
        if s.codec_context and not s.disposition & av.stream.Disposition.attached_pic
    ]
    if not found:
        raise InputError(f"The file {str(source)!r} holds no film, only other things.")
    best = container.streams.best("video")
    return best if best in found else found[0]


def _turn(frame: Any) -> tuple[bool, bool, bool]:
    """Whether to swap a frame's axes, and then to flip its rows and columns, to stand upright."""
    data = frame.side_data.get(_ORIENTATION)
    if data is None:
        return False, False, False
    a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(data), np.int32)[:5])
    if abs(b) > abs(a):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def _picture(frame: Any, film: Film, height: int, width: int) -> tuple[Any, Any]:
    """A decoded frame as upright RGB and opacity, or None for it."""
    turned, rows, columns = _turn(frame)
    kind = "rgb48le" if film.hdr else "rgba" if film.alpha else "rgb24"
    given = {} if frame.color_range else {"src_color_range": LIMITED}
    if frame.colorspace in (color.UNKNOWN, color.RGB) and not frame.format.is_rgb:
        number = color.matrix_of(frame.height, frame.width)
        given["src_colorspace"] = SCALER.get(number, number)
    if frame.format.is_rgb or frame.format.name.startswith(_FULL_RANGE):
        given["src_color_range"] = FULL
    scaled = frame.reformat(
        *((height, width) if turned else (width, height)),
        kind,
        dst_color_range=FULL,
        interpolation=SCALING,
        **given,
    )
    found = scaled.to_ndarray()
    if turned:
        found = found.swapaxes(0, 1)
    found = np.ascontiguousarray(found[:: -1 if rows else 1, :: -1 if columns else 1])
    if film.hdr:
        return color.to_sdr(found, frame.color_trc), None
    return found[..., :3], found[..., 3] if film.alpha else None


def _has_alpha(frame: Any) -> bool:
    """Whether frames have transparency; other formats than YUV often have a full channel."""
    name = frame.format.name
    if name.startswith("yuva"):
        return True
    if not any(part.is_alpha for part in frame.format.components) and name != "pal8":
        return False
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


def _known(number: int) -> int:
    """A number of H.273 for colours, or BT.709's where it says nothing."""
    return number if number not in (0, color.UNKNOWN, 3) else BT709

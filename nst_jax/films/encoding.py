"""Encode frames into pieces of a film, which can be joined without encoding them again."""

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_jax.films import color
from nst_jax.films.extra import av
from nst_jax.films.film import Film, Format, Frame
from nst_jax.films.reading import FULL, LIMITED, SCALER, SCALING

_TICK = Fraction(1, 1000)  # time stamps of a piece are the numbers of its frames


class Codec(NamedTuple):
    """FFmpeg's encoder, format of pixels and options; whether sides must be even."""

    name: str
    pixels: str
    options: dict[str, str]
    even: bool = False


# Without B-frames packets come in the order of their times, so that pieces join simply.
_H264 = Codec("libx264", "yuv420p", {"crf": "20", "bf": "0"}, even=True)
_VP9 = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
_CODECS = {
    "webm": Codec("libvpx-vp9", "yuv420p", _VP9),
    "gif": Codec("ffv1", "bgr0", {}),
}
_ALPHA = {
    "webm": Codec("libvpx-vp9", "yuva420p", _VP9 | {"auto-alt-ref": "0"}),
    "gif": Codec("ffv1", "bgra", {}),
    "mov": Codec("prores_ks", "yuva444p10le", {"profile": "4444"}),
}


def codec_of(form: Format, alpha: bool) -> Codec:
    """The codec of a format, for frames with or without transparency."""
    found = _CODECS.get(form.muxer, _H264)
    return _ALPHA.get(form.muxer, found) if alpha else found


class Encoder:
    """Encodes frames to a Matroska file, in which time stamps are the numbers of the frames.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, film: Film, codec: Codec):
        self._film, self._codec, self._count = film, codec, 0
        sides = (film.height, film.width)
        height, width = (side + side % 2 if codec.even else side for side in sides)
        self._matrix = color.matrix_of(height, width)
        self._out = av.open(str(path), "w", format="matroska")
        self._stream = self._out.add_stream(
            codec.name, rate=film.rate.limit_denominator(100_000), options=codec.options
        )
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = codec.pixels
        context = self._stream.codec_context
        context.time_base, context.sample_aspect_ratio = film.unit, film.pixel
        self._tag(context)

    def add(self, frame: Frame) -> None:
        """Encode a frame."""
        pixels, kind = frame.rgb, "rgb24"
        if frame.alpha is not None:
            pixels, kind = np.dstack([pixels, frame.alpha]), "rgba"
        height, width, _ = pixels.shape
        rims = ((0, self._stream.height - height), (0, self._stream.width - width), (0, 0))
        pixels = np.ascontiguousarray(np.pad(pixels, rims, mode="edge"))
        picture = av.VideoFrame.from_ndarray(pixels, format=kind)
        if not self._codec.pixels.startswith("bgr"):
            picture = picture.reformat(
                format=self._codec.pixels,
                src_color_range=FULL,
                dst_color_range=LIMITED,
                dst_colorspace=SCALER.get(self._matrix, self._matrix),
                interpolation=SCALING,
            )
            self._tag(picture)
        else:
            picture = picture.reformat(format=self._codec.pixels)
        picture.pts, picture.time_base = round(frame.time / self._film.unit), self._film.unit
        self._mux(picture)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._mux(None)
        self._out.close()

    def _mux(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            packet.pts = packet.dts = self._count
            packet.duration, packet.time_base = 1, _TICK
            self._count += 1
            self._out.mux(packet)

    def _tag(self, to: Any) -> None:
        """Say which colours a stream or a frame has."""
        if self._codec.pixels.startswith("bgr"):
            return
        to.colorspace, to.color_range = self._matrix, LIMITED
        to.color_primaries, to.color_trc = self._film.primaries, self._film.transfer

"""Sound and subtitles of a film, copied into another, or encoded where it cannot hold them."""

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from nst_jax.errors import InputError
from nst_jax.films.extra import av
from nst_jax.films.film import FORMATS, Format

_KINDS = {"audio": "sound", "subtitle": "subtitles"}
_TEXT = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}  # the others are pictures
_AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
_LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}
_BITS = 96_000  # per second and channel


def check(container: Any, path: Path, form: Format) -> None:
    """Check that a film at `path` can hold the sound and the subtitles of a source.

    Raises:
        InputError: it cannot; the suffixes that can are named.
    """
    for stream in _streams(container, form):
        if _fits(stream, form):
            continue
        able = [name for name, other in FORMATS.items() if other.sound and _fits(stream, other)]
        name = getattr(stream.codec_context, "name", "unknown")
        what = _KINDS[stream.type]
        raise InputError(
            f"The film {str(path)!r} cannot hold the {what} of the source ({name}): "
            + (f"choose a name that ends in {' or '.join(able)}." if able else f"take {what} out.")
        )


def add(out: Any, container: Any, form: Format, start: Fraction) -> Iterator[Any]:
    """Add streams for sound and subtitles to `out`, and return an iterator over their packets.

    Args:
        out: the container to write to, before its first packet.
        container: the container to read from.
        form: the format of `out`.
        start: seconds to take off all time stamps.
    """
    pairs = {
        stream.index: (stream, *_added(out, stream, form)) for stream in _streams(container, form)
    }
    return _packets(out, container, pairs, start)


def _streams(container: Any, form: Format) -> Sequence[Any]:
    return [s for s in container.streams if s.type in _KINDS] if form.sound else []


def _fits(stream: Any, form: Format) -> bool:
    try:
        with av.open(io.BytesIO(), "w", format=form.muxer) as out:
            _added(out, stream, form)
            if stream.type == "audio":
                out.start_encoding()
    except (av.FFmpegError, ValueError, TypeError, AttributeError):
        return False
    return True


def _added(out: Any, stream: Any, form: Format) -> tuple[Any, bool]:
    """Add a stream for `stream`; the second value tells whether it has to be encoded.

    Raises:
        ValueError: the format cannot hold it.
    """
    if stream.codec_context is None:
        raise ValueError("unknown codec")
    try:
        added = out.add_stream_from_template(stream)
        encoded = False
    except ValueError:
        added, encoded = _encoder(out, stream, form), True
    told = {k: v for k, v in stream.metadata.items() if k in ("language", "title")}
    added.metadata.update(told)
    added.disposition = stream.disposition  # such as forced subtitles
    return added, encoded


def _encoder(out: Any, stream: Any, form: Format) -> Any:
    given = stream.codec_context
    if stream.type == "subtitle":
        if given.name not in _TEXT:
            raise ValueError("subtitles are pictures")
        given.open(strict=False)
        added = out.add_stream(form.subtitles)
        added.codec_context.subtitle_header = given.subtitle_header
        added.time_base = stream.time_base
        return added
    rate = given.sample_rate if form.sound == "aac" and given.sample_rate in _AAC_RATES else 48_000
    added = out.add_stream(form.sound, rate=rate)
    channels = given.layout.nb_channels
    unnamed = "channels" in given.layout.name  # some formats only count them
    added.layout = _LAYOUTS.get(channels, "stereo") if unnamed else given.layout
    added.bit_rate = _BITS * channels
    return added


def _packets(
    out: Any, container: Any, pairs: dict[int, tuple[Any, Any, bool]], start: Fraction
) -> Iterator[Any]:
    """Packets of the streams in `pairs`, in the order of the source, ready for muxing."""
    if not pairs:
        return
    try:
        for packet in container.demux([stream for stream, _, _ in pairs.values()]):
            stream, added, encoded = pairs[
                packet.stream.index
            ]  # `stream_index` is 0 in the last ones
            if not encoded:
                if packet.size and packet.dts is not None:
                    yield _moved(packet, added, start)
            elif stream.type == "subtitle":
                found = stream.codec_context.decode2(packet) if packet.size else None
                if found is not None:
                    text = added.codec_context.encode_subtitle(found)
                    text.pts, text.dts, text.duration = packet.pts, packet.pts, packet.duration
                    text.time_base = packet.time_base
                    yield _moved(text, added, start)
            else:
                yield from _sound(packet, added, start)
    except av.InvalidDataError:
        pass  # the source is cut short, which its reader tells
    for _, added, encoded in pairs.values():
        if encoded and added.type == "audio":
            yield from added.encode(None)


def _moved(packet: Any, stream: Any, start: Fraction) -> Any:
    shift = round(start / packet.time_base)
    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
    packet.stream = stream
    return packet


def _sound(packet: Any, stream: Any, start: Fraction) -> Iterator[Any]:
    try:
        frames = packet.decode()
    except av.InvalidDataError:
        return
    for frame in frames:
        if frame.pts is not None:
            frame.pts -= round(start / frame.time_base)
        yield from stream.encode(frame)

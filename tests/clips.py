"""Small films for tests, written with PyAV and read back without the package."""

from fractions import Fraction

import av
import numpy as np

TICK = Fraction(1, 12800)


def frames(count=6, height=48, width=64):
    """Smooth pictures that move, and are not symmetric."""
    y, x = np.mgrid[:height, :width]
    made = []
    for n in range(count):
        red = 40 + 150 * x / width
        green = 40 + 150 * y / height
        blue = 128 + 60 * np.sin((x + 3 * n) / 9)
        made.append(np.stack([red, green, blue], -1).round().astype(np.uint8))
    return made


def write(
    path,
    pictures,
    times=None,
    *,
    codec="libx264",
    pixels="yuv420p",
    options=None,
    sound=None,
    subtitles=(),
    turn=None,
    shape=None,
    tags=(1, 1, 1, 1),
    raw=False,
    tick=TICK,
    rate=25,
):
    """A film of RGB(A) pictures; with `raw`, of planes as `VideoFrame.from_ndarray` takes them."""
    times = [n * int(1 / tick) // rate for n in range(len(pictures))] if times is None else times
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        height, width = pictures[0].shape[:2]
        stream.width, stream.height = width, height * 2 // 3 if raw else height
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.time_base = tick
        matrix, context.color_primaries, context.color_trc, context.color_range = tags
        context.colorspace = matrix
        if shape:
            context.sample_aspect_ratio = shape
        if turn is not None:
            stream.set_display_rotation(*turn)
        extra = [_sound(out, sound)] if sound else []
        extra += [_subtitles(out, file) for file in subtitles]
        for packets in extra:
            next(packets)  # which adds the stream
        for time, picture in zip(times, pictures, strict=True):
            kind = pixels if raw else "rgba" if picture.shape[-1] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture, format=kind)
            if not raw:
                space = {6: 5, 2: 5}.get(matrix, matrix)
                frame = frame.reformat(format=pixels, dst_colorspace=space, dst_color_range=1)
            frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = tags
            frame.pts, frame.time_base = time, tick
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for packets in extra:
            out.mux(list(packets))


def _sound(out, codec):
    stream = out.add_stream(codec, rate=48000)
    stream.layout, stream.bit_rate = "mono", 64_000
    yield
    tone = np.sin(np.arange(24000) * 2 * np.pi * 440 / 48000)
    for n, part in enumerate(np.split(tone, 10)):
        values = (part[None] * 20000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 2400 * n, Fraction(1, 48000)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _subtitles(out, source):
    """The subtitles of a file, copied."""
    with av.open(str(source)) as file:
        stream = out.add_stream_from_template(file.streams.subtitles[0])
        yield
        for packet in file.demux(subtitles=0):
            if packet.size:
                packet.stream = stream
                yield packet


def read(path):
    """The frames of a film as PyAV decodes them."""
    with av.open(str(path)) as film:
        return list(film.decode(video=0))


def rgb(frame, matrix=1):
    """RGB in grey levels from the planes of a limited-range 4:2:0 frame, by the formula."""
    red, blue = {1: (0.2126, 0.0722), 6: (0.299, 0.114)}[matrix]
    planes = frame.to_ndarray().astype(float)
    height, width = frame.height, frame.width
    parts = planes[height:].reshape(2, height // 2, width // 2).repeat(2, 1).repeat(2, 2)
    y, (u, v) = (planes[:height] - 16) / 219, (parts - 128) / 224
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return 255 * np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], -1)

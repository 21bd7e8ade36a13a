"""GIFs: each frame with a palette of its own."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from nst_jax.films.extra import av
from nst_jax.films.film import Film

_TICK = Fraction(1, 100)
_SHORTEST = 2  # ticks from a frame to the next; browsers show shorter ones for longer


def write(
    path: Path, film: Film, packets: Iterator[tuple[Any, Fraction, Fraction]], last: Fraction
) -> None:
    """Write a GIF that repeats for ever, from packets of frames without loss.

    Args:
        path: where to write.
        film: the film.
        packets: packets with the times and durations of their frames in seconds; frames that come
            sooner than 2 hundredths of a second after another are left out.
        last: seconds for which the last frame is shown.

    Raises:
        OSError: the file cannot be written.
    """
    kind = "bgra" if film.alpha else "bgr0"
    graph = av.filter.Graph()
    source = graph.add_buffer(width=film.width, height=film.height, format=kind, time_base=_TICK)
    split = graph.add("split")
    palette = graph.add("palettegen", "stats_mode=single")
    use = graph.add("paletteuse", "new=1")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    options = {"final_delay": str(round(last / _TICK))}
    with av.open(str(path), "w", format="gif", options=options) as out:
        stream = out.add_stream("gif", rate=film.rate.limit_denominator(100_000))
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, "pal8"
        stream.codec_context.time_base = _TICK
        shown = -_SHORTEST
        for packet, seconds, _ in packets:
            time = round(seconds / _TICK)
            for frame in packet.decode() if time >= shown + _SHORTEST else ():
                frame.pts, frame.time_base, shown = time, _TICK, time
                source.push(frame)
                out.mux(stream.encode(sink.pull()))
        out.mux(stream.encode(None))

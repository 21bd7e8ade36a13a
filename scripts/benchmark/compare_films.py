"""How far films flicker: coherent beside each frame on its own, and deflicker.

    python scripts/benchmark/compare_films.py MODEL STYLE... --films FILM... [--size 480]
    python scripts/benchmark/compare_films.py optimise STYLE... --films FILM... --size 240
    python scripts/benchmark/compare_films.py MODEL STYLE... --speed
    python scripts/benchmark/compare_films.py --films FILM --drawn FOLDER

Three films are made here of scikit-image's pictures, in motion with the noise of a camera: a pan, a
turn with a zoom, and a disc that moves before a slow background. For the first frames of each film
and for each style: the warping error of the film itself (the floor), of each frame drawn on its
own, and of the coherent film, which is also told in shares of both; the losses of the coherent film
over those of each frame; its drift of the mean colour; and its seconds a frame, with the first one
and compiling. `optimise` draws without a model. `--drawn` is a folder of frames that any tool drew
of the film, which `deflicker` takes. `--speed` tells where the time goes at 640x360 pixels.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import data

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nst_jax as nst
from nst_jax.films import reading
from nst_jax.videos.coherent import composed
from nst_jax.videos.drawing import draw_video
from nst_jax.videos.passages import passage

HEIGHT, WIDTH, NOISE = 270, 480, 0.02
KINDS = ("pan", "turn", "disc")
EVERY = 3  # frames from one whose losses are computed to the next
HEAD = """
| film | style | floor | each | coherent | /each | /floor | style | content | drift | seconds |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"""


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description="How far films flicker.")
    parser.add_argument("model", nargs="?", help="a model, or 'optimise'")
    parser.add_argument("styles", nargs="*", default=[])
    parser.add_argument("--films", nargs="+", default=[])
    parser.add_argument("--kinds", nargs="*", default=KINDS, help="of films that are made here")
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--frames", type=int, default=12, help="of each film")
    parser.add_argument("--network", default="vgg19-lite", help="to optimise by")
    parser.add_argument("--evaluations", type=int, default=20, help="of a frame")
    parser.add_argument("--temporal-weight", type=float, default=1e6)
    parser.add_argument("--drawn", help="frames of the first film, for deflicker")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    if options.drawn:
        deflickered(options.films[0], options.drawn)
        return
    if options.speed:
        speed(nst.load(options.model), options.styles[0])
        return
    names = ("network", "evaluations", "temporal_weight")
    how = {name: getattr(options, name) for name in names}
    if options.model != "optimise":
        how = {"model": nst.load(options.model)}
    print(HEAD.strip(), flush=True)
    with tempfile.TemporaryDirectory() as place:
        for film in [*map(Path, options.films), *options.kinds]:
            frames = decoded(film) if isinstance(film, Path) else made(film, options.frames)
            name = film.stem if isinstance(film, Path) else film
            folder = saved(islice(frames, options.frames), Path(place) / name)
            for style in options.styles:
                compared(partial(nst.video, **how), folder, style, options.size)


def compared(draw: partial[Any], film: Path, style: str, size: int) -> None:
    """Print a row."""
    sample = style in nst.samples.style_names()
    picture = nst.samples.path(style) if sample else style if Path(style).is_file() else None
    given = style if "model" in draw.keywords else picture
    drawn, took, name = [], 0.0, Path(style).stem
    for coherent in (False, True):
        began = perf_counter()
        target = film.with_name(f"{film.name}-{name}-{coherent}")
        drawn.append(draw(film, target, given, coherent=coherent, size=size, progress=False))
        took = perf_counter() - began
    alone, result = drawn
    report = nst.measure(film, result, per_frame=alone, style=picture, every=EVERY)
    floor, mine, each = (report.films[name] for name in ("original", "styled", "each frame"))
    print(
        f"| {film.name} | {name} "
        f"| {floor.warping:.5f} | {each.warping:.5f} | {mine.warping:.5f} "
        f"| {mine.warping / each.warping:.2f} | {mine.warping / floor.warping:.2f} "
        f"| {(mine.style or 0) / (each.style or 1):.2f} | {mine.content / each.content:.2f} "
        f"| {mine.drift:.4f} | {took / report.frames:.1f} |",
        flush=True,
    )


def decoded(film: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a film, uint8."""
    found = reading.probe(film)
    for frame in reading.frames(found, found.height, found.width):
        yield frame.rgb


def saved(frames: Iterable[np.ndarray], folder: Path) -> Path:
    """Write a film as a folder of frames."""
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:03}.png")
    return folder


def deflickered(film: str, drawn: str) -> None:
    """Print the report of deflickered frames."""
    with tempfile.TemporaryDirectory() as place:
        result = nst.deflicker(film, drawn, Path(place) / "out", progress=False)
        report = nst.measure(film, result, per_frame=drawn)
    print(report.text())
    ratio = report.films["styled"].warping / report.films["each frame"].warping
    print(f"warping error: {ratio:.2f} of that of each frame")


def speed(model: Any, style: str) -> None:
    """Print the seconds that each part of a frame takes, and frames per second of all."""
    frames = [frame.astype(np.float32) / 255 for frame in made("disc", 9, 360, 640)]
    paint = model.painter(style, 360, 640)
    ways = [passage(a, b) for a, b in pairwise(frames)]
    drawn = [paint(frame[None])[0] for frame in frames]
    parts: dict[str, Callable[[int], Any]] = {
        "flow, both ways": lambda i: passage(frames[i], frames[i + 1]),
        "network": lambda i: paint(np.stack(frames[i : i + 4]))[0],
        "composition": lambda i: composed(drawn[i + 1], drawn[i], ways[i], i),
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        saved(made("disc", 48, 360, 640), folder / "in")
        film = folder / "in.mp4"
        copied(folder / "in", film)
        for name, part in parts.items():
            part(0)
            each = 4 if name == "network" else 1
            print(f"{name}: {timed(lambda part=part: [part(i) for i in range(5)]) / 5 / each:.3f}")
        found = reading.probe(film)
        print(f"decoding: {timed(lambda: list(reading.frames(found, 360, 640))) / 48:.3f}")
        print(f"decoding and encoding: {timed(lambda: copied(film, folder / 'b.mp4')) / 48:.3f}")
        draw_video(model, film, folder / "warm.mp4", style, progress=False)
        for coherent in (True, False):
            out = folder / f"{coherent}.mp4"
            took = timed(
                lambda out=out, coherent=coherent: draw_video(
                    model, film, out, style, coherent=coherent, progress=False
                )
            )
            print(
                f"all, {'coherent' if coherent else 'each frame'}: {48 / took:.2f} frames a second"
            )


def copied(source: Path, target: Path) -> None:
    """Write a film's frames as they are."""
    from nst_jax.films import writing

    found = reading.probe(source)
    with writing.opened(target, found) as out:
        for frame in reading.frames(found, found.height, found.width):
            out.write(frame)


def timed(function: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    began = perf_counter()
    function()
    return perf_counter() - began


def made(kind: str, count: int, height: int = HEIGHT, width: int = WIDTH) -> Iterator[np.ndarray]:
    """Yield the frames of a film, uint8."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    ground = (data.coffee() if kind == "disc" else data.astronaut()).astype(np.float32) / 255
    front = data.chelsea().astype(np.float32) / 255
    x, y = columns - width / 2, rows - height / 2
    for t in range(count):
        if kind == "pan":
            frame = looked_up(ground, 240 + x + 2.3 * (t - count / 2), 250 + y + 1.1 * t)
        elif kind == "turn":
            angle, zoom = np.deg2rad(1.2 * t), 0.985**t
            turned = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
            frame = looked_up(ground, 256 + zoom * turned[0], 230 + zoom * turned[1])
        else:
            frame = looked_up(ground, 300 + x + 0.4 * t, 200 + y)
            across, down = x + width / 4 - 5 * t, y - 10 * np.sin(t / 4)
            share = np.clip(height / 4 - np.hypot(across, down), 0, 1)[..., None]
            frame = frame * (1 - share) + looked_up(front, 200 + across, 130 + down) * share
        noisy = frame + NOISE * rng.normal(size=frame.shape)
        yield np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)


def looked_up(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A picture at other places, by cubic splines; its edges mirror."""
    planes = [
        ndimage.map_coordinates(p, [y, x], order=3, mode="reflect")
        for p in picture.transpose(2, 0, 1)
    ]
    return np.stack(planes, -1)


if __name__ == "__main__":
    main()

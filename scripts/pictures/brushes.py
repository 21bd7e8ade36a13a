"""What the sample styles are painted with: noise, ramps of colour, strokes, light.

Pictures here are float arrays (h, w, 3) in 0..255. Lengths are in units of 1/512 of the height
unless they are said to be pixels.
"""

from itertools import compress

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage


def grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x, y of every pixel, the height being 512."""
    y, x = np.mgrid[:height, :width].astype(float) * (512 / height)
    return x, y


def noise(shape: tuple[int, int], scale, rng, octaves: int = 1) -> np.ndarray:
    """Smooth noise of unit deviation, its features `scale` units high and wide (or a pair)."""
    total = np.zeros(shape)
    for octave in range(octaves):
        step = np.maximum(np.broadcast_to(scale, 2) * shape[0] / 512 / 2**octave, 1)
        coarse = rng.standard_normal((np.array(shape) / step).astype(int) + 4)
        rows, columns = (np.arange(n) / s + 1 for n, s in zip(shape, step, strict=True))
        fine = ndimage.map_coordinates(coarse, np.meshgrid(rows, columns, indexing="ij"), order=3)
        total += fine / 2**octave
    return (total - total.mean()) / total.std()


def ramp(values: np.ndarray, colours: list[str]) -> np.ndarray:
    """Colours for values in [0, 1]: the given ones, evenly spaced and interpolated."""
    stops = np.array([rgb(colour) for colour in colours])
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, at, stops[:, c]) for c in range(3)], axis=-1)


def rgb(colour: str) -> np.ndarray:
    """The three numbers of RRGGBB."""
    return np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)], dtype=float)


def mix(below: np.ndarray, above, alpha: np.ndarray) -> np.ndarray:
    """`above` laid over `below` with opacity `alpha` (h, w)."""
    return below + (above - below) * np.clip(alpha, 0, 1)[..., None]


def smoothstep(values, low, high):
    """0 below `low`, 1 above `high`, a smooth rise between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def trace(angle: np.ndarray, start: np.ndarray, length: np.ndarray, points: int = 10) -> np.ndarray:
    """Follow a field of directions (h, w) from `start` (n, xy): paths (n, points, xy), pixels."""
    limit = np.array(angle.shape[::-1]) - 1
    path = [start]
    for _ in range(points - 1):
        x, y = np.clip(path[-1], 0, limit).astype(int).T
        step = np.stack([np.cos(angle[y, x]), np.sin(angle[y, x])], axis=-1)
        path.append(path[-1] + step * length[:, None] / (points - 1))
    return np.stack(path, axis=1)


def brush(
    canvas: Image.Image, paths, widths, colours, rng, *, spread=14.0, dry=0.2, load=1.0, tip=0.5
):
    """Paint strokes one over the other, each a bundle of hairs of slightly different colour.

    The alpha channel of the RGBA canvas takes the thickness of the paint: ridges along the edges
    of a stroke, a furrow for every hair. `dry` is the part of a stroke where hairs set in or run
    out, `load` the part of the hairs that carry paint, `spread` the deviation of their colours,
    `tip` the width at the ends against that in the middle.
    """
    hair = 2.0  # pixels
    draw = ImageDraw.Draw(canvas)
    tangents = np.gradient(paths, axis=1)
    normals = np.stack([-tangents[..., 1], tangents[..., 0]], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    points = paths.shape[1]
    belly = tip + (1 - tip) * np.sin(np.linspace(0.1, np.pi - 0.1, points))
    thick = round(hair) + 1
    for path, normal, width, colour in zip(paths, normals, widths, colours, strict=True):
        count = max(2, int(width / hair))
        across = np.linspace(-0.5, 0.5, count)
        grain = rng.standard_normal(count)
        tones = colour + spread * (grain[:, None] + 0.5 * rng.standard_normal((count, 3)))
        relief = 120 + 160 * across**2 + 28 * grain + rng.normal(0, 15)
        fills = np.clip(np.column_stack([tones, relief]), 0, 255).astype(int).tolist()
        ends = (rng.random((count, 2)) * dry * points).astype(int)
        lines = path + normal * (belly * width)[:, None] * across[:, None, None]
        wet = rng.random(count) < load
        for line, fill, (first, last) in compress(zip(lines, fills, ends, strict=True), wet):
            draw.line(line[first : points - last].ravel().tolist(), tuple(fill), thick)


def light(colour: np.ndarray, relief: np.ndarray, strength: float, gloss: float) -> np.ndarray:
    """Light a surface (h, w) of that relief from the upper left: shade, and highlights."""
    down, right = np.gradient(relief)
    slope = down + right
    return colour * (1 + strength * slope)[..., None] + gloss * np.maximum(slope, 0)[..., None] ** 2


def finish(colour: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Reduce a picture (h, w, 3) in 0..255 to its size."""
    full = Image.fromarray(np.clip(colour, 0, 255).round().astype(np.uint8))
    return full.resize(size, Image.Resampling.LANCZOS)


def underpaint(target: np.ndarray) -> Image.Image:
    """A canvas for `brush` that shows the picture (h, w, 3), thinly painted."""
    ground = np.dstack([target, np.full(target.shape[:2], 90)])
    return Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))


def impasto(canvas: Image.Image, strength: float, gloss: float) -> np.ndarray:
    """The picture (h, w, 3) of a canvas, its thick paint lit."""
    paint = np.asarray(canvas).astype(float)
    relief = ndimage.gaussian_filter(paint[..., 3], 0.35 * paint.shape[0] / 512) / 255
    return light(paint[..., :3], relief, strength, gloss)

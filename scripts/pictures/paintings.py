"""The sample styles that a loaded brush paints: `night` and `autumn`.

Each is a function of (width, height, seed) that draws at twice the size and reduces. Lengths are
in units of 1/512 of the height.
"""

import numpy as np
from brushes import (
    brush,
    finish,
    grid,
    impasto,
    mix,
    noise,
    ramp,
    rgb,
    smoothstep,
    trace,
    underpaint,
)
from PIL import Image


def night(width: int, height: int, seed: int = 1) -> Image.Image:
    """A whirling night over a wheat field, in thick strokes that follow the wind."""
    rng = np.random.default_rng(seed)
    x, y = grid(2 * width, 2 * height)
    unit = 2 * height / 512
    sway = noise(x.shape, 90, rng, 2)

    # The wind follows the level lines of a stream function; so do the bands of colour.
    stream = y * 0.9 + 16 * sway + 30 * np.sin(x / 95 + 0.6)
    for cx, cy, radius, spin in ((270, 190, 75, 150), (455, 235, 45, -95), (90, 265, 42, 70)):
        stream += spin * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
    tone = 0.5 + 0.32 * np.sin(stream / 9) + 0.16 * sway + 0.1 * np.sin(stream / 3.7)
    blues = ["0b1540", "12297a", "1c4bb0", "2f78cf", "5fa8dc", "a9d4e0", "f0ecc0"]
    target = ramp(np.clip(tone, 0, 1), blues)
    lights = [(545, 92, 62), (60, 70, 30), (165, 110, 20), (350, 60, 26), (430, 130, 17)]
    lights += [(250, 45, 14), (590, 230, 18), (155, 210, 16), (350, 290, 17), (20, 180, 15)]
    for cx, cy, radius in lights:
        distance = np.hypot(x - cx, y - cy) / radius
        stream += 5 * radius * np.exp(-(distance**2) / 1.6)
        rings = distance + 0.09 * np.sin(distance * 14) + 0.05 * sway
        glow = ramp(np.clip(rings, 0, 1), ["fffbe0", "ffe97a", "f7b52c", "f6dc70", "b9d8b0"])
        target = mix(target, glow, 1 - smoothstep(rings, 0.8, 1.35))
    down, right = np.gradient(stream)
    angle = np.arctan2(-right, down)
    for cx, cy, radius in lights:  # a vortex leaves its own middle bare: dab there instead
        angle[np.hypot(x - cx, y - cy) < 0.35 * radius] = 0.8

    # Hills, then wheat: each region has its own colours and its own direction of the brush.
    for level, swing, phase, colours in (
        (372, 22, 0.3, ["0a1230", "16306b", "28508f", "4f86a8"]),
        (404, 16, 2.2, ["0a1f2a", "12434a", "1f6a5c", "6aa36b"]),
        (436, 9, 4.0, ["5d3a12", "b5791c", "e3ab2c", "f7dc6a"]),
    ):
        edge = level + swing * np.sin(x / 88 + phase) + swing / 2 * np.sin(x / 37 + 2 * phase)
        inside = y > edge
        wheat = level > 430
        ground = 0.5 + 0.3 * np.sin((y - edge) / 5 + 2 * sway) + 0.2 * sway
        target[inside] = ramp(np.clip(ground, 0, 1), colours)[inside]
        fall = np.arctan(np.gradient(edge, axis=1) * unit)
        angle[inside] = ((-1.25 + 0.45 * sway) if wheat else fall + 0.35 * sway)[inside]
    for cx, foot, top, girth in ((88, 470, 170, 27), (132, 476, 262, 21), (528, 460, 312, 17)):
        rise = np.clip((foot - y) / (foot - top), 0, 1)
        flame = girth * np.sqrt(rise * 3 + 0.05) * (1 - rise) ** 0.8 * 1.25
        wobble = 5 * np.sin(y / 17 + cx)
        inside = (np.abs(x - cx - wobble) < flame) & (y < foot) & (y > top)
        bark = 0.45 + 0.35 * np.sin((x - cx - wobble) / 2.3 + y / 15) + 0.15 * sway
        target[inside] = ramp(np.clip(bark, 0, 1), ["07140f", "12301c", "2c5526", "7d8a35"])[inside]
        angle[inside] = (-np.pi / 2 + 0.5 * np.sin(y / 17 + cx))[inside]

    canvas = underpaint(0.75 * target)
    for count, length, breadth, shift in ((3600, 52, 13, 14), (7000, 34, 8, 16), (9000, 20, 5, 20)):
        start = (rng.random((count, 2)) * 1.2 - 0.1) * x.shape[::-1]
        paths = trace(angle, start, unit * length * rng.uniform(0.6, 1.3, count))
        column, row = np.clip(paths[:, 5], 0, np.array(x.shape[::-1]) - 1).astype(int).T
        colours = target[row, column] + rng.normal(0, shift, (count, 1))
        colours += rng.normal(0, shift / 2, (count, 3))
        brush(canvas, paths, unit * breadth * rng.uniform(0.6, 1.2, count), colours, rng)
    return finish(impasto(canvas, 1.1, 500), (width, height))


def autumn(width: int, height: int, seed: int = 5) -> Image.Image:
    """A wood in autumn over still water, in dabs of unmixed colour."""
    rng = np.random.default_rng(seed)
    x, y = grid(2 * width, 2 * height)
    unit = 2 * height / 512
    far = 512 * width / height
    leafy, tree = noise(x.shape, 55, rng, 3), noise(x.shape, (110, 60), rng, 2)

    # Glowing air in the middle, trunks before it, foliage over both.
    glow = np.hypot((x - 0.47 * far) * 0.8, y - 215) / 300 + 0.03 * leafy
    air = ["fff6cf", "ffe08a", "f6b58c", "b48ac0", "5b6fc0", "2c3f8c"]
    target = ramp(np.clip(glow, 0, 1), air)
    angle = 0.35 + 0.5 * tree
    wood = np.zeros(x.shape, bool)
    for foot, lean, girth in (
        (35, 14, 13),
        (118, -10, 8),
        (172, 16, 5),
        (255, -6, 4),
        (385, 8, 4),
        (450, -14, 6),
        (520, 10, 10),
        (602, -16, 15),
    ):
        up = (350 - y) / 350
        bent = x - foot - lean * up - 5 * np.sin(y / 37 + foot)
        trunk = np.abs(bent) < girth * (1.15 - 0.7 * up) * (1 + 0.1 * leafy)
        for _ in range(5):  # boughs
            level, side = rng.uniform(60, 260), rng.choice([-1, 1])
            out = side * bent
            bough = np.abs(y - level + out * 0.9 - 0.004 * out**2) < girth * 0.28 * (1 - out / 75)
            trunk |= bough & (out > 0) & (out < 75)
        bark = np.clip(0.5 + 0.4 * bent / girth + 0.15 * leafy, 0, 1)
        target[trunk] = ramp(bark, ["241436", "4a2b58", "7b4a4e", "d9935a"])[trunk]
        angle[trunk] = -np.pi / 2
        wood |= trunk
    crown = leafy + (235 - y) / 95 + np.abs(x - 0.47 * far) / 150 - 0.9
    crown = np.maximum(crown, 1.2 * leafy + (y - 318) / 26)  # undergrowth
    shade = 0.55 + 0.2 * tree + 0.14 * leafy + 0.17 * np.sin(crown * 6)
    leaves = ["4a1436", "9c1c2e", "d8391c", "f3781a", "fbb324", "ffe25a", "9fae34"]
    foliage = crown > np.where(wood, 0.75, 0)  # trunks show through thin foliage
    target[foliage] = ramp(np.clip(shade, 0, 1), leaves)[foliage]
    angle[foliage] = (1.6 * tree + 0.8 * leafy)[foliage]

    # The water mirrors what stands above, broken by ripples.
    shore = round(352 * unit)
    rows = np.arange(shore, x.shape[0])
    ripple = noise(x.shape, (7, 80), rng)
    shift = 5 * unit * np.sin(rows / (3.1 * unit)) + 5 * unit * ripple[rows, 0]
    columns = np.clip(np.arange(x.shape[1]) + shift[:, None].astype(int), 0, x.shape[1] - 1)
    mirror = target[np.maximum(3 * shore - 2 * rows, 0)[:, None], columns]
    target[shore:] = mix(mirror, rgb("2a4cae"), 0.25 + 0.2 * ripple[shore:])
    angle[shore:] = 0.12 * leafy[shore:]

    canvas = underpaint(0.8 * target)
    accents = np.array([rgb(c) for c in ("2b3fa8", "7a3fa0", "e8402a", "ffd23c", "3fa08c")])
    for count, length, breadth in ((6000, 17, 11), (11000, 12, 8), (14000, 8, 5.5)):
        start = (rng.random((count, 2)) * 1.1 - 0.05) * x.shape[::-1]
        paths = trace(angle, start, unit * length * rng.uniform(0.6, 1.4, count), 6)
        column, row = np.clip(paths[:, 3], 0, np.array(x.shape[::-1]) - 1).astype(int).T
        colours = target[row, column] * rng.uniform(0.85, 1.15, (count, 1))
        stray = np.where(rng.random(count) < 0.07, 0.5, 0.0)
        colours = mix(
            colours + rng.normal(0, 13, (count, 3)), accents[rng.integers(5, size=count)], stray
        )
        brush(canvas, paths, unit * breadth * rng.uniform(0.6, 1.2, count), colours, rng, dry=0.1)
    return finish(impasto(canvas, 1.0, 400), (width, height))

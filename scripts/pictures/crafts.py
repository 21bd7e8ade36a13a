"""The sample styles of other crafts: `glass` (leaded), `waves` (woodblock) and `ink` (wash).

Each is a function of (width, height, seed) that draws at twice the size and reduces. Lengths are
in units of 1/512 of the height.
"""

import numpy as np
from brushes import brush, finish, grid, light, mix, noise, ramp, rgb, smoothstep
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import KDTree


def glass(width: int, height: int, seed: int = 2) -> Image.Image:
    """A window of leaded glass: sunrise over hills and a river."""
    rng = np.random.default_rng(seed)
    x, y = grid(2 * width, 2 * height)
    unit = 2 * height / 512
    far = 512 * width / height

    # One site for each pane, of the region (its own tints) that it lies in.
    sites, tints, regions = [], [], []

    def pane(px: float, py: float, region: int, colours: list[str]) -> None:
        sites.append((px, py))
        regions.append(region)
        tints.append(rgb(colours[rng.integers(len(colours))]) * rng.uniform(0.8, 1.15))

    hill = 318 + 26 * np.sin(np.arange(4096) / 70 + 2.6)
    shore = 392 + 12 * np.sin(np.arange(4096) / 110)
    halos = [["ffe873", "ffd23c"], ["f7a51c", "ffc233"], ["e8541a", "f08a1e"], ["c81d2e", "e0402a"]]
    halos += [["a3195b", "d03a7a"], ["5b2a9d", "8a3fb5"], ["2343b8", "3a6fd8"]]
    halos += [["1a5fb0", "38a0d8"]]
    for ring in range(18):
        count = max(1, 9 * ring if ring < 4 else 30)
        for i in range(count):
            turn = 2 * np.pi * (i + 0.5 * (ring % 2)) / count + rng.normal(0, 0.05)
            radius = ring * 36 + rng.normal(0, 3)
            px, py = 0.56 * far + radius * np.cos(turn), 205 + radius * np.sin(turn)
            if -40 < px < far + 40 and -40 < py < hill[int(max(px, 0))] - 8:
                pane(px, py, 0 if ring < 2 else 1, halos[min(ring, 7)])
    for px in np.arange(-20, far + 40, 38):
        for row in range(12):
            qx, qy = px + rng.uniform(-13, 13) + 19 * (row % 2), 290 + 21 * row + rng.uniform(-6, 6)
            at = int(max(qx, 0))
            if hill[at] + 6 < qy < shore[at] - 5:
                pane(qx, qy, 2, ["0f7a3c", "1fa04a", "7cb82a", "0b5c4a", "b8cc30"])
    for py in np.arange(380, 540, 15):
        for qx in np.arange(-30, far + 60, 74) + rng.uniform(0, 60):
            qx, qy = qx + rng.uniform(-18, 18), py + rng.uniform(-3, 3)
            if qy > shore[int(max(qx, 0))] + 4:
                glint = abs(qx - 0.56 * far) < 20 + 0.5 * (qy - 380)
                water = ["1249a8", "1a7fc4", "2bb5c9", "0d2f86", "86d8dc"]
                pane(qx, qy, 3, ["ffc845", "f2793a", "ffe58a"] if glint else water)

    bend = [7 * noise(x.shape, 110, rng), 7 * noise(x.shape, 110, rng)]
    where = np.stack([x + bend[0], y + bend[1]], axis=-1)
    distance, near = map(np.asarray, KDTree(np.array(sites)).query(where, k=3))
    span = [
        np.linalg.norm(np.take(sites, near[..., 0], 0) - np.take(sites, near[..., k], 0), axis=-1)
        for k in (1, 2)
    ]
    edge, other = (
        (distance[..., k] ** 2 - distance[..., 0] ** 2) / (2 * span[k - 1] + 1e-9) for k in (1, 2)
    )
    region = np.take(regions, near)
    border = region[..., 0] != region[..., 1]

    # Light through uneven glass: streaks, ripples, a shade of its own for each pane.
    first = near[..., 0]
    lean = rng.uniform(0, 2 * np.pi, len(sites))[first]
    offset = where - np.take(sites, first, 0)
    gradient = (offset[..., 0] * np.cos(lean) + offset[..., 1] * np.sin(lean)) / 26
    streaks = [noise(x.shape, scale, rng, 3) for scale in ((60, 7), (7, 60), (22, 22))]
    streak = np.choose(rng.integers(0, 3, len(sites))[first], streaks)
    value = 0.8 + 0.2 * gradient + 0.13 * streak + 0.3 * smoothstep(edge, 1, 12)
    colour = np.take(tints, first, 0) * value[..., None]
    colour = mix(colour, 255.0, 0.30 * smoothstep(streak + 0.7 * gradient, 0.5, 2.4))
    ripple = noise(x.shape, 9, rng, 2) + 0.8 * noise(x.shape, (26, 4), rng)
    colour = light(colour, 0.35 * unit * ripple, 0.22, 25)

    came = np.where(border, 3.4, 2.0) + 1.5 * np.exp(-((other / 5) ** 2)) + 0.3 * streaks[2]
    round_ = np.sqrt(np.clip(1 - (edge / came) ** 2, 0, 1)) * came
    metal = light(np.broadcast_to(rgb("2e3036"), colour.shape), unit * round_, 0.45, 18)
    metal += 9 * noise(x.shape, 4, rng)[..., None]
    return finish(mix(colour, metal, smoothstep(came - edge, -0.4, 0.6)), (width, height))


def waves(width: int, height: int, seed: int = 3) -> Image.Image:
    """A woodblock print: breaking waves before a vermilion sun."""
    rng = np.random.default_rng(seed)
    x, y = grid(2 * width, 2 * height)
    unit = 2 * height / 512
    far = 512 * width / height
    indigo, cream = "16264f", "f2e6c8"

    # Two blocks: flat colours, and the key block with the outlines.
    sky = ramp(np.clip(y / 330, 0, 1), ["2d4a72", "8fa7a8", "e9d9b4", "f0dcb0", "eec79a"])
    flat = Image.fromarray(sky.astype(np.uint8))
    key = Image.new("L", flat.size, 0)
    colour, lines = ImageDraw.Draw(flat), ImageDraw.Draw(key)

    def area(points: np.ndarray, fill: str, line: float = 1.3) -> None:
        xy = (points * unit).ravel().tolist()
        colour.polygon(xy, "#" + fill)
        lines.polygon(xy, 0)
        lines.line(xy + xy[:2], 255, max(1, round(line * unit)), "curve")

    def discs(centres: np.ndarray, radii: np.ndarray, fill: str, line: float = 1.3) -> None:
        """Overlapping discs with one outline around all."""
        for grow, ink in ((line, 255), (0, 0)):
            for (cx, cy), radius in zip(centres * unit, (radii + grow) * unit, strict=True):
                box = [cx - radius, cy - radius, cx + radius, cy + radius]
                lines.ellipse(box, ink)
                colour.ellipse(box, "#" + fill)

    turn = np.linspace(0, 2 * np.pi, 200)[:, None]
    sun = np.array([0.7 * far, 128])
    area(sun + 74 * np.concatenate([np.cos(turn), np.sin(turn)], axis=1), "d8412a")
    for _ in range(11):  # clouds
        cx, cy, half = rng.uniform(0, far), rng.uniform(15, 215), rng.uniform(50, 130)
        along = np.linspace(-half, half, 60)
        thick = rng.uniform(3, 6) * np.sqrt(1 - (along / half) ** 2)
        spine = cy + 3 * np.sin(along / 30) + 2 * np.sin(along / 11 + cx)
        rim = np.r_[spine - thick, (spine + thick)[::-1]]
        tint = str(rng.choice(["f2e6c8", "e7cfa4", "c9cfc0", "e8a27c"]))
        area(np.column_stack([cx + np.r_[along, along[::-1]], rim]), tint, 1.0)

    bands = [("f2e6c8", 0), ("1d3a78", 0.035), ("8db4c4", 0.08), ("f2e6c8", 0.13), ("2c5a94", 0.17)]
    bands += [("b9d0cd", 0.24), ("1d3a78", 0.3), ("f2e6c8", 0.38), ("3f78a6", 0.43)]
    bands += [("16264f", 0.52), ("b9d0cd", 0.64), ("2c5a94", 0.72), ("1d3a78", 0.9)]
    for level, span in ((258, 110), (292, 165), (338, 235), (400, 320), (485, 430)):
        wave = 2 * np.pi / span
        s = np.arange(-1.5 * span, far + 1.5 * span, 1.0)
        shift, swell = rng.uniform(0, span), 1 + 0.2 * np.sin(0.61 * wave * s + rng.uniform(0, 6))
        surfaces = []
        for fill, depth in bands:
            # Gerstner's wave, its crest thrown forward; it calms down with depth.
            tall = 0.15 * span * swell * np.exp(-1.6 * depth)
            lift = np.cos(wave * (s - shift))
            lean = 1.3 * tall * np.clip((lift + 0.4) / 1.4, 0, 1) ** 3
            px = s - tall * np.sin(wave * (s - shift)) + lean
            py = level + depth * span * 0.55 - tall * (1.3 * lift + 0.5 * np.clip(lift, 0, 1) ** 4)
            py = py + 0.006 * span * np.sin(s / 7 + 9 * depth)
            line = np.column_stack([px, py])
            surfaces.append(line)
            area(np.vstack([line, [[far + 900, 900], [-900, 900]]]), fill)
        crest = surfaces[0]  # foam along it, its claws, and spray
        for i in np.flatnonzero((np.cos(wave * (s - shift)) > 0) & (rng.random(len(s)) < 0.3)):
            up = np.cos(wave * (s[i] - shift))
            t = np.linspace(0, 1, 40)
            radius = span * (0.005 + 0.014 * up) * rng.uniform(0.5, 1.2) * (1 - 0.9 * t**0.8)
            reach = span * (0.04 + 0.13 * up) * rng.uniform(0.4, 1.2)
            heading = rng.uniform(-0.8, 0.9) + 3.4 * t**1.5
            hook = np.cumsum(np.column_stack([np.cos(heading), np.sin(heading)]), axis=0) / 40
            foam = crest[i] + [0, rng.uniform(-0.01, 0.06) * span] + reach * hook
            discs(foam, radius, str(rng.choice([cream, cream, "d5dfd6", "a9c6c9"])), 1.0)
            if up > 0.75 and rng.random() < 0.5:
                spray = crest[i] + rng.normal([0.1, -0.08], [0.13, 0.06], (3, 2)) * span
                discs(spray, rng.uniform(0.6, 2.0, 3), cream, 0.6)

    # The print: grain of the block, paper showing through, ink gathering at the edges.
    ink = np.asarray(flat).astype(float)
    outline = ndimage.gaussian_filter(np.asarray(key) / 255, 0.5)
    outline = ndimage.shift(outline, (0.6 * unit, -0.5 * unit), order=1)
    knots = y + 5 * noise(x.shape, (40, 160), rng)
    wood = np.sin(knots / 1.6 + 2 * noise(x.shape, (12, 220), rng)) + noise(x.shape, (2.2, 90), rng)
    specks = noise(x.shape, 2.5, rng, 2) + 0.6 * noise(x.shape, 40, rng)
    fibres = noise(x.shape, (1.5, 9), rng) + noise(x.shape, 1.6, rng)
    paper = rgb(cream) + 5 * fibres[..., None]
    edges = np.linalg.norm(ndimage.gaussian_filter(ink, (4, 4, 0)) - ink, axis=-1)
    ink = ink * (1 - 0.0016 * edges)[..., None] + 4 * specks[..., None]
    ink = mix(ink, paper, 0.10 + 0.07 * wood + 0.55 * smoothstep(specks, 1.5, 3.2))
    dry = 1 - 0.6 * smoothstep(specks, 0.9, 2.6)
    ink = mix(ink, rgb(indigo), outline * dry * 0.95)
    return finish(ink + 2.5 * fibres[..., None], (width, height))


def ink(width: int, height: int, seed: int = 4) -> Image.Image:
    """Mountains in mist behind bamboo: washes and a dry brush on warm paper, and a red sun."""
    rng = np.random.default_rng(seed)
    x, y = grid(2 * width, 2 * height)
    unit = 2 * height / 512
    far = 512 * width / height
    cloud = noise(x.shape, 130, rng, 4)
    grain = noise(x.shape, 2.2, rng, 2)

    def strokes(
        start, heading, lengths, widths, darks, bend: float | np.ndarray = 0.0, **brushing
    ) -> np.ndarray:
        """Ink (h, w) in [0, 1] of strokes that start (units) in a direction and bend by so much."""
        t = np.linspace(0, 1, 14)
        turned = np.asarray(heading)[:, None] + np.asarray(bend)[..., None] * t
        steps = np.stack([np.cos(turned), np.sin(turned)], axis=-1) / 14
        paths = start[:, None] + np.cumsum(steps, axis=1) * np.asarray(lengths)[:, None, None]
        canvas = Image.new("RGBA", (x.shape[1], x.shape[0]), (255, 255, 255, 0))
        greys = np.repeat(255 * (1 - np.asarray(darks))[:, None], 3, axis=1)
        brush(canvas, paths * unit, np.asarray(widths) * unit, greys, rng, **brushing)
        soaked = 1 - ndimage.gaussian_filter(np.asarray(canvas)[..., 0] / 255, 0.7)
        return soaked * (0.94 + 0.06 * np.clip(grain, -2, 1))

    # Washes that dried at the edges, then ridge behind ridge, each rising out of the mist.
    black = 0.05 + 0.05 * cloud
    for level in (-0.4, 0.3, 0.9):
        black += 0.05 * smoothstep(cloud, level, level + 0.1)
        black += 0.09 * np.exp(-(((cloud - level) / 0.03) ** 2))
    for level, rise, dark, reach in (
        (195, 42, 0.45, 60),
        (262, 48, 0.62, 75),
        (335, 42, 0.85, 80),
        (432, 30, 1.0, 120),
    ):
        ridge = level + rise * (noise(x.shape, 95, rng, 5)[0] + 0.5 * noise(x.shape, 260, rng)[0])
        depth = y - ridge
        inside = smoothstep(depth + 1.2 * grain, -1, 1)
        mist = np.exp(-np.maximum(depth, 0) / reach)
        crags = 0.6 + 0.3 * noise(x.shape, (50, 18), rng, 4) + 0.15 * cloud
        wash = dark * (0.7 * mist * np.clip(crags, 0.1, 1.4) + 0.3 * np.exp(-((depth / 5) ** 2)))
        count = 650
        px = rng.uniform(-10, far + 10, count)
        column = np.clip(px * unit, 0, len(ridge) - 1).astype(int)
        drop = rng.exponential(0.45 * reach, count)
        slope = np.gradient(ridge)[column] * unit
        texture = strokes(
            np.column_stack([px, ridge[column] + drop]),
            np.where(slope > 0, 1.05, np.pi - 1.05) + rng.normal(0, 0.14, count),
            rng.uniform(10, 46, count),
            rng.uniform(2, 8, count),
            dark * rng.uniform(0.4, 1.1, count) * np.exp(-drop / reach / 2),
            np.where(slope > 0, -0.6, 0.6),
            dry=0.45,
            load=0.6,
            spread=34,
            tip=0.2,
        )
        black *= 1 - inside * (0.35 + 0.6 * mist)
        black += inside * np.maximum(wash, texture)

    # Bamboo: stalks of jointed strokes, and leaves that hang in bunches.
    def dip(count: int) -> np.ndarray:
        return rng.uniform(0.75, 1.05, count)

    for foot, lean, girth in ((60, 0.10, 17), (112, 0.05, 10), (585, -0.09, 14)):
        joints = np.arange(540, -90, -72.0) + rng.uniform(-9, 9)
        at = foot + lean * (540 - joints) + 7 * np.sin(joints / 150)
        many = len(joints)
        spots = np.column_stack([at, joints])
        stalk = strokes(
            spots,
            np.full(many, -np.pi / 2 + lean),
            np.full(many, 66),
            np.full(many, girth),
            0.75 * dip(many),
            dry=0.18,
            load=0.85,
            spread=45,
        )
        ring = strokes(
            spots - [girth * 0.65, -4],
            np.full(many, 0.5),
            np.full(many, girth * 1.3),
            np.full(many, 4.5),
            dip(many),
            -1.0,
        )
        bunches = spots[rng.integers(2, many, 17)] + rng.normal(0, [34, 22], (17, 2))
        tips = np.repeat(bunches, 5, axis=0) + rng.normal(0, 3, (85, 2))
        leaves = strokes(
            tips,
            rng.normal(np.pi / 2 - 4 * lean, 0.75, 85),
            rng.uniform(34, 84, 85),
            rng.uniform(7, 13, 85),
            np.repeat(rng.choice([0.45, 0.8, 0.95, 1], 17), 5),
            rng.normal(0, 0.35, 85),
            dry=0.22,
            load=0.95,
            spread=26,
            tip=0.02,
        )
        for layer in (stalk, ring, leaves):
            black = np.maximum(black, layer)
    black = np.maximum(black, 0.9 * smoothstep(noise(x.shape, 5, rng), 2.9, 3.2))

    fibres = np.exp(-((noise(x.shape, 30, rng, 3) / 0.03) ** 2)) + 0.5 * grain
    paper = rgb("efe0c2") - 4 * fibres[..., None] + 5 * cloud[..., None]
    disc = np.hypot(x - 0.62 * far, y - 112) / 46 + 0.03 * cloud
    red = (1 - smoothstep(disc, 0.94, 1.02)) * (0.75 + 0.12 * cloud + 0.12 * disc**4)
    seal = (np.abs(x - 0.955 * far) < 13) & (np.abs(y - 470) < 17)
    carved = np.sin((x - 0.955 * far) / 2.1) * np.sin((y - 470) / 2.7 + 0.6) > 0.25
    red = np.where(seal & ~carved & (grain < 1.4), 0.9, red)
    paper = mix(paper, rgb("c8321e"), red * (1 - 0.1 * np.maximum(grain, 0)))
    return finish(mix(paper, rgb("17161a"), black * (1 + 0.04 * grain)), (width, height))

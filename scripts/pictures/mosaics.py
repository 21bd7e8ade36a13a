"""A style for `train_models.py`: `mosaic`, stone cubes set in rows around a peacock's eyes.

Like those of `crafts.py` it is a function of (width, height, seed) that draws at twice the size and
reduces; lengths are in units of 1/512 of the height.
"""

import numpy as np
from brushes import finish, grid, light, mix, noise, ramp, rgb, smoothstep
from PIL import Image
from scipy.spatial import KDTree


def mosaic(width: int, height: int, seed: int = 6) -> Image.Image:
    """Rows of small stones that follow rings and waves, in grey grout."""
    rng = np.random.default_rng(seed)
    far = 512 * width / height
    eyes = np.array([[0.24, 150], [0.72, 215], [0.42, 395], [0.93, 440], [0.03, 420], [0.55, 30]])
    eyes = eyes * [far, 1]
    sizes = np.array([120, 150, 110, 95, 85, 70.0])

    def rings(x, y):
        """Distance from the nearest eye in its own size, and how far the rows have come."""
        away = np.hypot(x[..., None] - eyes[:, 0], y[..., None] - eyes[:, 1]) / sizes
        near = away.argmin(-1)
        least = away.min(-1)
        sea = 1.2 + 0.011 * (y + 24 * np.sin(x / 58) + 10 * np.sin(x / 23 + 1))
        return np.where(least < 1, least, sea), least < 1, near

    # Stones sit on level lines: throw many, keep those on a line that no other is too near to.
    count = 60_000
    spots = rng.uniform([-12, -12], [far + 12, 524], (count, 2))
    level, inside, near = rings(spots[:, 0], spots[:, 1])
    steps = np.where(inside, sizes[near] / 10.5, 9.5)
    rows = np.where(inside, level * 10.5, (level - 1.2) / 0.011 / 9.5)
    spots = spots[np.abs(rows - np.round(rows)) * steps < 1.1]
    kept: list[np.ndarray] = []
    taken = np.zeros((60, int(far / 10) + 8), int) - 1
    for spot in spots:
        i, j = (int(spot[1] + 20) // 10, int(spot[0] + 20) // 10)
        around = taken[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].ravel()
        if all(k < 0 or np.hypot(*(kept[k] - spot)) > 8.6 for k in around):
            taken[i, j] = len(kept)
            kept.append(spot)
    sites = np.array(kept)

    x, y = grid(2 * width, 2 * height)
    distance, nearest = map(np.asarray, KDTree(sites).query(np.stack([x, y], -1), k=2))
    first = nearest[..., 0]
    gap = np.linalg.norm(sites[first] - sites[nearest[..., 1]], axis=-1)
    edge = (distance[..., 1] ** 2 - distance[..., 0] ** 2) / (2 * gap + 1e-9)

    level, inside, near = rings(sites[:, 0], sites[:, 1])
    feathers = ["10213f", "15479a", "1aa3a8", "0c6b52", "d9a521", "f0d27a", "8a2d1c", "d8602a"]
    waters = ["e9dfc4", "c9d6c3", "7fb0a8", "2f7f8f", "1c4f74", "3b8f9c", "b5c9b2", "efe6cf"]
    turn = (1.35 * level + 0.06 * near) % 1
    sea = (0.9 * level) % 1
    tints = np.where(inside[:, None], ramp(turn, feathers), ramp(sea, waters))
    tints = tints * rng.uniform(0.78, 1.12, (len(sites), 1)) + rng.normal(0, 7, (len(sites), 3))
    gold = rng.random(len(sites)) < 0.035
    tints[gold] = rgb("e8bf4a") + rng.normal(0, 12, (gold.sum(), 3))

    grain = noise(x.shape, 2.0, rng, 2)
    stone = tints[first] * (1 + 0.05 * grain)[..., None]
    grout = rgb("5b554c") * (1 + 0.12 * noise(x.shape, 3, rng, 2))[..., None]
    cover = smoothstep(edge + 0.12 * grain, 0.55, 1.15)
    tilt = rng.normal(0, 0.5, (len(sites), 2))[first]
    offset = np.stack([x, y], -1) - sites[first]
    relief = 3 * smoothstep(edge, 0.3, 2.4) + (offset * tilt).sum(-1) * 0.22
    lit = light(stone, relief, 0.16, 10)
    return finish(mix(grout, lit, cover), (width, height))

"""Pictures in motion with known flow: drawn from formulas, so that nothing is interpolated."""

import numpy as np

SIDE = 96


def grid(side=SIDE):
    rows, columns = np.mgrid[:side, :side].astype(np.float64)
    return np.stack([columns, rows], -1)


def texture(places, seed=0):
    """A smooth random pattern, RGB in [0, 1], at any places (x, y)."""
    rng = np.random.default_rng(seed)
    found = np.zeros((*places.shape[:-1], 3))
    for period in (10, 14, 20, 28, 41):
        for angle, phase in rng.uniform(0, 2 * np.pi, (2, 2)):
            wave = np.array([np.cos(angle), np.sin(angle)]) * 2 * np.pi / period
            found += np.cos(places @ wave + phase)[..., None] * rng.uniform(0.5, 1, 3)
    return (0.5 + found / 14).clip(0, 1).astype(np.float32)


def moved(matrix, shift, side=SIDE):
    """Two pictures and the flow from the first, where x goes to matrix (x - c) + c + shift."""
    places, centre = grid(side), (side - 1) / 2
    flow = (places - centre) @ (np.asarray(matrix) - np.eye(2)).T + shift
    back = (places - centre - shift) @ np.linalg.inv(matrix).T + centre
    return texture(places), texture(back), flow.astype(np.float32)


def turn(degrees):
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def disc(side=SIDE, radius=22, motion=(7, 3)):
    """A disc that moves over a background at rest.

    Returns:
        Both pictures, the flows in both directions, and where the first is covered in the second.
    """
    motion = np.asarray(motion)
    places, centre = grid(side), side / 2 - motion / 2
    here = np.hypot(*np.moveaxis(places - centre, -1, 0)) < radius
    there = np.hypot(*np.moveaxis(places - centre - motion, -1, 0)) < radius
    ground = texture(places)
    a = np.where(here[..., None], texture(places, 1), ground)
    b = np.where(there[..., None], texture(places - motion, 1), ground)
    flow = np.where(here[..., None], motion, 0).astype(np.float32)
    back = np.where(there[..., None], -motion, 0).astype(np.float32)
    return a, b, flow, back, there & ~here

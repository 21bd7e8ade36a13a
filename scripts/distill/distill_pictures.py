"""Training pictures for `distill.py`: crops of photographs and paintings, and what an optimiser
makes of them: noise, blends, shifted colours, values outside [0, 1].

Pictures are float32 RGB, nominally in [0, 1], (3, size, size) as PyTorch wants them.
"""

from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def load_folder(folder: Path, exclude: list[str]) -> dict[str, np.ndarray]:
    """All pictures of a folder by name, uint8 (h, w, 3), without those that match `exclude`."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    kept = [p for p in paths if not any(fnmatch(p.name, pattern) for pattern in exclude)]
    return {p.name: np.asarray(Image.open(p).convert("RGB")) for p in kept}


def hold_out(pictures: dict[str, np.ndarray], count: int) -> tuple[list, list, list[str]]:
    """Split into (training, held out, names held out): `count` pictures, evenly spaced by name."""
    names = list(pictures)
    held = {names[i] for i in np.linspace(0, len(names) - 1, count).astype(int)}
    train = [picture for name, picture in pictures.items() if name not in held]
    return train, [pictures[name] for name in sorted(held)], sorted(held)


def crop(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of a picture at a random scale, mirrored half of the time."""
    h, w = picture.shape[:2]
    # From 0.7 (slightly enlarged) to the whole short side, evenly in the logarithm.
    side = float(np.exp(rng.uniform(np.log(0.7 * size), np.log(min(h, w)))))
    side = min(side, h, w)
    top, left = rng.uniform(0, h - side), rng.uniform(0, w - side)
    image = Image.fromarray(picture).resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    x = np.asarray(image, np.float32).transpose(2, 0, 1) / 255
    return x[:, :, ::-1].copy() if rng.random() < 0.5 else x


def noise(size: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of unit variance, white or blurred by a random factor, grey or coloured."""
    channels = 3 if rng.random() < 0.8 else 1
    factor = int(rng.choice([1, 1, 1, 2, 4, 8]))
    small = rng.normal(size=(channels, -(-size // factor), -(-size // factor))).astype(np.float32)
    if factor > 1:
        resized = [Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC) for c in small]
        small = np.stack([np.asarray(c) for c in resized])
        small /= small.std() + 1e-6
    return np.broadcast_to(small, (3, size, size))


def disturb(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add noise, from invisible to strong; shift and stretch the colours now and then."""
    if rng.random() < 0.5:
        x = x + np.exp(rng.uniform(np.log(0.01), np.log(0.3))) * noise(x.shape[-1], rng)
    if rng.random() < 0.3:
        gain = (
            rng.uniform(0.6, 1.5, size=(3, 1, 1)) if rng.random() < 0.5 else rng.uniform(0.5, 1.7)
        )
        x = (x - 0.5) * gain + 0.5 + rng.normal(0, 0.1, size=(3, 1, 1))
    return np.asarray(x, np.float32)


def sample(
    photos: list[np.ndarray], paintings: list[np.ndarray], size: int, rng: np.random.Generator
) -> np.ndarray:
    """One training picture: a photograph, a painting, a blend of the two, or noise."""

    def pick(pictures: list[np.ndarray]) -> np.ndarray:
        return crop(pictures[rng.integers(len(pictures))], size, rng)

    kind = rng.random()
    if kind < 0.04:
        return np.asarray(0.5 + rng.uniform(0.05, 0.4) * noise(size, rng), np.float32)
    if kind < 0.14:
        share = rng.uniform(0.2, 0.8)
        x = share * pick(photos) + (1 - share) * pick(paintings)
    else:
        x = pick(photos) if kind < 0.6 else pick(paintings)
    return disturb(x, rng) if rng.random() < 0.6 else x

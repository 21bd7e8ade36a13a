"""Draw two small films by optimisation, and show them beside their originals, as an animation.

python scripts/pictures/films.py docs/films.webp
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from skimage import data, transform

import nst_jax as nst
from nst_jax.pictures import resizing

HEIGHT, WIDTH = 160, 256
COUNT, PER_SECOND = 20, 10
_QUALITY = 55  # of WebP
Frames = list[Float[np.ndarray, "h w 3"]]


def pan(count: int = COUNT, height: int = HEIGHT, width: int = WIDTH) -> Frames:
    """A camera that moves and draws nearer over a portrait."""
    photo = data.astronaut() / np.float32(255)
    scale = 0.85 * photo.shape[1] / width
    made = []
    for n in range(count):
        zoom = scale * (1 - 0.006 * n)
        left, top = 20 + 3.0 * n, 10 + 1.2 * n
        place = transform.AffineTransform(scale=(zoom, zoom), translation=(left, top))
        frame = transform.warp(photo, place, output_shape=(height, width), order=3, mode="reflect")
        made.append(np.clip(frame, 0, 1).astype(np.float32))
    return made


def passing(count: int = COUNT, height: int = HEIGHT, width: int = WIDTH) -> Frames:
    """A ball, painted with a cat, that rolls by in front of a table at rest."""
    table = resizing.cover(data.coffee() / np.float32(255), (height, width))
    cat = resizing.cover(data.chelsea() / np.float32(255), (height, width))
    rows, columns = np.mgrid[:height, :width]
    made = []
    for n in range(count):
        right, down = round(0.025 * width * n), round(0.006 * height * n)
        near = np.hypot(columns - 0.2 * width - right, rows - 0.45 * height - down)
        share = np.clip(0.24 * height - near, 0, 1)[..., None].astype(np.float32)
        moved = np.roll(cat, (down, right - round(0.3 * width)), (0, 1))
        made.append(share * moved + (1 - share) * table)
    return made


def save(frames: Frames, folder: Path) -> Path:
    """Write a film as a folder of frames."""
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(np.rint(frame * 255).astype(np.uint8)).save(folder / f"{number:04}.png")
    return folder


def load(folder: Path) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The frames of a folder."""
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]


def animate(
    strips: list[UInt8[np.ndarray, "h w 3"]], output: Path, per_second: int, quality: int
) -> None:
    """Write an endless WebP animation."""
    first, *rest = (Image.fromarray(strip) for strip in strips)
    first.save(
        output,
        save_all=True,
        append_images=rest,
        duration=1000 // per_second,
        loop=0,
        quality=quality,
        method=6,
    )
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Draw both films and write the animation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--style", default="night")
    parser.add_argument("--network", default="vgg19-lite")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, frames in (("pan", pan()), ("passing", passing())):
            source = save(frames, Path(place) / name)
            target = Path(place) / f"{name}-drawn"
            began = time.perf_counter()
            style = nst.samples.style(args.style)
            nst.video(source, target, style, network=args.network)
            print(f"{name}: {(time.perf_counter() - began) / COUNT:.1f} s a frame")
            rows.append([load(source), load(target)])
    strips = [
        np.concatenate([np.concatenate([film[n] for film in row], 1) for row in rows])
        for n in range(COUNT)
    ]
    animate(strips, args.output, PER_SECOND, _QUALITY)


if __name__ == "__main__":
    main()

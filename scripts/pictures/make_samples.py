"""Draw the style pictures that the package ships, and copy its sample photographs.

    python scripts/pictures/make_samples.py [FOLDER] [--only NAME]

The styles (paintings.py, crafts.py) are drawn with numpy, scipy and Pillow alone, the same
whenever this is run. The photographs come from an installed scikit-image; ORIGIN.md, beside the
pictures, says whose they are.
"""

import argparse
import io
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

from crafts import glass, ink, waves
from paintings import autumn, night
from PIL import Image, ImageFile

SIZE = (640, 512)
LIMIT = 150_000  # bytes a style picture may take
FOLDER = Path(__file__).resolve().parents[2] / "nst_jax" / "samples"
PHOTOGRAPHS = {"cat": "chelsea.png", "coffee": "coffee.png"}


STYLES: dict[str, Callable[..., Image.Image]] = {
    "night": night,
    "autumn": autumn,
    "glass": glass,
    "ink": ink,
    "waves": waves,
}


def photograph(name: str) -> Image.Image:
    """One of scikit-image's own pictures, as it is."""
    with as_file(files("skimage") / "data" / PHOTOGRAPHS[name]) as path:
        return Image.open(path).convert("RGB")


def encode(picture: Image.Image, best: int = 92) -> bytes:
    """A JPEG of the best quality that keeps to the limit."""
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 1 << 22)  # optimize needs all of it in one block
    for quality in range(best, 10, -1):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= LIMIT:
            return buffer.getvalue()
    raise SystemExit(f"No JPEG of {picture.width}x{picture.height} fits into {LIMIT} bytes.")


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description="Draw or copy the package's sample pictures.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--only", choices=[*STYLES, *PHOTOGRAPHS], help="this one alone")
    options = parser.parse_args()
    for name in [options.only] if options.only else [*STYLES, *PHOTOGRAPHS]:
        picture = STYLES[name](*SIZE) if name in STYLES else photograph(name)
        path = options.folder / f"{name}.jpg"
        path.write_bytes(encode(picture))
        print(f"{path}: {picture.width}x{picture.height}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""Paint two frames of a small film, carry them over it, and show that as an animation.

python scripts/pictures/keys.py docs/keys.webp
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from films import WIDTH, animate, load, pan, save

import nst_jax as nst

COUNT, PER_SECOND = 12, 8
_QUALITY = 54  # of WebP
_CONTENT = 20.0  # weight of the content, by which a small face is still known


def main() -> None:
    """Draw the film and write the animation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--style", default="night")
    parser.add_argument("--network", default="vgg19-lite")
    args = parser.parse_args()
    frames = pan(COUNT)
    with tempfile.TemporaryDirectory() as place:
        source = save(frames, Path(place) / "film")
        style = nst.samples.style(args.style)
        keys = {
            f"{number:04}": nst.stylize(
                frames[number],
                style,
                network=args.network,
                size=WIDTH,
                content_weight=_CONTENT,
            ).image
            for number in (0, COUNT - 1)
        }
        began = time.perf_counter()
        target = nst.video(source, Path(place) / "painted", keys=keys)
        print(f"{(time.perf_counter() - began) / COUNT:.1f} s a frame")
        strips = [np.concatenate(both) for both in zip(load(source), load(target), strict=True)]
    animate(strips, args.output, PER_SECOND, _QUALITY)


if __name__ == "__main__":
    main()

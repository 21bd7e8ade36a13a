"""How much prints look like their previews: enlarged results beside direct runs at their size.

Stylize six pairs of sample pictures small, enlarge each result, and draw the same pair directly at
the large size. Print how far each large picture, brought down to the small size, is from the small
one: the mean absolute difference of the values in [0, 1], and the seconds. A folder keeps the
pictures to look at.
"""

import argparse
from pathlib import Path

import numpy as np

import nst_jax as nst
from nst_jax.networks.load import load_network
from nst_jax.pictures.resizing import resize


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(
        description="How much prints look like their previews, beside direct runs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="for the pictures")
    parser.add_argument("--network", default="vgg19-lite")
    parser.add_argument("--size", type=int, default=360, help="long side of the previews")
    parser.add_argument("--large", type=int, default=1440, help="long side of the prints")
    parser.add_argument("--iterations", type=int, default=200, help="of previews")
    parser.add_argument("--coarse", type=int, default=150, help="evaluations at coarse scales")
    parser.add_argument("--last", type=int, default=200, help="evaluations of prints at the end")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    common = {
        "network": load_network(args.network),
        "coarse_iterations": args.coarse,
        "progress": False,
    }
    print(
        "| content, style | enlarged | direct | seconds | seconds, direct |\n|---|--:|--:|--:|--:|"
    )
    for content in ("cat", "coffee"):
        for style in ("night", "autumn", "glass"):
            pair = nst.samples.content(content), nst.samples.style(style)
            small = nst.stylize(*pair, size=args.size, iterations=args.iterations, **common)
            large = {
                "enlarged": small.enlarge(args.large, iterations=args.last),
                "direct": nst.stylize(*pair, size=args.large, iterations=args.last, **common),
            }
            small.save(args.folder / f"{content}-{style}-small.png")
            cells = []
            for name, result in large.items():
                result.save(args.folder / f"{content}-{style}-{name}.png")
                shrunk = resize(result.image, small.image.shape[:2])
                cells.append(f"{np.abs(shrunk - small.image).mean():.4f}")
            cells += [f"{r.compile_seconds + r.run_seconds:.0f}" for r in large.values()]
            print(f"| {content}, {style} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

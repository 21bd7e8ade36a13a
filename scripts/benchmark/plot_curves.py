"""Draw the curves of time-to-loss that `benchmark.py` keeps: loss against seconds.

    python scripts/benchmark/plot_curves.py docs/curves docs/curves.png

One panel for each pair of pictures with PyTorch's loop and the preset `default`, up to the loss
with which PyTorch ends. Needs matplotlib.
"""

import argparse
import json
from pathlib import Path

from matplotlib import pyplot


def main() -> None:
    """Read the folder, write the picture."""
    parser = argparse.ArgumentParser(description="Loss against seconds, a panel for each pair.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    # Pairs of which only the peer's losses are known have nothing to compare.
    pairs = sorted(path.stem.rpartition("-")[0] for path in options.folder.glob("*-default.json"))
    if not pairs:
        parser.error(f"{options.folder} holds no curves of the preset default (*-default.json)")
    across = min(3, len(pairs))
    down = -(-len(pairs) // across)
    figure, panels = pyplot.subplots(
        down, across, figsize=(4 * across, 3 * down), squeeze=False, layout="constrained"
    )
    for pair, panel in zip(pairs, panels.flat, strict=False):
        theirs, ours = (
            json.loads((options.folder / f"{pair}-{way}.json").read_text())
            for way in ("PyTorch", "default")
        )
        losses = theirs["losses"]
        seconds = [ours["PyTorch"] * n / len(losses) for n in range(1, len(losses) + 1)]
        panel.plot(seconds, losses, color="#888888", label="PyTorch")
        panel.plot(ours["seconds"], ours["losses"], color="#1f5fa8", label="default")
        panel.axhline(losses[-1], color="#888888", linestyle=":", linewidth=1)
        # Early steps overshoot by orders of magnitude.
        panel.set(yscale="log", ylim=(0.8 * losses[-1], 100 * losses[-1]))
        content, style, size, _ = pair.split("-")
        panel.set(title=f"{content}, {style}, {size} px", xlabel="seconds")
        panel.set_ylabel("loss")
        panel.legend()
    for panel in panels.flat[len(pairs) :]:
        panel.axis("off")
    figure.savefig(options.output, dpi=100)


if __name__ == "__main__":
    main()

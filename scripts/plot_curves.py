"""Draw the curves of time-to-loss that `scripts/benchmark.py` keeps: loss against seconds.

    python scripts/plot_curves.py docs/curves docs/curves.png

One panel for each pair of pictures with PyTorch's loop and the preset `default`, up to the loss
with which PyTorch ends. Needs matplotlib.
"""

import argparse
import json
from pathlib import Path

from matplotlib import pyplot

COLORS = {"PyTorch": "#888888", "default": "#1f5fa8"}


def main() -> None:
    """Read the folder, write the picture."""
    parser = argparse.ArgumentParser(description="Loss against seconds, a panel for each pair.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    pairs = sorted({path.stem.rpartition("-")[0] for path in options.folder.glob("*.json")})
    across = min(3, len(pairs))
    down = -(-len(pairs) // across)
    figure, panels = pyplot.subplots(
        down, across, figsize=(4 * across, 3 * down), squeeze=False, layout="constrained"
    )
    for pair, panel in zip(pairs, panels.flat, strict=False):
        for way, color in COLORS.items():
            path = options.folder / f"{pair}-{way}.json"
            if path.exists():
                curve = json.loads(path.read_text())
                panel.plot(curve["seconds"], curve["losses"], color=color, label=way)
                if way == "PyTorch":
                    panel.axhline(curve["losses"][-1], color=color, linestyle=":", linewidth=1)
                    # Early steps overshoot by orders of magnitude.
                    panel.set_ylim(top=3 * curve["losses"][0])
        content, style, size, _ = pair.split("-")
        panel.set(title=f"{content}, {style}, {size} px", yscale="log", xlabel="seconds")
        panel.set_ylabel("loss")
        panel.legend()
    for panel in panels.flat[len(pairs) :]:
        panel.axis("off")
    figure.savefig(options.output, dpi=100)


if __name__ == "__main__":
    main()

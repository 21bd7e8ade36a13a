"""Train the models that the package ships: `weights/README.md` has the command, time and settings.

    python scripts/train_models.py PHOTOGRAPHS OUT [--only styles|adain] [--paintings FOLDER]

PHOTOGRAPHS is a folder of any pictures, OUT takes models, checkpoints, traces and previews. A run
that was cut short goes on when the command is given again.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mosaics import mosaic

from nst_jax import samples
from nst_jax.feedforward.training import Files, train_model

# Layers that pull alike: at equal weights relu4_1 has nearly all of the loss. Crops are small, and
# nothing below relu4 is, so relu5_1 sees too little of them.
STYLES: dict[str, Any] = {
    "kind": "transformer",
    "variant": "small",
    "network": "vgg19-lite",
    "crop": 128,
    "batch": 2,
    "style_size": 384,
    "style_weight": 1.0,
    "style_layers": {"relu1_1": 600, "relu2_1": 30, "relu3_1": 40, "relu4_1": 1},
    "content_layers": {"relu4_2": 1},
    "learning_rate": 2e-3,
}


def files(folder: Path, every: int) -> Files:
    """Where a training keeps what it writes."""
    return Files(
        checkpoint=folder / "checkpoint.safetensors",
        checkpoint_every=every,
        resume=True,
        trace=folder / "trace.jsonl",
        previews=folder / "previews",
        previews_every=every,
    )


def main() -> None:
    """Train what was asked for."""
    parser = argparse.ArgumentParser(description="Train the models that the package ships.")
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path, metavar="OUT")
    parser.add_argument("--only", choices=("styles",), default="styles")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--every", type=int, default=250, help="checkpoints and previews, in steps")
    options = parser.parse_args()
    folder = options.folder / options.only
    folder.mkdir(parents=True, exist_ok=True)
    styles: dict[str, Any] = {name: samples.path(name) for name in samples.style_names()}
    styles["mosaic"] = mosaic(640, 512)
    train_model(
        options.photographs,
        styles,
        folder / f"{options.only}.safetensors",
        files=files(folder, options.every),
        steps=options.steps,
        **STYLES,
    )


if __name__ == "__main__":
    main()

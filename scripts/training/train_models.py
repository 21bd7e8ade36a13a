"""Train the models that the package ships: `weights/README.md` has the command, time and settings.

    python scripts/training/train_models.py styles PHOTOGRAPHS OUT
    python scripts/training/train_models.py johnson PHOTOGRAPHS OUT
    python scripts/training/train_models.py adain PHOTOGRAPHS OUT --paintings FOLDER
    python scripts/training/train_models.py films PHOTOGRAPHS OUT --init STYLES --seconds 140

`films` begins with the model `styles` and learns coherence from frame to frame. `johnson` is the
full-size network of one style with VGG19, which the package does not ship. The folders hold any
pictures, OUT takes models, checkpoints, traces and previews. A run that was cut short goes on when
the command is given again. With --seconds, two thirds of the time after compilation go to steps at
the full rate, and the rest to half as many at the falling rate; there are no previews.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pictures"))
from mosaics import mosaic

from nst_jax import samples
from nst_jax.training.api import train_model
from nst_jax.training.recording import Files

# Layers that pull alike: at equal weights relu4_1 has nearly all of the loss. Crops are small, so
# relu5_1 sees too little of them. A step is for GPUs: two cores take seconds for it. As much style
# as leaves flat parts something of a style's paper and strokes.
STYLES: dict[str, Any] = {
    "kind": "transformer",
    "variant": "medium",
    "blocks": 8,
    "network": "vgg19-lite",
    "crop": 192,
    "batch": 12,
    "style_size": 384,
    "style_weight": 4.0,
    "style_layers": {"relu1_1": 600, "relu2_1": 30, "relu3_1": 40, "relu4_1": 1},
    "content_layers": {"relu4_2": 1},
    "optimizer": "muon",
    "learning_rate": 4e-3,
    "precision": "bfloat16",
}

# Johnson et al. 2016, section 4.1, at VGG19's layers of these names; they pull alike.
JOHNSON: dict[str, Any] = {
    "kind": "transformer",
    "variant": "johnson",
    "network": "vgg19",
    "crop": 224,
    "batch": 5,
    "style_size": 384,
    "style_weight": 1.0,
    "style_layers": {"relu1_2": 1, "relu2_2": 6, "relu3_3": 0.5, "relu4_3": 30},
    "content_layers": {"relu3_3": 1},
    "optimizer": "muon",
    "learning_rate": 3e-3,
    "precision": "bfloat16",
}

# Layers that pull alike, again.
ADAIN: dict[str, Any] = {
    "kind": "adain",
    "network": "vgg19-lite",
    "crop": 128,
    "batch": 2,
    "style_layers": {"relu1_1": 40, "relu2_1": 6, "relu3_1": 6, "relu4_1": 1},
    "learning_rate": 2e-4,
}

# Crops of 192 pixels within a margin, three frames of each. The network begins with that of
# `styles`: in training, the noise of its frames alone makes pixels differ by 0.13 from frame to
# frame (root of the mean square), which at this weight is half of its loss.
FILMS: dict[str, Any] = STYLES | {
    "crop": 224,
    "batch": 4,
    "coherence_weight": 600.0,
    "learning_rate": 3e-3,
    "average": 0.99,
}

# Fields of a recipe that the command line may change.
CHANGED: dict[str, Any] = {
    "style_weight": float,
    "learning_rate": float,
    "coherence_weight": float,
    "average": float,
    "precision": str,
}
RECIPES = {"styles": STYLES, "johnson": JOHNSON, "adain": ADAIN, "films": FILMS}
_ENDING = 12  # seconds for loading the pictures again, and writing the model


def files(folder: Path, every: int, *, previews: bool) -> Files:
    """Where a training keeps what it writes."""
    checkpoint = folder / "checkpoint.safetensors"
    return Files(
        checkpoint=checkpoint,
        checkpoint_every=every,
        resume=checkpoint.exists(),
        trace=folder / "trace.jsonl",
        previews=folder / "previews" if previews else None,
        previews_every=every,
    )


def within(seconds: float, folder: Path, train: Callable[[int], Any]) -> None:
    """Train for some seconds: the steps at the full rate end by Ctrl-C, and then the rate falls."""
    trace, began = folder / "trace.jsonl", time.monotonic()
    before = trace.stat().st_size if trace.exists() else 0
    first, done = time.monotonic(), threading.Event()

    def stop() -> None:
        nonlocal first
        while not (trace.exists() and trace.stat().st_size > before) and not done.wait(0.1):
            pass
        first = time.monotonic()
        if not done.wait((seconds - _ENDING - (first - began)) * 2 / 3):
            signal.raise_signal(signal.SIGINT)

    watch = threading.Thread(target=stop, daemon=True)
    watch.start()
    train(10**8)
    done.set()
    steps = json.loads(trace.read_text("utf-8").splitlines()[-1])["step"]
    train(steps * 3 // 2)


def main() -> None:
    """Train what was asked for."""
    parser = argparse.ArgumentParser(description="Train the models that the package ships.")
    parser.add_argument("model", choices=RECIPES)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path, metavar="OUT")
    parser.add_argument("--paintings", type=Path, help="for adain: pictures to learn styles from")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--every", type=int, default=250, help="checkpoints and previews, in steps")
    parser.add_argument("--seconds", type=float, help="in place of --steps")
    parser.add_argument("--init", type=Path, help="a model whose parameters to begin with")
    for name, kind in CHANGED.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, help="in place of the recipe's")
    options = parser.parse_args()
    folder = options.folder / options.model
    folder.mkdir(parents=True, exist_ok=True)
    if options.model in ("styles", "films"):
        styles: Any = {name: samples.path(name) for name in samples.style_names()}
        styles["mosaic"] = mosaic(640, 512)
    elif options.model == "johnson":
        styles = {"night": samples.path("night")}
    elif options.paintings is None:
        parser.error("adain learns from paintings: give --paintings FOLDER")
    else:
        styles = [options.paintings]
    changed = {name: value for name in CHANGED if (value := getattr(options, name)) is not None}

    def train(steps: int) -> None:
        train_model(
            options.photographs,
            styles,
            folder / f"{options.model}.safetensors",
            files=files(folder, options.every, previews=options.seconds is None),
            steps=steps,
            licence="CC-BY-4.0",  # that of VGG19 and of vgg19-lite, which they learned from
            init=options.init,
            **RECIPES[options.model] | changed,
        )

    if options.seconds is None:
        train(options.steps)
    else:
        within(options.seconds, folder, train)


if __name__ == "__main__":
    main()

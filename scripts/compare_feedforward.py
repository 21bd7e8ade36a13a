"""What a trained transformer reaches, against optimisation (Johnson et al. 2016, figure 5).

    python scripts/compare_feedforward.py MODEL PICTURE... [--size 256] [--evaluations 200]

For each picture and each of the model's styles that `nst_jax.samples` has: the objective that the
model was trained on, of its result in one pass, and of optimisation after so many evaluations.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nst_jax as nst
from nst_jax import images

AT = (1, 10, 25, 50, 100, 200)


def main() -> None:
    """Print a row for each style, the geometric mean over the pictures, and one for all."""
    parser = argparse.ArgumentParser(description="One pass against optimisation.")
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--evaluations", type=int, default=200)
    options = parser.parse_args()
    model = nst.load(options.model)
    told = model.training
    network = nst.load_network("vgg19-lite")
    at = [n for n in AT if n <= options.evaluations]
    print("| style | one pass | " + " | ".join(f"{n} evaluations" for n in at) + " |")
    print("|---|--:|" + "--:|" * len(at))
    every = []
    for style in (s for s in model.styles if s in nst.samples.style_names()):
        rows = [
            row(model, told, network, picture, style, options.size, at)
            for picture in options.pictures
        ]
        every += rows
        show(style, rows)
    show("all", every)


def row(
    model: Any, told: Any, network: Any, picture: str, style: str, size: int, at: list[int]
) -> list[float]:
    """The objective of one pass, and after evaluations."""
    weights = {k: told[k] for k in ("content_weight", "style_weight", "tv_weight")}
    layers = {k: told[k] for k in ("content_layers", "style_layers")}
    result = nst.stylize(
        picture,
        nst.samples.path(style),
        network=network,
        size=size,
        style_size=told["style_size"],
        iterations=at[-1],
        progress=False,
        **weights,
        **layers,
    )
    content, painting = (
        images.read(source, size=side).rgb
        for source, side in ((picture, size), (nst.samples.path(style), told["style_size"]))
    )
    spec = nst.Objective(tuple(told["content_layers"]), tuple(told["style_layers"]))
    targets = nst.Targets(
        nst.content_targets(spec, network, content), nst.style_targets(spec, network, painting)
    )
    image = jnp.asarray(model(content, style).image)
    terms = nst.Weights(*weights.values(), **layers)
    total, _ = nst.objective(spec, image, network, targets, terms)
    totals = np.minimum.accumulate(result.losses["total"])
    return [float(total), *(float(totals[np.searchsorted(result.evaluations, n)]) for n in at)]


def show(name: str, rows: list[list[float]]) -> None:
    """Geometric means, relative to the start of optimisation."""
    means = np.exp(np.log(np.array(rows)).mean(0))
    print(f"| {name} | " + " | ".join(f"{v / means[1]:.3f}" for v in means) + " |", flush=True)


if __name__ == "__main__":
    main()

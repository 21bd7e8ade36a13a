"""What a trained model reaches, against optimisation (Johnson et al. 2016, figure 5).

    python scripts/compare_feedforward.py MODEL PICTURE... [--size 256] [--evaluations 200]

For each picture and style (a transformer's own that `nst_jax.samples` has too; all of those for a
model that takes any): the objective that the model was trained on, of its result in one pass, and
of optimisation from the picture after so many evaluations. For AdaIN its content is the picture's
features, not those that its decoder is given.
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
from nst_jax.sheet import contact_sheet

AT = (1, 10, 25, 50, 100, 200)


def main() -> None:
    """Print a row for each style, the geometric mean over the pictures, and one for all."""
    parser = argparse.ArgumentParser(description="One pass against optimisation.")
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--sheet", type=Path, help="only draw, and lay the pictures out there")
    options = parser.parse_args()
    model = nst.load(options.model)
    styles = [name for name in nst.samples.style_names() if name in (model.styles or (name,))]
    if options.sheet:
        rows = [
            [images.read(picture, size=options.size).rgb]
            + [
                model(picture, s if model.styles else nst.samples.path(s), size=options.size).image
                for s in styles
            ]
            for picture in options.pictures
        ]
        contact_sheet(rows, columns=["", *styles]).save(options.sheet, quality=92)
        return
    network = nst.load_network("vgg19-lite")
    at = [n for n in AT if n <= options.evaluations]
    print("| style | one pass | " + " | ".join(f"{n} evaluations" for n in at) + " |")
    print("|---|--:|" + "--:|" * len(at))
    every: dict[str, list[list[float]]] = {"total": [], "content": [], "style": []}
    for style in styles:
        found = [reached(model, network, p, style, options.size, at) for p in options.pictures]
        show(style, geometric_mean([terms["total"] for terms in found]))
        for name, rows in every.items():
            rows += [terms[name] for terms in found]
    show("all", geometric_mean(every["total"]))
    starts = np.array(every["total"])[:, 1:2]
    for name in ("content", "style"):
        # A content loss may be zero: the plain mean.
        show(f"all: {name} alone", (np.array(every[name]) / starts).mean(0))


def reached(
    model: Any, network: Any, picture: str, style: str, size: int, at: list[int]
) -> dict[str, list[float]]:
    """The objective and its terms, of one pass, and after evaluations."""
    told = model.training
    weights = {k: told[k] for k in ("content_weight", "style_weight", "tv_weight")}
    layers = {k: told[k] for k in ("content_layers", "style_layers")}
    statistic = "gram" if model.styles else "moments"
    painting_path = nst.samples.path(style)
    result = nst.stylize(
        picture,
        painting_path,
        preset="gatys",
        network=network,
        size=size,
        style_size=told["style_size"],
        statistic=statistic,
        iterations=at[-1],
        progress=False,
        **weights,
        **layers,
    )
    content, painting = (
        images.read(source, size=side).rgb
        for source, side in ((picture, size), (painting_path, told["style_size"]))
    )
    spec = nst.Objective(
        tuple(told["content_layers"]), tuple(told["style_layers"]), statistic=statistic
    )
    targets = nst.Targets(
        nst.content_targets(spec, network, content), nst.style_targets(spec, network, painting)
    )
    drawn = model(content, style if model.styles else painting)
    terms = nst.Weights(*weights.values(), **layers)
    _, once = nst.objective(spec, jnp.asarray(drawn.image), network, targets, terms)
    # Of the best point so far, as the optimiser would give it.
    totals = result.losses["total"]
    best = [int(np.argmin(totals[: np.searchsorted(result.evaluations, n) + 1])) for n in at]
    return {
        name: [float(once[name]), *(float(result.losses[name][i]) for i in best)]
        for name in ("total", "content", "style")
    }


def geometric_mean(rows: list[list[float]]) -> np.ndarray:
    """Over pictures, relative to the start of optimisation."""
    means = np.exp(np.log(np.array(rows)).mean(0))
    return means / means[1]


def show(name: str, values: np.ndarray) -> None:
    """A row of the table."""
    print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + " |", flush=True)


if __name__ == "__main__":
    main()

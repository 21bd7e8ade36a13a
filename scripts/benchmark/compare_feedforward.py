"""What a trained model reaches, against optimisation (Johnson et al. 2016, figure 5).

    python scripts/benchmark/compare_feedforward.py MODEL PICTURE... [--start noise]

For each picture and style (a transformer's own that `nst_jax.samples` has too; all of those for a
model that takes any): the objective that the model was trained on, of its result in one pass, of
the picture itself, and of optimisation after so many evaluations. For AdaIN its content is the
picture's features, not those that its decoder is given.

`--start picture` is the preset `gatys`: L-BFGS from the picture, whose values may leave what can be
shown. `--start noise` is the paper's baseline (section 4.1), PyTorch's L-BFGS from white noise,
whose result is clipped after each step to the range of pictures, in which the network's are too.
`--start noise-bounded` has the range as a bound of L-BFGS-B in place of that.
"""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nst_jax as nst
from nst_jax.losses import registry
from nst_jax.losses.content import Content
from nst_jax.losses.smoothness import TotalVariation
from nst_jax.losses.style import Style
from nst_jax.pictures import reading
from nst_jax.pictures.sheet import contact_sheet

AT = (10, 25, 50, 100, 200)


def main() -> None:
    """Print a row for each style, the geometric mean over the pictures, and one for all."""
    parser = argparse.ArgumentParser(description="One pass against optimisation.")
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--network", default="vgg19-lite", help="the one that it was trained with")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--start", choices=STARTS, default="picture")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--sheet", type=Path, help="only draw, and lay the pictures out there")
    options = parser.parse_args()
    model = nst.load(options.model)
    styles = [name for name in nst.samples.style_names() if name in (model.styles or (name,))]
    if options.sheet:
        styles = model.styles or styles
        rows = [
            [reading.read(picture, size=options.size).rgb]
            + [
                model(picture, s if model.styles else nst.samples.path(s), size=options.size).image
                for s in styles
            ]
            for picture in options.pictures
        ]
        contact_sheet(rows, columns=["", *styles]).save(options.sheet, quality=88)
        return
    network = nst.load_network(options.network)
    at = [n for n in AT if n <= options.evaluations]
    minimize = STARTS[options.start]
    columns = ["one pass", "the picture", *(f"{n} evaluations" for n in at)]
    print(f"| style | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}", flush=True)
    every: dict[str, list[list[float]]] = {"total": [], "content": [], "style": []}
    for style in styles:
        found = []
        for picture in options.pictures:
            problem = Problem(model, network, picture, style, options.size)
            tried = minimize(problem, at[-1]) if at else {}
            # Of the best point so far, as an optimiser would give it.
            best = [int(np.argmin(tried["total"][:n])) for n in at]
            ends = problem.terms(problem.drawn), problem.terms(problem.content)
            found.append(
                {k: [e[k] for e in ends] + [float(tried[k][i]) for i in best] for k in every}
            )
        show(style, geometric_mean([terms["total"] for terms in found]))
        for name, rows in every.items():
            rows += [terms[name] for terms in found]
    show("all", geometric_mean(every["total"]))
    pictures = np.array(every["total"])[:, 1:2]
    for name in ("content", "style"):
        # A content loss may be zero: the plain mean.
        show(f"all: {name} alone", (np.array(every[name]) / pictures).mean(0))


class Problem:
    """A picture, a style, and the objective that the model was trained on."""

    def __init__(self, model: Any, network: Any, picture: str, style: str, size: int):
        told = model.training
        self.weights = {k: told[k] for k in ("content_weight", "style_weight", "tv_weight")}
        self.layers = {k: told[k] for k in ("content_layers", "style_layers")}
        self.statistic: Any = "gram" if model.styles else "moments"
        self.network, self.style_size = network, told["style_size"]
        self.painting = reading.read(nst.samples.path(style), size=self.style_size).rgb
        self.content = reading.read(picture, size=size).rgb
        self.drawn = model(self.content, style if model.styles else self.painting).image
        layers = [tuple(told[f"{name}_layers"]) for name in ("content", "style")]
        statistic = registry.statistic(self.statistic)
        self.spec = nst.Objective(
            (Content(layers[0]), Style(layers[1], statistic), TotalVariation())
        )
        scene = nst.Scene(network, jnp.asarray(self.content), (jnp.asarray(self.painting),))
        self.targets = nst.targets_of(self.spec, scene)

    def pull(self, image: np.ndarray) -> tuple[tuple[Any, dict[str, Any]], Any]:
        """The objective with its terms, and its gradient."""
        weights = {term.name: self.weights[f"{term.name}_weight"] for term in self.spec.terms}
        layers = {k.removesuffix("_layers"): v for k, v in self.layers.items()}
        terms = nst.Weights(weights, layers)
        return _pull(self.spec, jnp.asarray(image), self.network, self.targets, terms)

    def terms(self, image: np.ndarray) -> dict[str, float]:
        """The terms of the objective."""
        return {k: float(v) for k, v in self.pull(image)[0][1].items()}


@partial(jax.jit, static_argnums=0)
def _pull(spec: Any, image: Any, *data: Any) -> Any:
    return jax.value_and_grad(lambda x: nst.objective(spec, x, *data), has_aux=True)(image)


def from_picture(problem: Problem, evaluations: int) -> Mapping[str, np.ndarray]:
    """The terms at each evaluation of the preset `gatys`."""
    result = nst.stylize(
        problem.content,
        problem.painting,
        preset="gatys",
        network=problem.network,
        size=None,
        style_size=problem.style_size,
        statistic=problem.statistic,
        iterations=evaluations,
        progress=False,
        **problem.weights,
        **problem.layers,
    )
    return result.losses


def white_noise(problem: Problem) -> np.ndarray:
    """A flat picture in 0..255, the same for all of a size."""
    return np.random.default_rng(0).uniform(0, 255, problem.content.size)


class Traced:
    """The objective of a flat picture in 0..255 with its gradient; keeps the terms."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.rows: list[dict[str, float]] = []

    def __call__(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """At `z`, of any dtype."""
        image = (z.reshape(self.problem.content.shape) / 255).astype(np.float32)
        (total, terms), gradient = self.problem.pull(image)
        self.rows.append({k: float(v) for k, v in terms.items()})
        return float(total), np.asarray(gradient, z.dtype).ravel() / 255

    @property
    def terms(self) -> Mapping[str, np.ndarray]:
        """At each evaluation."""
        return {k: np.array([row[k] for row in self.rows]) for k in self.rows[0]}


def from_noise(problem: Problem, evaluations: int) -> Mapping[str, np.ndarray]:
    """The terms at each evaluation of L-BFGS from white noise, clipped after each step."""
    import torch  # an extra of the package

    torch.set_num_threads(1)  # its threads and JAX's would wait for each other
    value = Traced(problem)
    x = torch.tensor(white_noise(problem), dtype=torch.float32, requires_grad=True)
    # One evaluation a step.
    optimizer = torch.optim.LBFGS([x], max_iter=1, tolerance_grad=0, tolerance_change=0)

    def closure() -> float:
        total, gradient = value(x.detach().numpy())
        x.grad = torch.from_numpy(gradient)
        return total

    for _ in range(evaluations):
        optimizer.step(closure)
        with torch.no_grad():
            x.clamp_(0, 255)
    return value.terms


def from_noise_bounded(problem: Problem, evaluations: int) -> Mapping[str, np.ndarray]:
    """The terms at each evaluation of L-BFGS-B from white noise."""
    value = Traced(problem)
    optimize.minimize(
        value,
        white_noise(problem),
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(0, 255),
        options={"maxfun": evaluations, "maxiter": evaluations, "ftol": 0, "gtol": 0, "maxcor": 20},
    )
    return value.terms


STARTS = {"picture": from_picture, "noise": from_noise, "noise-bounded": from_noise_bounded}


def geometric_mean(rows: list[list[float]]) -> np.ndarray:
    """Over pictures, relative to the pictures themselves."""
    means = np.exp(np.log(np.array(rows)).mean(0))
    return means / means[1]


def show(name: str, values: np.ndarray) -> None:
    """A row of the table."""
    print(f"| {name} | " + " | ".join(f"{v:.4f}" for v in values) + " |", flush=True)


if __name__ == "__main__":
    main()

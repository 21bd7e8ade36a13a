"""How well does a small network stand in for VGG19? Stylize pairs of pictures with both, judge both
by VGG19's own objective, and lay the pictures side by side on one sheet.

Of each pair: V0 is VGG19's `gatys` objective at the content picture, V* after optimising with VGG19
itself, V after as many evaluations with the student, all of unclipped pictures. The share of the
progress that the student makes is log(V0/V) / log(V0/V*): 1 is as good as VGG19, 0 is nothing.

Pictures are kept in the output folder, by the network's digest, and computed once.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from nst_jax.networks.base import Network
from nst_jax.networks.load import load_network
from nst_jax.pictures import reading
from nst_jax.pictures.sheet import contact_sheet
from nst_jax.solvers import loop
from nst_jax.stylizing.presets import PRESETS
from nst_jax.stylizing.problem import Problem, prepare


class Drawn(NamedTuple):
    """A picture as the optimiser left it, (h, w, 3), unclipped, and seconds per evaluation."""

    picture: np.ndarray
    seconds: float


def problem(network: Network, content: np.ndarray, style: np.ndarray, iterations: int) -> Problem:
    """The `gatys` preset's minimisation with a network."""
    settings = replace(PRESETS["gatys"], iterations=iterations)
    return prepare(settings, network, content, style)


def draw(task: Problem, iterations: int) -> Drawn:
    """Optimise, without bars and files."""
    outcome = loop.run(
        task.fn,
        task.optimizer,
        task.x,
        task.args,
        learning_rate=task.learning_rate,
        limits=loop.Limits(iterations),
    )
    seconds = outcome.run_seconds / iterations
    return Drawn(np.asarray(outcome.x) / task.fn.units, seconds)


def cached(path: Path, task: Problem, iterations: int) -> Drawn:
    """As `draw`, but from `path` if it has been done before."""
    if path.exists():
        with np.load(path) as kept:
            return Drawn(kept["picture"], float(kept["seconds"]))
    drawn = draw(task, iterations)
    np.savez(path, picture=drawn.picture, seconds=np.float64(drawn.seconds))
    return drawn


def value(task: Problem, picture: np.ndarray) -> float:
    """The objective of `task` at a picture."""
    return float(task.fn(jnp.asarray(picture) * task.fn.units, task.args)[0])


def main(argv: list[str] | None = None) -> None:
    """Compare, print a line per pair, write `figures.json` and `sheet.png`."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--pairs", nargs="+", required=True, metavar="CONTENT:STYLE", help="pictures")
    p.add_argument("--folder", type=Path, default=Path(), help="where the pictures are")
    p.add_argument("--teacher", default="vgg19", help="name or weight file")
    p.add_argument("--student", default="vgg19-lite", help="name or weight file")
    p.add_argument("--sizes", type=int, nargs="+", default=[256, 384], help="long sides")
    p.add_argument("--iterations", type=int, default=300, help="evaluations")
    p.add_argument("--output", type=Path, required=True, help="a folder")
    args = p.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    teacher, student = load_network(args.teacher), load_network(args.student)

    figures, rows = [], []
    for size in args.sizes:
        for pair in args.pairs:
            content, style = (
                reading.read(args.folder / name, size=size).rgb for name in pair.split(":")
            )
            truth = problem(teacher, content, style, args.iterations)
            name = f"{Path(pair.split(':')[0]).stem}-{Path(pair.split(':')[1]).stem}-{size}"
            mine = problem(student, content, style, args.iterations)
            best, own = (
                cached(
                    args.output / f"{name}-{args.iterations}-{network.digest[7:15]}.npz",
                    task,
                    args.iterations,
                )
                for network, task in ((teacher, truth), (student, mine))
            )
            start, reached, possible = (
                value(truth, picture) for picture in (content, own.picture, best.picture)
            )
            share = np.log(start / reached) / np.log(start / possible)
            line = {
                "pair": pair,
                "size": size,
                "V0": start,
                "V": reached,
                "V*": possible,
                "share": float(share),
                "seconds": own.seconds,
                "teacher_seconds": best.seconds,
            }
            print(json.dumps(line), flush=True)
            figures.append(line)
            rows.append(
                (f"{name.replace('-', ', ')}, share {share:.2f}", [best.picture, own.picture])
            )
            names, pictures = zip(*rows, strict=True)
            sheet = contact_sheet(pictures, columns=[teacher.name, student.name], beside=names)
            sheet.save(args.output / "sheet.png")
    shares = [line["share"] for line in figures]
    summary = {"median": float(np.median(shares)), "worst": min(shares), "pairs": figures}
    (args.output / "figures.json").write_text(json.dumps(summary, indent=1))
    print(f"median {summary['median']:.2f}, worst {summary['worst']:.2f}")


if __name__ == "__main__":
    main()

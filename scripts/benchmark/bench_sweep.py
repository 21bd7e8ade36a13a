"""The benchmark's section `sweep`: lanes side by side against single runs and commands."""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench_sides import pictures
from bench_tools import Row, child, command_seconds, in_turn, median_row, peak_rss

LANES = 8
DEVICES = (1, 2, 4, 8)
IN_FLIGHT = (4, 8, 16)  # with fewer, compiling sets the peak


def sweep_section(
    args: argparse.Namespace, weights: Path, limit: Callable[[Any], Any]
) -> Iterator[Row]:
    """Time and memory of lanes: beside single runs, separate commands, more devices, more lanes."""
    for size in args.sweep_sizes:
        yield from _beside_single_runs(args, weights, size, LANES, limit(1.05))
    yield _beside_commands(args, weights, limit(0.6))
    yield from _memory(args, weights)
    yield from _devices(args, weights)


def _sweep(args: argparse.Namespace, network: Any, size: int, lanes: int, **options: Any) -> Any:
    import nst_jax as nst

    content, style = pictures(args, size)
    style_weights = np.geomspace(1e2, 1e4, lanes)
    return nst.sweep(
        content,
        style,
        network=network,
        progress=False,
        style_weight=style_weights,
        **_settings(args),
        **options,
    )


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The preset `default`, with few evaluations at each scale."""
    evaluations = args.sweep_evaluations
    return {"iterations": evaluations, "coarse_iterations": evaluations, "size": None}


def _beside_single_runs(
    args: argparse.Namespace, weights: Path, size: int, lanes: int, limit: float | None
) -> list[Row]:
    import nst_jax as nst

    network = nst.load_network(weights)
    content, style = pictures(args, size)

    def single() -> None:
        nst.stylize(content, style, network=network, progress=False, **_settings(args))

    runs = {
        "one lane of a single run": single,
        f"{lanes} lanes side by side": partial(_sweep, args, network, size, lanes, in_flight=lanes),
        f"{lanes} lanes as chosen": partial(_sweep, args, network, size, lanes),
    }
    for run in runs.values():
        run()
    taken = in_turn(runs, args.sweep_rounds)
    (_, alone), *others = taken.items()
    what = f"{weights.stem} at {size} px, {args.sweep_evaluations} evaluations"
    rows = [median_row("sweep", f"{what}: a single run", alone, "s")]
    for name, seconds in others:
        ratios = [a / (lanes * b) for a, b in zip(seconds, alone, strict=True)]
        bound = limit if name.endswith("chosen") else None
        rows.append(
            median_row("sweep", f"{what}: {name} / {lanes} single runs", ratios, "", limit=bound)
        )
    rate = lanes / float(np.median(taken[f"{lanes} lanes as chosen"]))
    return [*rows, Row("sweep", f"{what}: lanes a second", rate, "1/s")]


def _beside_commands(args: argparse.Namespace, weights: Path, limit: float | None) -> Row:
    size, evaluations = str(args.sweep_memory_size), str(args.sweep_evaluations)
    common = ["--size", size, "--iterations", evaluations, "--coarse-iterations", evaluations]
    common += ["--network", str(weights.resolve())]
    files = [str(args.content), str(args.style)]
    values = [f"{w:.6g}" for w in np.geomspace(1e2, 1e4, LANES)]
    with tempfile.TemporaryDirectory() as folder:

        def run(command: list[str], *more: str) -> float:
            # Each command compiles for itself: no cache.
            with tempfile.TemporaryDirectory() as cache:
                return command_seconds(
                    ["-m", "nst_jax", *command, *common, *more], JAX_COMPILATION_CACHE_DIR=cache
                )

        out = Path(folder)
        separate = sum(
            run(["stylize", *files, "-o", str(out / f"{v}.png")], "--style-weight", v)
            for v in values
        )
        together = run(
            ["sweep", *files, "-o", str(out / "sweep")], "--style-weight", ",".join(values)
        )
    note = f"{together:.3g} s against {separate:.3g} s, each with start-up and compilation"
    what = f"{LANES} lanes at {size} px, {evaluations} evaluations / {LANES} separate commands"
    return Row("sweep", what, together / separate, limit=limit, note=note)


def _child(args: argparse.Namespace, weights: Path, **options: Any) -> dict[str, float]:
    given = {"size": args.sweep_memory_size, "iterations": 3, "weights": str(weights)} | options
    arguments = [__file__, "--content", str(args.content), "--style", str(args.style)]
    return child([*arguments, "--child", json.dumps(given)])


def _memory(args: argparse.Namespace, weights: Path) -> list[Row]:
    """Peak memory by lanes in flight, and of many lanes in few."""
    at = f"at {args.sweep_memory_size} px"
    peaks = {n: _child(args, weights, lanes=n, in_flight=n)["peak"] / 2**20 for n in IN_FLIGHT}
    rows = [
        Row("sweep", f"peak memory {at}, {n} in flight", mib, "MiB") for n, mib in peaks.items()
    ]
    most = IN_FLIGHT[-1]
    steps = [(peaks[b] - peaks[a]) / (b - a) for a, b in itertools.pairwise(IN_FLIGHT)]
    rows.append(median_row("sweep", f"memory of one more lane {at}", steps, "MiB"))
    many = _child(args, weights, lanes=64, in_flight=most)["peak"] / 2**20
    what = f"peak memory {at}, 64 lanes with {most} in flight / {most} lanes"
    return [*rows, Row("sweep", what, many / peaks[most], limit=1.1)]


def _devices(args: argparse.Namespace, weights: Path) -> list[Row]:
    """Time of a lane by virtual devices, which share this machine's cores."""
    rows = []
    for count in DEVICES:
        found = _child(args, weights, lanes=LANES, in_flight=1, iterations=10, devices=count)
        what = f"{LANES} lanes at {args.sweep_memory_size} px, {count} virtual devices"
        rows.append(Row("sweep", f"{what}: one lane's evaluation", found["evaluation"], "s"))
        rows.append(Row("sweep", f"{what}: compilation", found["compile"], "s"))
    return rows


def _measure(args: argparse.Namespace) -> dict[str, float]:
    """In a process of its own: one sweep, its time and the peak of memory."""
    import jax

    options = json.loads(args.child)
    size, weights, lanes = (options.pop(k) for k in ("size", "weights", "lanes"))
    options["devices"] = jax.devices()[: options.pop("devices", 1)]
    args.sweep_evaluations = iterations = options.pop("iterations")
    began = time.perf_counter()
    found = _sweep(args, weights, size, lanes, **options)
    return {
        "peak": peak_rss(),
        "whole": time.perf_counter() - began,
        "compile": sum(r.compile_seconds for r in found),
        "evaluation": sum(r.run_seconds for r in found) / lanes / iterations,
    }


def main() -> None:
    """One measurement of `_child`."""
    parser = argparse.ArgumentParser()
    for name in ("content", "style", "json"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--child")
    args = parser.parse_args()
    count = json.loads(args.child).get("devices", 1)
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count}"
    args.json.write_text(json.dumps(_measure(args)))


if __name__ == "__main__":
    main()

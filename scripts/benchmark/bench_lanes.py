"""The section `lanes` of the benchmark: what lanes side by side gain on an accelerator.

    python scripts/benchmark/benchmark.py --sections lanes --threads 16

Sixteen lanes beside sixteen single runs, in float32, TF32 and bfloat16; how the rate grows with the
lanes in flight; and the memory that was estimated beside the memory that was used. About three
minutes on an H100, most of them compilation.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from bench_sides import pictures
from bench_tools import Row, child, in_turn, median_row

LANES = 16
LIMIT = 0.5
_EVALUATIONS = 50
_ROUNDS = 3
_WHERE = "16 lanes / 16 single runs"
# Precision and size of what is compared; the first has the limit.
_COMPARED = (
    ("float32", 256),
    ("tf32", 256),
    ("tf32", 512),
    ("bfloat16", 512),
)
_IN_FLIGHT = (4, 64)  # in TF32 at 256 px
_MEASURED = (("float32", 256), ("tf32", 512), ("bfloat16", 512))


def lanes_section(args: argparse.Namespace, weights: Path) -> Iterator[Row]:
    """All of it, on a GPU or TPU; elsewhere a row that says that there is none."""
    if jax.default_backend() == "cpu":
        yield Row("lanes", _WHERE, note="no GPU or TPU here")
        return
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = cache  # of the processes that measure memory
        for precision, size in _COMPARED:
            yield from _beside_single_runs(args, weights, precision, size)
        yield from _by_lanes(args, weights)
        for precision, size in _MEASURED:
            yield from _memory(args, weights, precision, size)


def _options(precision: str) -> dict[str, Any]:
    common = {"preset": "gatys", "size": None, "progress": False}
    return common | {"precision": precision, "iterations": _EVALUATIONS}


def _sweep(args: argparse.Namespace, network: Any, side: int, lanes: int, **options: Any) -> Any:
    import nst_jax as nst

    content, style = pictures(args, side)
    values = np.geomspace(1e2, 1e4, lanes)
    return nst.sweep(content, style, network=network, style_weight=values, **options)


def _beside_single_runs(
    args: argparse.Namespace, weights: Path, precision: str, size: int
) -> list[Row]:
    import nst_jax as nst

    content, style = pictures(args, size)
    options = _options(precision)
    runs = {
        "single": partial(nst.stylize, content, style, network=weights, **options),
        "lanes": partial(_sweep, args, weights, size, LANES, in_flight=LANES, **options),
    }
    for run in runs.values():
        run()
    taken = in_turn(runs, _ROUNDS)
    ratios = [a / (LANES * b) for a, b in zip(taken["lanes"], taken["single"], strict=True)]
    what = f"{size} px, {precision}, {_EVALUATIONS} evaluations"
    limit = LIMIT if (precision, size) == _COMPARED[0] else None
    return [
        median_row("lanes", f"{what}: a single run", taken["single"], "s"),
        median_row("lanes", f"{what}: {_WHERE}", ratios, "", limit=limit),
        median_row("lanes", f"{what}: lanes a second", [LANES / s for s in taken["lanes"]], "1/s"),
    ]


def _by_lanes(args: argparse.Namespace, weights: Path) -> Iterator[Row]:
    """The rate by the lanes in flight, each batch full."""
    for count in _IN_FLIGHT:
        run = partial(
            _sweep, args, weights, 256, max(count, LANES), in_flight=count, **_options("tf32")
        )
        run()
        (seconds,) = in_turn({"lanes": run}, _ROUNDS).values()
        rates = [max(count, LANES) / s for s in seconds]
        yield median_row("lanes", f"256 px, tf32: lanes a second, {count} in flight", rates, "1/s")


def _memory(args: argparse.Namespace, weights: Path, precision: str, size: int) -> list[Row]:
    """What was estimated / what was used, in a process of its own."""
    given = json.dumps({"precision": precision, "size": size, "weights": str(weights.resolve())})
    files = ["--content", str(args.content), "--style", str(args.style)]
    found = child([__file__, *files, "--child", given])
    what = f"{size} px, {precision}, {LANES} lanes: memory estimated / used"
    note = f"{found['estimate'] / 2**30:.2f} of {found['used'] / 2**30:.2f} GiB"
    return [Row("lanes", what, found["estimate"] / found["used"], note=note)]


def _measure(args: argparse.Namespace) -> dict[str, float]:
    """In a process of its own: the estimate for `LANES` lanes, and the peak of memory."""
    from nst_jax.networks.base import Options
    from nst_jax.networks.load import load_network
    from nst_jax.stylizing import memory
    from nst_jax.stylizing.presets import resolve
    from nst_jax.stylizing.terms import layers

    given = json.loads(args.child)
    precision, size = given["precision"], given["size"]
    options = _options(precision) | {"iterations": 5}
    network = load_network(given["weights"], Options(precision=precision))
    settings = resolve("gatys", iterations=5, precision=precision)
    of = memory.Size(size, size, ((size, size),))
    estimated = memory.estimate(settings, network, layers(settings), of, LANES)
    _sweep(args, given["weights"], size, LANES, in_flight=LANES, **options)
    used = jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    return {"estimate": estimated, "used": used}


def main() -> None:
    """One measurement of `_memory`."""
    parser = argparse.ArgumentParser()
    for name in ("content", "style", "json"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--child")
    args = parser.parse_args()
    args.json.write_text(json.dumps(_measure(args)))


if __name__ == "__main__":
    main()

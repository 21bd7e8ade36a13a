"""Peak memory by size, beside the estimate that `nst_jax.stylizing.memory` goes by.

    python scripts/benchmark/benchmark.py --sections large --large-sizes 512,3840x2160

Each size runs in a fresh process: the preset gatys with its whole history in place, ended after a
few evaluations.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

# As bench_tools does for children: this checkout's package, whatever else is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench_tools import Row, child, peak_rss

STYLE_SIZE = 512


def large_section(args: argparse.Namespace, weights: Path) -> list[Row]:
    """Estimate and peak at each size; tiles as they are chosen, or as `--large-tile` says."""
    rows: list[Row] = []
    for size in args.large_sizes:
        options = {
            "--weights": weights.resolve(),
            "--size": size,
            "--evaluations": args.large_evaluations,
            "--content": args.content,
            "--style": args.style,
        }
        options |= {} if args.large_tile is None else {"--tile": args.large_tile}
        found = child([__file__, *(str(part) for pair in options.items() for part in pair)])
        tile = f"tile {found['tile']:.0f}" if found["tile"] else "no tiles"
        what = f"{size} px, {tile}, history {found['history']:.0f}"
        own = found["peak"] - found["imported"]
        rows += [
            Row("large", f"{what}: peak of the process", found["peak"] / 2**20, "MiB"),
            Row("large", f"{what}: peak less imports", own / 2**20, "MiB"),
            Row("large", f"{what}: estimate", found["estimate"] / 2**20, "MiB"),
            Row(
                "large", f"{what}: estimate, too little by", own / found["estimate"] - 1, limit=0.25
            ),
            Row("large", f"{what}: estimate, too much by", found["estimate"] / own - 1, limit=0.25),
            Row("large", f"{what}: one evaluation", found["seconds"], "s"),
        ]
    return rows


def _measure(args: argparse.Namespace) -> dict[str, float]:
    from nst_jax.networks.load import load_network
    from nst_jax.pictures import reading, resizing
    from nst_jax.stylizing import api, memory

    imported = peak_rss()
    width, height = (int(side) for side in (args.size.split("x") * 2)[:2])
    content = resizing.resize(reading.read(args.content).rgb, (height, width))
    style = reading.read(args.style, size=STYLE_SIZE).rgb

    def stop(now: Any) -> bool:
        return now.evaluations >= args.evaluations

    options: dict[str, Any] = {"size": None, "tile": args.tile, "callback": stop}
    result = api.stylize(
        content, style, preset="gatys", network=args.weights, progress=False, **options
    )
    peak, settings = peak_rss(), result.settings
    network = load_network(args.weights, layers=settings.layers)
    size = memory.Size(height, width, (style.shape[:2],))
    return {
        "peak": peak,
        "imported": imported,
        "estimate": memory.estimate(settings, network, settings.layers, size),
        "tile": settings.tile or 0,
        "history": settings.pairs,
        "seconds": result.run_seconds / int(result.evaluations[-1]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--weights", "--size", "--content", "--style"):
        parser.add_argument(name, required=True)
    parser.add_argument("--evaluations", type=int, required=True)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.json.write_text(json.dumps(_measure(arguments)))

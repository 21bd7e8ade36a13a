"""The section `folder` of the benchmark: the command `nst-jax apply` on a folder of pictures."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_sides import pictures
from bench_tools import Row, child, median_row, peak_rss
from PIL import Image

_FEW, _MANY = 4, 24  # pictures; their difference in time leaves out the start
_MODELS = {"styles": "night", "anystyle": "style.png"}


def folder_section(args: argparse.Namespace) -> list[Row]:
    """Pictures a second, read from PNG and written to PNG, and the peak of memory."""
    rows = []
    size = args.feedforward_size
    content, style = (Image.fromarray(np.uint8(x * 255)) for x in pictures(args, size))
    with tempfile.TemporaryDirectory() as place:
        style.save(Path(place) / "style.png")
        for count in (_FEW, _MANY):
            (Path(place) / str(count)).mkdir()
            for number in range(count):
                content.save(Path(place) / str(count) / f"{number}.png")
        for model, name in _MODELS.items():
            name = str(Path(place) / name) if name.endswith(".png") else name
            command = ["--place", place, "--model", model, "--style", name]
            rates, peaks = [], []
            for _ in range(args.repeats):
                few, many = (child([__file__, *command, "--count", str(n)]) for n in (_FEW, _MANY))
                rates.append((_MANY - _FEW) / (many["seconds"] - few["seconds"]))
                peaks.append(many["peak"] / 2**20)
            what = f"{size} px: {model}"
            rows.append(median_row("folder", f"{what}, pictures a second", rates, "1/s"))
            rows.append(median_row("folder", f"{what}, peak memory", peaks, "MiB"))
    return rows


def main() -> None:
    """One command, in a process of its own."""
    parser = argparse.ArgumentParser()
    for name in ("place", "model", "style", "count"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        folder = str(Path(args.place) / args.count)
        sys.argv = ["nst-jax", "apply", args.model, folder, "-o", out, "--style", args.style]
        sys.argv.append("--quiet")
        from nst_jax.cli.main import run

        began = time.perf_counter()
        try:
            run()
        except SystemExit as end:
            if end.code:
                raise
        seconds = time.perf_counter() - began
    args.json.write_text(json.dumps({"seconds": seconds, "peak": peak_rss()}))


if __name__ == "__main__":
    main()

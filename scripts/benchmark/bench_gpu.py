"""The section `gpu` of the benchmark: what only a GPU can tell.

    python scripts/benchmark/benchmark.py --sections gpu --threads 16

Frames a second of the networks that draw in one pass; one evaluation in float32, TF32 and bfloat16
beside PyTorch's loop, eager and compiled, and its share of what the GPU makes of a matrix product;
hundreds of evaluations from end to end. Of about ten minutes most is compilation; what is measured
is in the JSON file at once.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bench_feedforward import architectures
from bench_profile import direct_operations
from bench_sides import Ours, Theirs, pictures
from bench_tools import Row, in_turn, median_row

from nst_jax.networks.layers import LAX_PRECISION, activation_dtype

SIZES = (256, 512, 1024)
# Ours, and what PyTorch's side is called.
PRECISIONS: dict[Any, str] = {"float32": "NCHW", "tf32": "tf32", "bfloat16": "bf16"}
_PRODUCT = 8192
_FRAMES = {"512x512": (512, 512), "1920x1080": (1080, 1920)}
_TURN = 10  # evaluations, or frames, of a turn


def gpu_section(args: argparse.Namespace, weights: Path) -> Iterator[Row]:
    """All of it, on a GPU; elsewhere a row that says that there is none."""
    if jax.default_backend() != "gpu":
        yield Row("gpu", "all", note="no GPU here")
        return
    yield from _frames(args)
    rates = {precision: _rate(precision) for precision in PRECISIONS}
    for precision, rate in rates.items():
        what = f"product of {_PRODUCT} x {_PRODUCT}, {precision}"
        yield Row("gpu", what, rate / 1e12, "TFLOP/s", note=jax.devices()[0].device_kind)
    for size in args.gpu_sizes:
        for precision in PRECISIONS:
            yield from _evaluations(args, size, weights, precision, rates[precision])
    yield from _end_to_end(args, weights)


def _rate(precision: Any) -> float:
    """Operations a second of a large product."""
    a = jax.random.normal(jax.random.key(0), (_PRODUCT, _PRODUCT), activation_dtype(precision))
    multiply = jax.jit(partial(jnp.dot, precision=LAX_PRECISION[precision]))

    def turn() -> None:
        jax.block_until_ready([multiply(a, a) for _ in range(_TURN)])

    turn()
    (seconds,) = in_turn({"product": turn}, 3).values()
    return 2 * _PRODUCT**3 * _TURN / float(np.median(seconds))


def _evaluations(
    args: argparse.Namespace, size: int, weights: Path, precision: str, rate: float
) -> list[Row]:
    """Milliseconds of an evaluation, the sides in turn."""
    sides: dict[str, Any] = {"nst_jax": Ours(args, size, weights, precision)}
    first = sides["nst_jax"].first_seconds
    what = f"{size} px, {precision}"
    rows = [Row("gpu", f"{what}: nst_jax, compile and first evaluation", first, "s")]
    if find_spec("torch"):
        kind = PRECISIONS[precision]
        sides["PyTorch eager"] = Theirs(args, size, weights, kind)
        began = time.perf_counter()
        sides["torch.compile"] = Theirs(args, size, weights, kind, compiled=True)
        seconds = time.perf_counter() - began
        name = f"{what}: torch.compile, compile and first evaluation"
        rows.append(Row("gpu", name, seconds, "s"))
    for side in sides.values():
        side.run(_TURN)
    runs = {name: partial(side.run, _TURN) for name, side in sides.items()}
    seconds = in_turn(runs, args.rounds)
    each = {name: [1e3 * s / _TURN for s in values] for name, values in seconds.items()}
    rows += [
        median_row("gpu", f"{what}: {name}, one evaluation", values, "ms")
        for name, values in each.items()
    ]
    ours, *others = each
    for name in others:
        ratios = [a / b for a, b in zip(each[ours], each[name], strict=True)]
        limit = 1.0 if name == "torch.compile" else None
        rows.append(median_row("gpu", f"{what}: {ours} / {name}", ratios, "", limit=limit))
    problem = sides["nst_jax"].problem
    direct = direct_operations(problem.args.network, problem.fn.spec.layers, size)
    share = direct / rate / (float(np.median(each[ours])) / 1e3)
    return [*rows, Row("gpu", f"{what}: direct convolutions at the product's rate / it", share)]


def _end_to_end(args: argparse.Namespace, weights: Path) -> Iterator[Row]:
    """`stylize` as users call it, its programs compiled before; PyTorch's loop as it is."""
    from nst_jax.stylizing import api

    size, evaluations = 512, args.time_evaluations
    content, style = pictures(args, size)
    for preset in ("gatys", "default"):
        options: dict[str, Any] = {"preset": preset, "size": None, "iterations": evaluations}
        draw = partial(api.stylize, content, style, network=weights, progress=False, **options)
        draw()
        began = time.perf_counter()
        result = draw()
        seconds = time.perf_counter() - began
        what = f"{size} px, {evaluations} evaluations: stylize, preset {preset}"
        note = f"loss {result.losses['total'][-1]:.4g}"
        yield Row("gpu", what, seconds, "s", note=note)
    if find_spec("torch"):
        began = time.perf_counter()
        side = Theirs(args, size, weights)
        side.run(evaluations - 1)
        seconds = time.perf_counter() - began
        what = f"{size} px, {evaluations} evaluations: PyTorch eager, float32"
        yield Row("gpu", what, seconds, "s", note=f"loss {side.values[-1]:.4g}")


def _frames(args: argparse.Namespace) -> list[Row]:
    """Of the transformers in bfloat16, one frame after the other, on the device already."""
    from nst_jax.models import stages, transformer

    runs: dict[str, Callable[[], Any]] = {}
    draw = jax.jit(transformer.transform, static_argnums=0)
    blend = jnp.asarray([[0.0, 1.0]])
    networks = architectures() | {"johnson": transformer.Architecture("johnson", styles=2)}
    for network, architecture in networks.items():
        parameters = {
            name: jnp.asarray(value, jnp.bfloat16)
            for name, value in stages.initial(architecture.shapes).items()
        }
        for name, (h, w) in _FRAMES.items():
            frame = jax.random.uniform(jax.random.key(0), (1, h, w, 3))
            one = partial(draw, architecture, parameters, frame, blend)
            runs[f"{name}: {network}, bfloat16"] = partial(_several, one)
    for run in runs.values():
        run()
    return [
        median_row("gpu", what, [_TURN / s for s in seconds], "frames/s")
        for what, seconds in in_turn(runs, args.rounds).items()
    ]


def _several(run: Callable[[], Any]) -> None:
    jax.block_until_ready([run() for _ in range(_TURN)])

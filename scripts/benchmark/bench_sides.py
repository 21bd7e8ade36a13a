"""The two sides of the benchmark: the same objective, pictures and weights in both loops.

Nothing heavy is imported before a side is made, so that a process can hold one of them alone.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_tools import peak_rss


def pictures(args: argparse.Namespace, size: int) -> list[np.ndarray]:
    """Content and style, (size, size, 3) RGB in [0, 1]."""
    from nst_jax.pictures import reading, resizing

    sources = (args.content, args.style)
    return [resizing.cover(reading.read(path).rgb, (size, size)) for path in sources]


class Ours:
    """The preset `gatys` in nst_jax's own loop on the device, after its first evaluation."""

    def __init__(
        self, args: argparse.Namespace, size: int, weights: Path, precision: Any = "float32"
    ):
        from nst_jax.networks.base import Options
        from nst_jax.networks.load import load_network
        from nst_jax.solvers import chunks, solver
        from nst_jax.stylizing.presets import resolve
        from nst_jax.stylizing.problem import prepare

        self.advance, self.chunk_after = solver.advance_jit, chunks.chunk_after
        self.chunk = 1
        content, style = pictures(args, size)
        network = load_network(weights, Options(precision=precision))
        self.problem = prepare(resolve("gatys"), network, content, style)
        self.state = solver.start_jit(self.problem.optimizer, self.problem.x)
        self.values: list[float] = []
        began = time.perf_counter()
        self.run(1)
        self.first_seconds = time.perf_counter() - began

    def run(self, evaluations: int) -> None:
        """Value, gradient and update, that many times, in chunks as long as the loop's."""
        fn, optimizer, _, data, rate = self.problem[:5]
        while evaluations:
            count, began = min(evaluations, self.chunk), time.perf_counter()
            self.state, trace = self.advance(
                fn, optimizer, self.state, data, rate, len(self.values) + count, capacity=64
            )
            self.values.extend(np.asarray(trace.terms["total"])[:count].tolist())
            self.state.x.block_until_ready()
            self.chunk = self.chunk_after((time.perf_counter() - began) / count)
            evaluations -= count


class Theirs:
    """The same objective, pictures and weights in PyTorch's loop, after its first evaluation.

    `kind` is `NCHW` or `channels_last`, both in float32, `tf32` (NCHW) or `bf16` (autocast, in
    channels_last). `compiled` puts the objective and its gradient through `torch.compile`.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        size: int,
        weights: Path,
        kind: str = "NCHW",
        compiled: bool = False,
    ):
        import torch
        import torch_peer

        from nst_jax.files import weightfile

        torch.set_num_threads(args.threads)
        self.tf32 = kind == "tf32"
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.finish: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else _nothing
        file = weightfile.load(weights)
        how = file.preprocessing
        peer = torch_peer.Peer(
            file.tensors,
            file.architecture,
            order=how.order,
            scale=how.scale,
            mean=how.mean,
            std=how.std,
            channels_last=kind in ("channels_last", "bf16"),
            autocast=torch.bfloat16 if kind == "bf16" else None,
            device=device,
        )
        content, style = pictures(args, size)
        loss = peer.objective(content, style)
        if compiled:
            torch.compiler.reset()  # of one function it keeps so many versions, and no more
            loss = torch.compile(loss, dynamic=False)
        self.loop = torch_peer.Loop(loss, peer.picture(content))
        self.values = self.loop.values
        self.run(1)

    def run(self, evaluations: int) -> None:
        """As for `Ours`."""
        import torch

        # float32 means float32, as on our side. Of the whole process: other sides set it, too.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.tf32
        self.loop.run(evaluations)
        self.finish()


def _nothing() -> None:
    pass


def measure_memory(args: argparse.Namespace) -> dict[str, int]:
    """In a process of its own: bytes after the imports, at the peak of one run, of the program."""
    size, evaluations, weights = args.memory_size, args.memory_evaluations[0], Path(args.weights)
    if args.measure_memory == "theirs":
        return _their_memory(args, size, weights, evaluations)
    return _our_memory(args, size, weights, evaluations)


def _their_memory(
    args: argparse.Namespace, size: int, weights: Path, evaluations: int
) -> dict[str, int]:
    import torch

    imported = peak_rss()
    Theirs(args, size, weights).run(evaluations - 1)
    found = {"peak": peak_rss(), "imported": imported}
    if torch.cuda.is_available():
        found["device"] = torch.cuda.max_memory_allocated()
    return found


def _our_memory(
    args: argparse.Namespace, size: int, weights: Path, evaluations: int
) -> dict[str, int]:
    import jax

    from nst_jax.networks.load import load_network
    from nst_jax.solvers import solver
    from nst_jax.stylizing import api
    from nst_jax.stylizing.presets import resolve
    from nst_jax.stylizing.problem import prepare

    imported = peak_rss()
    content, style = pictures(args, size)
    options: dict[str, Any] = {"preset": "gatys", "size": None, "iterations": evaluations}
    api.stylize(content, style, network=weights, progress=False, **options)
    found = {"peak": peak_rss(), "imported": imported}
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        found["device"] = stats["peak_bytes_in_use"]
    problem = prepare(resolve(**options), load_network(weights), content, style)
    state = solver.start_jit(problem.optimizer, problem.x)
    fn, optimizer, _, data, rate = problem[:5]
    advance: Any = solver.advance_jit
    program = advance.lower(fn, optimizer, state, data, rate, 1, capacity=64).compile()
    found["program"] = _bytes(program)
    found["temporaries"] = program.memory_analysis().temp_size_in_bytes
    once = jax.jit(jax.value_and_grad(lambda x, data: fn(x, data)[0]))
    found["evaluation"] = _bytes(once.lower(state.x, data).compile())
    return found


def _bytes(program: Any) -> int:
    """Arguments, outputs and temporaries; donated arguments, which are outputs, count once."""
    needs = program.memory_analysis()
    return (
        needs.argument_size_in_bytes
        + needs.output_size_in_bytes
        - needs.alias_size_in_bytes
        + needs.temp_size_in_bytes
    )

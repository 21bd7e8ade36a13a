"""Where an evaluation's time goes: the convolutions alone, everything else, and the machine's rate.

Everything else includes conv1_1's second forward pass, which the loop makes to save memory.

    python scripts/benchmark/benchmark.py --sections profile
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from bench_sides import Ours
from bench_tools import Row, in_turn, median_row

# Pooling, ReLU, Gram matrices, differences and the optimiser, of an evaluation's time.
OTHERS_LIMIT = 0.15
PRODUCT = 2048
# Passes in one program, so that it is a loop like the optimiser's.
PASSES = 2


class Layer(NamedTuple):
    """A convolution on the way to the deepest layer, and the shape of what it sees."""

    name: str
    conv: Any
    shape: tuple[int, int, int]

    @property
    def operations(self) -> int:
        """Of the direct convolution, value and gradient: multiplications and additions."""
        height, width, inputs = self.shape
        outputs = self.conv.bias[...].shape[0]
        return 2 * 2 * 9 * inputs * outputs * height * width


def profile_section(
    args: argparse.Namespace, weights: Path, on_cpu: Callable[[float], float | None]
) -> list[Row]:
    """Of each size: convolutions alone against the evaluation in the loop."""
    rows: list[Row] = []
    for size in args.sizes:
        side = Ours(args, size, weights)
        layers = _layers(side.problem.args.network, side.problem.fn.spec.layers, size)
        runs: dict[str, Any] = {
            "product": _product(),
            **{layer.name: partial(_pulled, layer.conv, _activations(layer)) for layer in layers},
            "evaluation": partial(side.run, args.turn),
        }
        for run in runs.values():
            run()  # compiles
        seconds = in_turn(runs, args.rounds)
        evaluation = np.array(seconds.pop("evaluation")) / args.turn
        product = np.array(seconds.pop("product"))
        each = {name: np.array(values) / PASSES for name, values in seconds.items()}
        alone = np.sum([*each.values()], axis=0)
        operations = sum(layer.operations for layer in layers)
        rate = 2 * PRODUCT**3 / product
        bound = operations / rate
        row = partial(_row, size)
        rows += [
            row(f"float32 product of {PRODUCT} x {PRODUCT}", rate / 1e9, "GFLOP/s"),
            Row("profile", f"{size} px: direct convolutions", operations / 1e9, "GFLOP"),
            row("these at the product's rate", bound, "s"),
            row("the convolutions alone", alone, "s"),
            *(row(f"of it, {name}", values, "s") for name, values in each.items()),
            row("one evaluation in the loop", evaluation, "s"),
            row("evaluation / direct at the product's rate", evaluation / bound, ""),
            row(
                "everything else / evaluation",
                1 - alone / evaluation,
                "",
                limit=on_cpu(OTHERS_LIMIT),
            ),
        ]
    return rows


def direct_operations(network: Any, wanted: tuple[str, ...], size: int) -> int:
    """Of an evaluation's convolutions, value and gradient: multiplications and additions."""
    return sum(layer.operations for layer in _layers(network, wanted, size))


def _row(size: int, what: str, values: np.ndarray, unit: str, **rest: Any) -> Row:
    return median_row("profile", f"{size} px: {what}", values.tolist(), unit, **rest)


def _layers(network: Any, wanted: tuple[str, ...], size: int) -> list[Layer]:
    """The convolutions of a VGG network, up to the deepest layer that is wanted."""
    names = list(network.widths)
    last = max(map(names.index, wanted))
    found, inputs = [], 3
    for block, convs in enumerate(network.blocks, 1):
        for number, conv in enumerate(convs, 1):
            name, side = f"conv{block}_{number}", size // 2 ** (block - 1)
            if names.index(name) <= last:
                found.append(Layer(name, conv, (side, side, inputs)))
                inputs = network.widths[name]
    return found


def _activations(layer: Layer) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).random(layer.shape, np.float32))


def _product() -> Any:
    a = jnp.asarray(np.random.default_rng(0).random((PRODUCT, PRODUCT), np.float32))
    multiply = jax.jit(partial(jnp.dot, precision=jax.lax.Precision.HIGHEST))
    return lambda: multiply(a, a).block_until_ready()


def _pulled(conv: Any, x: jax.Array) -> None:
    _passes(conv, x).block_until_ready()


@jax.jit
def _passes(conv: Any, x: jax.Array) -> jax.Array:
    """Value and gradient, one after the other, nothing else of the size of the activations."""

    def one(_, carried: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, total = carried
        y, pull = jax.vjp(conv, x)
        # The next pass needs this one's result; the sum reads a row of it.
        (back,) = pull(y)
        return x.at[0, 0].add(1e-9 * back[0, 0]), total + back[0].sum()

    return jax.lax.fori_loop(0, PASSES, one, (x, jnp.zeros(())))[1]

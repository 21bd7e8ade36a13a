"""What XLA makes of the loop, by its own account: counts that a change must not raise unnoticed.

Deterministic, so that they can guard the speed where a stopwatch can't. Winograd's form and the
remarks on kernels are about CPUs; elsewhere the libraries of the device choose.
"""

import re
from typing import NamedTuple

import jax
import numpy as np
import pytest
import tiny

import nst_jax as nst
from nst_jax.files.weightfile import ARCHITECTURES, CAFFE
from nst_jax.networks import layers, winograd
from nst_jax.networks.base import Options
from nst_jax.networks.vgg import VGG
from nst_jax.solvers import solver
from nst_jax.stylizing.presets import resolve
from nst_jax.stylizing.problem import prepare

# Wide enough for Winograd in blocks 4 and 5, as VGG19 is from block 3 on.
WIDTHS = (8, 8, 16, 256, 256)
SIDE = 64

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="programs for CPUs")


class Layer(NamedTuple):
    """A convolution on the way to relu5_1."""

    inputs: int
    outputs: int
    side: int
    wide: bool


def convolutions():
    found, depth = [], 3
    for block, (count, width) in enumerate(zip(ARCHITECTURES["vgg19"], WIDTHS, strict=True)):
        for _ in range(count if block < 4 else 1):
            wide = winograd.pays(np.empty((3, 3, depth, width)), 2**block)
            found.append(Layer(depth, width, SIDE // 2**block, wide))
            depth = width
    return found


def compiled():
    """The program of the loop, and of one evaluation."""
    network = VGG("vgg19", tiny.tensors(WIDTHS), CAFFE, Options(), name="t", digest="sha256:0")
    content, style = (tiny.picture(SIDE, SIDE, seed=seed) / np.float32(255) for seed in (1, 2))
    settings = resolve(preset="gatys", size=None, iterations=20)
    problem = prepare(settings, network, content, style)
    state = solver.start(problem.optimizer, problem.x)

    @jax.jit
    def loop(state, args):
        return solver.advance(
            problem.fn, problem.optimizer, state, args, problem.learning_rate, 2, capacity=8
        )

    @jax.jit
    def evaluation(x, args):
        return jax.value_and_grad(problem.fn, has_aux=True)(x, args)

    return (
        loop.lower(state, problem.args).compile(),
        evaluation.lower(problem.x, problem.args).compile(),
    )


@pytest.fixture(scope="module")
def programs():
    return compiled()


def kernels_moved(text):
    """Kernels, direct or transformed, that the program transposes, reverses or copies."""
    shapes = re.findall(r"= f32\[([\d,]+)\]\S* (?:transpose|reverse|copy)\(", text)
    sides = {tuple(sorted((3, 3, c.inputs, c.outputs))) for c in convolutions()}
    sides |= {tuple(sorted((36, c.inputs, c.outputs))) for c in convolutions() if c.wide}
    return [s for s in shapes if tuple(sorted(map(int, s.split(",")))) in sides]


def test_convolutions_and_products_are_counted(programs):
    loop, evaluation = (program.as_text() for program in programs)
    direct = sum(not c.wide and c.inputs > 3 for c in convolutions())
    wide = sum(c.wide for c in convolutions())
    # Forward and backward; conv1_1, run again for the backward pass, is a matrix product.
    assert loop.count(" convolution(") == 2 * direct
    # A product and two transforms each; conv1_1; five Gram matrices and their gradients.
    assert evaluation.count(" dot(") == 2 * 3 * wide + 3 + 2 * 5


def test_arithmetic_is_that_of_the_convolutions(programs):
    flops = programs[1].cost_analysis()["flops"]
    expected = 0
    for c in convolutions():
        if c.wide:
            tiles = (c.side // 4) ** 2
            product = 36 * c.inputs * c.outputs
            transforms = (36 * 36 + 16 * 36) * (c.inputs + c.outputs)
            expected += 2 * tiles * (2 * product + transforms)
        else:
            passes = 2 if c.inputs > 3 else 3
            expected += passes * 2 * 9 * c.inputs * c.outputs * c.side**2
    for block, width in enumerate(WIDTHS):
        expected += 2 * 2 * width**2 * (SIDE // 2**block) ** 2
    # The rest (pooling, ReLU, differences) is little; windows beyond the border do not count.
    assert 0.9 * expected < flops < 1.1 * expected


def test_loop_leaves_kernels_where_they_are(programs):
    assert not kernels_moved(programs[0].as_text())


def test_a_kernel_that_is_moved_would_be_noticed(monkeypatch):
    monkeypatch.setattr(layers, "conv3x3", lambda x, k, _, precision: layers._same(x, k, precision))
    assert kernels_moved(compiled()[0].as_text())


def test_a_start_compiles_no_more_than_it_needs(caplog):
    """Small programs, each quick by itself, are compiled while the targets keep all cores busy."""
    side = SIDE + 5  # of no other test: nothing of it is compiled yet
    pictures = [tiny.picture(side, side, seed=seed) for seed in (1, 2)]
    options = {"preset": "gatys", "size": None, "iterations": 1, "progress": False}
    with caplog.at_level("DEBUG", logger="jax._src.dispatch"):
        nst.stylize(*pictures, network=tiny.network(), **options)
    compiled = r"Finished XLA compilation of jit\((.*)\)"
    found = [m[1] for r in caplog.records if (m := re.match(compiled, r.getMessage()))]
    expected = ["multiply", "content_features", "style_statistics", "start", "advance_jit"]
    # The best point so far, and the picture that it stands for.
    assert sorted(found) == sorted([*expected, "_point", "_drawn"])

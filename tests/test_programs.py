"""Only the programs used last are kept, and none of them is compiled twice."""

import ast
import gc
from pathlib import Path

import jax
import numpy as np
import pytest

import nst_jax
from nst_jax import programs


@pytest.fixture
def halved():
    """A function that keeps two programs, and the shapes for which it was traced."""
    traced = []

    @programs.jit(static=["by"], kept=2)
    def halved_for_a_test(x, by=2.0):
        traced.append(x.shape)
        return x / by

    return halved_for_a_test, traced


@pytest.fixture
def alive():
    """Tells how many programs more the backend holds than when the test began."""

    def held():
        gc.collect()
        return len(jax.local_devices()[0].client.live_executables())

    before = held()
    return lambda: held() - before


def test_a_program_dropped_is_freed_and_one_in_use_is_kept(halved, alive):
    half, traced = halved
    for length in (1, 2, 1, 3, 1):  # 2 is unused for longest when 3 comes
        np.testing.assert_array_equal(half(np.ones(length)), np.full(length, 0.5))
        assert alive() == half.count() <= 2
    assert traced == [(1,), (2,), (3,)]
    half(np.ones(2))
    assert traced == [(1,), (2,), (3,), (2,)]
    half.clear_cache()
    assert alive() == half.count() == 0


def test_static_arguments_make_programs_of_their_own(halved):
    half, traced = halved
    assert [float(half(np.float32(1), by=by)) for by in (2.0, 4.0, 2.0)] == [0.5, 0.25, 0.5]
    assert traced == [(), ()]


def test_a_program_that_was_lowered_is_the_one_that_runs(halved, alive):
    half, traced = halved
    half.lower(jax.ShapeDtypeStruct((3,), np.float32)).compile()
    half(np.ones(3, np.float32))
    assert (traced, half.count(), alive()) == ([(3,)], 1, 1)


def test_no_function_of_the_library_keeps_programs_without_end():
    """`jax.jit` at the level of a module would keep every program."""
    found = []
    for path in Path(nst_jax.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(node, ast.ClassDef | ast.Expr):
                parts = node.decorator_list if isinstance(node, ast.FunctionDef) else [node]
                text = " ".join(ast.unparse(part) for part in parts)
                found += [f"{path.name}:{node.lineno}"] * ("jax.jit" in text)
    assert found == []

"""Compile a later program in a thread while the current one runs."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import jax

from nst_jax.solvers.outcome import Carried


def compiling(lowered: jax.stages.Lowered) -> Future:
    """Start to compile a program; JAX's cache then holds it. A process that exits waits for it.

    The caller traces the program: settings like jax.default_device hold per thread and affect it.
    """
    pool = ThreadPoolExecutor(1)
    compiled = pool.submit(lowered.compile)
    pool.shutdown(wait=False)
    return compiled


def when_compiled(compiled: Future, carried: Carried) -> Carried:
    """Wait for the program, and count the wait as compilation."""
    began = time.perf_counter()
    compiled.result()
    waited = time.perf_counter() - began
    return carried._replace(compile_seconds=carried.compile_seconds + waited)

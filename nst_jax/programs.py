"""Compile functions as `jax.jit` does, but keep only the programs that were used last.

`jax.jit` keeps a program for every shape that it has met, as long as the process lives: some 35 MB
for each new size of a picture.
"""

import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import jax.monitoring

# Programs kept of each function. A run from coarse to fine takes up to seven of the largest
# function, one for each scale, so two such runs may take turns without compiling anew.
KEPT = 16

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Jitted(Generic[_P, _R]):
    """A function with the programs that were compiled for it; see `jit`."""

    def __init__(self, fn: Callable[_P, _R], static: Sequence[str], donated: str, kept: int):
        functools.update_wrapper(self, fn)
        self._signature, self._static = inspect.signature(fn), frozenset(static)

        # JAX frees a program with the function that it belongs to, so each program has its own.
        @functools.lru_cache(kept)
        def program(key: Any) -> Any:
            own = functools.partial(fn)
            return jax.jit(own, static_argnames=tuple(static), donate_argnames=donated or None)

        self._program = program

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function's program for these arguments; compile it if it is not kept."""
        return self._program(self._key(args, kwargs))(*args, **kwargs)

    def lower(self, *args: _P.args, **kwargs: _P.kwargs) -> jax.stages.Lowered:
        """Lower the program for these arguments, which may be `jax.ShapeDtypeStruct`s."""
        return self._program(self._key(args, kwargs)).lower(*args, **kwargs)

    def count(self) -> int:
        """The number of programs that are kept."""
        return self._program.cache_info().currsize

    def clear_cache(self) -> None:
        """Drop all programs."""
        self._program.cache_clear()

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a program depends on: static arguments, structure and shapes.

        Types and devices are left to JAX, which compares all that it needs to.
        """
        given = self._signature.bind(*args, **kwargs).arguments
        leaves, structure = jax.tree.flatten(
            {k: v for k, v in given.items() if k not in self._static}
        )
        static = tuple((k, v) for k, v in given.items() if k in self._static)
        return static, structure, tuple(getattr(leaf, "shape", ()) for leaf in leaves)


def jit(
    *, static: Sequence[str] = (), donated: str = "", kept: int = KEPT
) -> Callable[[Callable[_P, _R]], Jitted[_P, _R]]:
    """Make a decorator that compiles a function.

    Args:
        static: names of the arguments that are hashable and part of the program.
        donated: name of the argument whose memory the result may take.
        kept: how many programs are kept; beyond them, the one unused for longest is dropped.
    """
    return lambda fn: Jitted(fn, static, donated, kept)


# JAX names these events: a program was compiled or loaded, and it was found in a cache on disk.
_COMPILED = "/jax/core/compile/backend_compile_duration"
_FOUND = "/jax/compilation_cache/cache_retrieval_time_sec"
_QUICK = 0.2  # seconds; a program that compiles faster is not kept in the cache of the commands


@contextmanager
def compiled_anew() -> Iterator[Callable[[], float]]:
    """Yield a function that tells how many seconds compilers have worked since.

    What JAX finds in a cache does not count, nor programs that compile in a moment. Compilers that
    work side by side count each by itself.
    """
    spent, here = [0.0], threading.local()

    def heard(event: str, duration_secs: float, **_: Any) -> None:
        if event == _FOUND:
            here.found = True
        elif event == _COMPILED:
            if duration_secs > _QUICK and not getattr(here, "found", False):
                spent.append(duration_secs)
            here.found = False

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield lambda: sum(spent)
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)

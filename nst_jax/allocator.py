"""The C library's allocator, where it is glibc: what becomes of memory that is freed."""

import ctypes
import os
from typing import Any

# Of mallopt, in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def release() -> None:
    """Return freed memory to the system.

    Compiling at 512 px leaves 140 MB of freed memory, which would add to the peak of the loop.
    """
    if trim := _function("malloc_trim"):
        trim(0)


def hold() -> None:
    """Keep freed memory for the next picture; call it before JAX starts its threads.

    Otherwise large arrays are returned to the system after each picture, and a quarter of the time
    of one pass goes into getting them anew, page by page. Only one heap keeps blocks of any size.
    """
    if option := _function("mallopt"):
        option(_ARENA_MAX, 1)
        option(_MMAP_MAX, 0)
        option(_TRIM_THRESHOLD, 2**31 - 1)


def _function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None

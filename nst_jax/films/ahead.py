"""Read ahead in a thread, so that decoding goes on while a network draws."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_END = object()


def ahead(values: Iterator[_T], count: int) -> Iterator[_T]:
    """Yield the values of an iterator, which a thread runs up to `count` values ahead.

    An error of the iterator is raised here, at its place among the values.
    """
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(next, values, _END) for _ in range(count))
        try:
            while (value := coming.popleft().result()) is not _END:
                coming.append(pool.submit(next, values, _END))
                yield value  # pyright: ignore[reportReturnType]
        finally:
            pool.shutdown(cancel_futures=True)

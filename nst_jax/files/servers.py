"""Find out within seconds which servers can be reached, however name servers and firewalls act."""

import queue
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

_unreachable: dict[str, str] = {}


def probe(urls: Sequence[str], limit: float, retry: bool) -> dict[str, str]:
    """Find the URLs whose servers cannot be connected to.

    The process remembers the servers that it could not reach.

    Args:
        urls: their servers are tried at the same time.
        limit: seconds for all servers together, including name resolution.
        retry: also try the servers again that earlier calls could not reach.

    Returns:
        A dict from each URL that cannot be reached to the reason.
    """
    places = {url: _place(url) for url in urls}
    if retry:
        for host, port in places.values():
            _unreachable.pop(f"{host}:{port}", None)
    fresh = sorted({p for p in places.values() if f"{p[0]}:{p[1]}" not in _unreachable})
    end = time.monotonic() + limit
    waits = [(place, _start(lambda p=place: _connect(p, limit))) for place in fresh]
    for (host, port), wait in waits:
        try:
            wait(end - time.monotonic())
        except OSError as error:
            reason = "no connection in time" if isinstance(error, TimeoutError) else str(error)
            _unreachable[f"{host}:{port}"] = f"{host} is unreachable ({reason})"
    keys = {url: f"{host}:{port}" for url, (host, port) in places.items()}
    return {url: _unreachable[key] for url, key in keys.items() if key in _unreachable}


def _place(url: str) -> tuple[str, int]:
    """Host and port to connect to for `url`; those of its proxy if one is set."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _connect(place: tuple[str, int], limit: float) -> None:
    socket.create_connection(place, timeout=limit).close()


def _start(action: Callable[[], Any]) -> Callable[[float], Any]:
    """Run `action` in a thread; return a function that waits for its result for some seconds.

    Name resolution has no timeout of its own. A thread can be abandoned when the time is over.
    """
    results: queue.SimpleQueue = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((action(), None))
        except Exception as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()

    def wait(seconds: float) -> Any:
        try:
            value, error = results.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        return value

    return wait


def in_time(action: Callable[[], Any], seconds: float) -> Any:
    """Run `action`, which may hang; raise `TimeoutError` if it takes longer than `seconds`."""
    return _start(action)(seconds)

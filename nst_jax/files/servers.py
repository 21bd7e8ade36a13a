"""Which servers can be reached: told in seconds, whatever name servers and firewalls do."""

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

    Args:
        urls: all are tried at once.
        limit: seconds for all of them together, names included.
        retry: try those again that are remembered as unreachable.

    Returns:
        From URL to reason. What is unreachable is remembered for the process.
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
    """Host and port to connect to for `url`: its proxy's where one is set."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _connect(place: tuple[str, int], limit: float) -> None:
    socket.create_connection(place, timeout=limit).close()


def _start(action: Callable[[], Any]) -> Callable[[float], Any]:
    """Run `action` in a thread; the returned function waits for its result, so long and no longer.

    Resolving a name knows no timeout: only a thread that may be left behind gives one.
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
    """Do `action`, which may hang, or raise `TimeoutError` after so many seconds."""
    return _start(action)(seconds)

"""Download files: resume broken transfers, check the digest, then move the file into place.

Until the digest is checked, the data is in `TARGET.part`, and `TARGET.part.json` records the URL
and version that it is part of. A process killed at any moment leaves at most these two files.
"""

import contextlib
import hashlib
import http.client
import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.files import servers, untrusted

CHUNK = 1 << 18
SLOWEST = 1000  # bytes per second
ATTEMPTS = 3
_DIGEST = re.compile(r"(md5|sha1|sha256):([0-9a-f]+)|(sha256)-prefix:([0-9a-f]{8,})")


class DownloadError(InputError):
    """No URL delivered the file. `unreachable` is true if no server could be connected to."""

    def __init__(self, sentence: str, unreachable: bool = False):
        super().__init__(sentence)
        self.unreachable = unreachable


class _FailedError(Exception):
    """One URL failed; the message is the reason."""


class _InterruptedError(_FailedError):
    """The transfer broke off; it can be resumed from what has arrived."""


def digest_matches(path: Path, digest: str) -> bool:
    """Whether a file has this digest.

    Args:
        path: the file.
        digest: "sha256:...", "sha1:...", "md5:..." or "sha256-prefix:...".

    Raises:
        InputError: `digest` has another form.
    """
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise InputError(f"'{digest}' is not a digest: give sha256:HEX, sha1:HEX or md5:HEX.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, match[1] or match[3]).hexdigest()
    return found == match[2] if match[1] else found.startswith(match[4])


def download(
    urls: Sequence[str],
    target: Path,
    *,
    digest: str,
    size: int | None = None,
    timeout: float = 20.0,
    connect_timeout: float = 4.0,
    retry_unreachable: bool = False,
    progress: bool = True,
    advice: str = "Check the connection and try again.",
) -> Path:
    """Download `target` from the first of `urls` that delivers a file with the right digest.

    Only one process at a time may do this in a folder: see `locks.held`.

    Args:
        urls: tried in this order; a transfer that breaks off is resumed a few times.
        target: where the file goes once it is complete and its digest is right.
        digest: "sha256:...", "sha1:...", "md5:..." or "sha256-prefix:...".
        size: bytes, if known; a reply of another size is refused before it is read.
        timeout: seconds without data after which a transfer counts as stalled.
        connect_timeout: seconds to resolve and connect to the servers of all URLs together. The
            process remembers servers that it could not reach, and the next call fails at once.
        retry_unreachable: forget which servers could not be reached, and try them again.
        progress: show a bar.
        advice: the last sentence of the error message: what else the user can do.

    Returns:
        `target`. A file that is already there and has this digest is kept.

    Raises:
        DownloadError: no URL worked; the message lists each with its reason.
        InputError: the folder cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and digest_matches(target, digest):
            _discard(target)
            return target
        dead = servers.probe(urls, connect_timeout, retry_unreachable)
        reasons = []
        for url in urls:
            if url in dead:
                reasons.append(f"{url}: {dead[url]}")
                continue
            try:
                _fetch(url, target, digest, size, timeout, progress)
                return target
            except _FailedError as error:
                reasons.append(f"{url}: {error}")
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error}.") from error
    raise DownloadError(
        f"{target.name} could not be downloaded. " + "; ".join(reasons) + f". {advice}",
        unreachable=len(dead) == len(urls),
    )


def _fetch(
    url: str, target: Path, digest: str, size: int | None, timeout: float, progress: bool
) -> None:
    part = _part(target)
    for attempt in range(ATTEMPTS):
        try:
            resumed = _transfer(url, target, size, timeout, progress)
        except _InterruptedError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        if digest_matches(part, digest):
            part.replace(target)
            _discard(target)
            return
        _discard(target)
        if not resumed:
            break
    raise _FailedError(f"what it gives does not have the digest {digest}")


def _transfer(url: str, target: Path, size: int | None, timeout: float, progress: bool) -> bool:
    """Download until `.part` is complete; return whether it continued an earlier transfer."""
    part, note = _part(target), _note(target)
    have, known = 0, {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = _state(untrusted.parse_json(note.read_text("utf-8")))
        have = part.stat().st_size if known["url"] == url and known["total"] else 0
    if have and have == known["total"]:
        return True
    headers = {"User-Agent": f"nst-jax/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known["etag"] and not known["etag"].startswith("W/"):
            headers["If-Range"] = known["etag"]
    try:
        response = _open(url, headers, timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == 416:
            _discard(target)
            raise _InterruptedError("the server does not continue its file") from error
        raise _FailedError(f"HTTP status {error.code} {error.reason}") from error
    with response:
        total = _length(response)
        resumed = have > 0 and response.status == 206
        if resumed:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers["Content-Range"] or "")
            total = _whole(span[2]) if span else None
            same_file = response.headers["ETag"] in (None, known.get("etag"))
            if not span or _whole(span[1]) != have or total != known["total"] or not same_file:
                _discard(target)
                raise _InterruptedError("the server continues another file")
        else:
            have = 0
        if size is not None and total not in (None, size):
            raise _FailedError(f"offers {total} bytes, expected {size}")
        if total is not None and total > untrusted.MAX_BYTES:
            raise _FailedError(f"offers {total} bytes, more than the {untrusted.MAX_BYTES} allowed")
        if response.status != (206 if resumed else 200):
            raise _FailedError(f"HTTP status {response.status}")
        with part.open("r+b" if resumed else "wb") as file:
            state = {"url": url, "total": total, "etag": response.headers["ETag"] or ""}
            note.write_text(json.dumps(state))
            file.seek(have)
            _copy(response, file, have, total, size, progress, target.name, timeout)
    return resumed


def _copy(
    response: Any,
    file: Any,
    have: int,
    total: int | None,
    size: int | None,
    progress: bool,
    title: str,
    timeout: float,
) -> None:
    total = size if total is None else total
    most, slow = untrusted.MAX_BYTES if total is None else total, _Pace(timeout)
    bar = tqdm(
        total=total,
        initial=have,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        desc=title,
        disable=not progress,
    )
    with bar:
        while True:
            try:
                block = _block(response, timeout)
            except TimeoutError as error:
                raise _InterruptedError(f"stalled for {timeout:g} s after {have} bytes") from error
            except (OSError, http.client.HTTPException) as error:
                raise _InterruptedError(f"broke off after {have} bytes ({error})") from error
            if not block:
                break
            have += len(block)
            if have > most:
                raise _FailedError(f"gives more than the {most} bytes expected")
            if slow.after(len(block)):
                raise _InterruptedError(f"came to less than {SLOWEST} bytes/s after {have} bytes")
            file.write(block)
            bar.update(len(block))
    if total is not None and have < total:
        raise _InterruptedError(f"ended after {have} of {total} bytes")


def _block(response: Any, timeout: float) -> bytes:
    """The next bytes. Between chunks the standard library waits for whole lines, however slow."""
    if not response.chunked:
        return response.read1(CHUNK)
    try:
        return servers.in_time(lambda: response.read1(CHUNK), timeout)
    except TimeoutError:
        # The thread that waits holds the response: end its wait, so that it can be closed.
        with socket.fromfd(response.fileno(), socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        raise


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to other web servers, but not to FTP."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        """The request for the address that a server points to."""
        if not newurl.lower().startswith(("http://", "https://")):
            raise _FailedError("it points to an address that is not of the web")
        fp.close()  # the standard library would read the body of a redirect, which may be endless
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, headers: dict[str, str], timeout: float) -> Any:
    request = urllib.request.Request(url, headers=headers)
    try:
        opener = urllib.request.build_opener(_WebOnly)
        return servers.in_time(lambda: opener.open(request, timeout=timeout), timeout)
    except urllib.error.HTTPError:
        raise
    except TimeoutError as error:
        raise _FailedError(f"no answer within {timeout:g} s") from error
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        raise _FailedError(str(getattr(error, "reason", error))) from error


def _length(response: Any) -> int | None:
    return _whole(response.headers["Content-Length"] or "")


def _whole(text: str) -> int | None:
    """The number that a header states; None if it is none, or has more digits than any size."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _state(known: Any) -> dict[str, Any]:
    """What `.part.json` records.

    Raises:
        KeyError, TypeError: it has another form.
    """
    if not isinstance(known["total"], int) or not isinstance(known["etag"], str):
        raise TypeError
    return known


class _Pace:
    """Watches that a transfer does not drip: it may be slow, but not for a whole `timeout`."""

    def __init__(self, timeout: float):
        self._timeout, self._began, self._bytes = timeout, time.monotonic(), 0

    def after(self, count: int) -> bool:
        """Note `count` more bytes; return whether the last `timeout` seconds were too slow."""
        self._bytes += count
        spent = time.monotonic() - self._began
        if spent < self._timeout:
            return False
        too_slow = self._bytes < SLOWEST * spent
        self._began, self._bytes = time.monotonic(), 0
        return too_slow


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _note(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def _discard(target: Path) -> None:
    _part(target).unlink(missing_ok=True)
    _note(target).unlink(missing_ok=True)

"""Downloads from a server that answers with a damaged reply, and what earlier ones left."""

import contextlib
import functools
import hashlib
import json
import socket
import threading
import time
from pathlib import Path
from random import Random

from hostile import mutations
from hostile.kinds import Kind
from nst_jax.files import download

BODY = bytes(range(256)) * 20
SHA = "sha256:" + hashlib.sha256(BODY).hexdigest()
_TIMEOUT = 0.3


class Server:
    """Sends the same bytes to everyone who asks, in a way that the case says."""

    def __init__(self) -> None:
        self.reply, self.manner = b"", "whole"
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            caller, _ = self.socket.accept()
            threading.Thread(target=self._answer, args=(caller,), daemon=True).start()

    def _answer(self, caller: socket.socket) -> None:
        end = time.monotonic() + 4
        with contextlib.suppress(OSError), caller:
            caller.settimeout(1)
            caller.recv(4096)
            if self.manner == "slow":
                head = self.reply.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                caller.sendall(head)
                for i in range(len(head), len(self.reply)):
                    caller.send(self.reply[i : i + 1])
                    time.sleep(0.1)
                    if time.monotonic() > end:
                        return
            caller.sendall(self.reply)
            while self.manner == "endless" and time.monotonic() < end:
                caller.sendall(bytes(2**16))
            if self.manner == "silent":
                time.sleep(_TIMEOUT * 2)


@functools.cache
def server() -> Server:
    """The server of this process."""
    return Server()


def _reply(rng: Random) -> bytes:
    port = server().port
    here = f"http://127.0.0.1:{port}/x"
    status = rng.choice(
        ("200 OK",) * 8
        + ("206 Partial", "204 None", "302 Found", "301 Moved", "308 Moved", "401 No", "416 Range")
        + ("500 No \x1b[2J", "100 Continue", "999 What", "20", "-1 x", "200")
    )
    fields = {"Content-Length": str(len(BODY)), "ETag": '"one"'}
    if rng.random() < 0.3:
        n = rng.choice(
            (0, -1, 5, len(BODY) - 1, len(BODY) + 1, 10**12, 10**30, "9" * 5000, "x", "")
        )
        fields["Content-Length"] = str(n)
    if rng.random() < 0.15:
        del fields["Content-Length"]
    if rng.random() < 0.3:
        spans = ("0-9/10", "2560-5119/5120", "9" * 5000 + "-1/2", "5-1/*", "-", "2560-/5120")
        fields["Content-Range"] = f"bytes {rng.choice(spans)}"
    if rng.random() < 0.2:
        fields["ETag"] = rng.choice(('W/"one"', '"two"', "", "x" * 10**5, "\x1b[2J", "é"))
    if status[0] == "3" or rng.random() < 0.1:
        places = (here, "/x", "file:///etc/passwd", "ftp://127.0.0.1:9/x", "http://[", "//", "")
        places += ("http://127.0.0.1:1/x", "x" * 10**5, "data:,x", "gopher:x")
        fields["Location"] = rng.choice(places)
    if rng.random() < 0.15:
        fields["Transfer-Encoding"] = rng.choice(("chunked", "gzip", "chunked, chunked", "x"))
    if rng.random() < 0.1:
        fields["Content-Encoding"] = "gzip"
    if rng.random() < 0.05:
        fields |= {f"X-{n}": "y" * 100 for n in range(rng.choice((50, 500)))}
    body = BODY
    if rng.random() < 0.2:
        body = rng.choice((b"", BODY[:100], BODY + b"x", BODY[::-1], BODY[2560:]))
    if rng.random() < 0.1:
        chunks = (
            b"1400\r\n" + BODY + b"\r\n0\r\n\r\n",
            b"-5\r\nabc",
            b"f" * 5000,
            b"1400\r\n" + BODY,
        )
        body, fields["Transfer-Encoding"] = rng.choice(chunks), "chunked"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    whole = f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body
    return mutations.damaged(rng, whole) if rng.random() < 0.3 else whole


def _make(rng: Random, folder: Path) -> None:
    manner = rng.choice(("whole",) * 12 + ("slow", "endless", "silent"))
    (folder / "reply").write_bytes(_reply(rng))
    size = rng.choice((len(BODY), len(BODY), None))
    (folder / "manner.json").write_text(json.dumps({"manner": manner, "size": size}))
    if rng.random() < 0.4:
        url = f"http://127.0.0.1:{server().port}/x"
        state = {"url": url, "total": len(BODY), "etag": '"one"'}
        if rng.random() < 0.7:
            state = mutations.edited(rng, state)
        (folder / "kept.json").write_text(mutations.text_of(rng, state), "utf-8", "replace")
        (folder / "kept").write_bytes(rng.choice((BODY[:2560], BODY, b"", BODY * 2)))


def _read(case: Path, out: Path) -> None:
    how = json.loads((case / "manner.json").read_text())
    here = server()
    here.reply, here.manner = (case / "reply").read_bytes(), how["manner"]
    if (case / "kept.json").exists():
        (out / "x.part.json").write_bytes((case / "kept.json").read_bytes())
        (out / "x.part").write_bytes((case / "kept").read_bytes())
    target = download.download(
        [f"http://127.0.0.1:{here.port}/x"],
        out / "x",
        digest=SHA,
        size=how["size"],
        timeout=_TIMEOUT,
        connect_timeout=1.0,
        retry_unreachable=True,
        progress=False,
    )
    assert target.read_bytes() == BODY


def kinds() -> tuple[Kind, ...]:
    """The kinds of a process, whose server is started here."""
    stay = ("x.part", "x.part.json")
    ports = (server().port, 1)  # a redirect to another web server is followed
    return (Kind("server", _make, _read, share=4, ports=ports, may_stay=stay),)

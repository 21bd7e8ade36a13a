"""Downloads against a local server that misbehaves in every way that servers do."""

import contextlib
import hashlib
import http.server
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from nst_jax.errors import InputError
from nst_jax.files import download as module
from nst_jax.files import servers
from nst_jax.files.download import DownloadError, digest_matches, download

BODY = np.random.default_rng(0).bytes(3_000_000)
SIZE = len(BODY)
SHA = "sha256:" + hashlib.sha256(BODY).hexdigest()
HALF = SIZE // 2


@dataclass
class Server:
    """What the handlers below do is looked up by path; every request is noted."""

    port: int = 0
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


class Handler(http.server.BaseHTTPRequestHandler):
    server_state: Server

    def log_message(self, *args):
        del args

    def do_GET(self):
        wanted = self.headers["Range"]
        name = self.path.strip("/")
        self.server_state.requests.append((name, wanted))
        with contextlib.suppress(ConnectionError):
            getattr(self, name.split(".")[0].replace("-", "_"))(wanted)

    def whole(self, body=BODY, send=None, etag='"one"', length=True):
        self.send_response(200)
        if length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body if send is None else body[:send])

    def rest(self, wanted, send=None, etag='"one"', start=None, total=SIZE):
        begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206)
        shown = begin if start is None else start
        self.send_header("Content-Range", f"bytes {shown}-{len(BODY) - 1}/{total}")
        self.send_header("Content-Length", str(len(BODY) - begin))
        self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(BODY[begin:][:send])

    def good(self, wanted):
        del wanted
        self.whole()

    def no_length(self, wanted):
        del wanted
        self.whole(length=False)

    def wrong(self, wanted):
        del wanted
        self.whole(BODY[::-1])

    def longer(self, wanted):
        del wanted
        self.whole(BODY + b"more")

    def endless(self, wanted):
        del wanted
        self.whole(BODY * 2, length=False)

    def truncated(self, wanted):
        """Ends in the middle, then gives the rest when asked for it."""
        self.rest(wanted) if wanted else self.whole(send=HALF)

    def always_truncated(self, wanted):
        del wanted
        self.whole(send=HALF)

    def no_ranges(self, wanted):
        """Ends in the middle, ignores Range and gives the whole the second time."""
        self.whole(send=None if wanted else HALF)

    def another_range(self, wanted):
        self.rest(wanted, start=0) if wanted else self.half_once()

    def another_file(self, wanted):
        self.rest(wanted, etag='"two"') if wanted else self.half_once()

    def another_total(self, wanted):
        self.rest(wanted, total=5) if wanted else self.half_once()

    def refuses_range(self, wanted):
        self.send_error(416) if wanted else self.half_once()

    def half_once(self):
        again = self.server_state.paths().count(self.path.strip("/")) > 1
        self.whole(send=None if again else HALF)

    def stalled(self, wanted):
        del wanted
        self.whole(send=HALF)
        self.server_state.released.wait(30)

    def stalled_once(self, wanted):
        if wanted:
            self.rest(wanted)
        else:
            self.stalled(wanted)

    def silent(self, wanted):
        del wanted
        self.server_state.released.wait(30)

    def redirect(self, wanted):
        del wanted
        self.send_response(302)
        self.send_header("Location", "/good")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def missing(self, wanted):
        del wanted
        self.send_error(404)


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(servers, "_unreachable", {})
    state = Server()
    handler = type("Bound", (Handler,), {"server_state": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.daemon_threads = True
        state.port = httpd.server_address[1]
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        state.released.set()
        httpd.shutdown()
        thread.join()


@pytest.fixture
def get(tmp_path, server) -> Callable[..., Path]:
    def fetch(*names: str, digest: str = SHA, **options) -> Path:
        urls = [name if "://" in name else server.url(name) for name in names]
        settings = {"timeout": 5.0, "progress": False} | options
        return download(urls, tmp_path / "folder" / "file.bin", digest=digest, **settings)

    return fetch


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("digest", ["sha256", "sha1", "md5", "sha256-prefix"])
@pytest.mark.parametrize("name", ["good", "no-length", "redirect"])
def test_a_good_file_is_put_in_place(get, name, digest):
    kind, _, prefix = digest.partition("-")
    value = hashlib.new(kind, BODY).hexdigest()
    target = get(name, digest=f"{digest}:{value[:8] if prefix else value}", size=SIZE)
    assert target.read_bytes() == BODY
    assert names(target.parent) == {"file.bin"}


def test_a_file_in_place_is_kept_and_a_wrong_one_replaced(get, server):
    target = get("good")
    before = target.stat().st_mtime_ns
    assert get("good") == target
    assert server.paths() == ["good"]
    assert target.stat().st_mtime_ns == before
    target.write_bytes(b"altered")
    assert get("good").read_bytes() == BODY


def test_a_bar_is_shown(get, capsys):
    get("good", progress=True)
    assert "file.bin" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("missing", "404"),
        ("wrong", "does not have the digest"),
        ("longer", "offers 3000004 bytes, expected 3000000"),
        ("endless", "more than the 3000000 bytes"),
        ("always-truncated", "ended after 1500000 of 3000000"),
    ],
)
def test_a_bad_source_is_left_for_the_next(get, server, tmp_path, bad, reason):
    target = get(bad, "good", size=SIZE)
    assert target.read_bytes() == BODY
    assert server.paths()[-1] == "good"
    target.unlink()
    with pytest.raises(DownloadError, match=re.escape(reason)) as error:
        get(bad, size=SIZE, advice="Do something else.")
    message = str(error.value)
    assert server.url(bad) in message
    assert message.endswith("Do something else.")
    assert not error.value.unreachable
    assert "file.bin" not in names(tmp_path / "folder")


def test_every_source_is_named_with_its_reason(get, server):
    with pytest.raises(DownloadError) as error:
        get("missing", "wrong")
    assert f"{server.url('missing')}: HTTP status 404" in str(error.value)
    assert f"{server.url('wrong')}: what it gives does not have the digest" in str(error.value)


def test_a_wrong_file_leaves_nothing(get, tmp_path):
    with pytest.raises(DownloadError):
        get("wrong")
    assert names(tmp_path / "folder") == set()


@pytest.mark.parametrize("name", ["truncated", "stalled-once"])
def test_a_transfer_that_broke_off_is_continued(get, server, name):
    assert get(name, timeout=0.5).read_bytes() == BODY
    assert server.requests == [(name, None), (name, f"bytes={HALF}-")]


@pytest.mark.parametrize(
    "name", ["no-ranges", "another-range", "another-file", "another-total", "refuses-range"]
)
def test_a_server_that_cannot_continue_starts_again(get, server, name):
    assert get(name).read_bytes() == BODY
    assert server.requests[1] == (name, f"bytes={HALF}-")


@pytest.mark.parametrize(
    ("name", "reason"), [("stalled", "stalled for 0.3 s"), ("silent", "no answer within 0.3 s")]
)
def test_a_stalled_server_is_given_up(get, name, reason):
    start = time.monotonic()
    with pytest.raises(DownloadError, match=reason):
        get(name, timeout=0.3)
    assert time.monotonic() - start < 4
    assert get(name, "good", timeout=0.3).read_bytes() == BODY


def test_a_part_that_was_altered_is_fetched_again(get, server, tmp_path):
    with pytest.raises(DownloadError):
        get("always-truncated")
    part = tmp_path / "folder" / "file.bin.part"
    part.write_bytes(b"x" * HALF)
    note = json.loads(part.with_name("file.bin.part.json").read_text())
    note["url"] = server.url("truncated.again")
    part.with_name("file.bin.part.json").write_text(json.dumps(note))
    server.requests.clear()
    assert get("truncated.again").read_bytes() == BODY
    assert server.requests[0] == ("truncated.again", f"bytes={HALF}-")
    assert server.requests[1] == ("truncated.again", None)


@pytest.mark.parametrize("note", ["", "{", "{}", '{"url": "elsewhere", "total": 3000000}'])
def test_a_part_of_unknown_origin_is_not_continued(get, server, tmp_path, note):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file.bin.part").write_bytes(b"x" * HALF)
    (folder / "file.bin.part.json").write_text(note)
    assert get("truncated").read_bytes() == BODY
    assert server.requests[0] == ("truncated", None)


CHILD = """
import sys
from pathlib import Path
from nst_jax.files.download import download
download([sys.argv[1]], Path(sys.argv[2]), digest=sys.argv[3], progress=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_kill_half_way_leaves_a_part_that_is_continued(get, server, tmp_path):
    target = tmp_path / "folder" / "file.bin"
    arguments = [server.url("stalled-once"), str(target), SHA]
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], cwd=root)
    part = target.with_name("file.bin.part")
    end = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= HALF - module.CHUNK):
        assert time.monotonic() < end
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert names(target.parent) == {"file.bin.part", "file.bin.part.json"}
    have = part.stat().st_size
    assert get("stalled-once").read_bytes() == BODY
    assert server.requests[-1] == ("stalled-once", f"bytes={have}-")


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_an_unreachable_server_is_remembered(get, monkeypatch):
    url = f"http://127.0.0.1:{closed_port()}/file"
    with pytest.raises(DownloadError, match="unreachable") as error:
        get(url)
    assert error.value.unreachable
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("tried again"))
    with pytest.raises(DownloadError, match="unreachable"):
        get(url)


def test_an_unreachable_server_is_passed_over_and_can_be_tried_again(get, server):
    url = f"http://127.0.0.1:{closed_port()}/file"
    assert get(url, "good").read_bytes() == BODY
    servers._unreachable[f"127.0.0.1:{server.port}"] = "once"
    target = get("good", digest=SHA)
    target.unlink()
    with pytest.raises(DownloadError, match="once"):
        get("good")
    assert get("good", retry_unreachable=True).read_bytes() == BODY


@pytest.mark.parametrize("hanging", ["getaddrinfo", "create_connection"])
def test_a_network_that_hangs_is_noticed_in_time(get, monkeypatch, hanging):
    released = threading.Event()
    monkeypatch.setattr(socket, hanging, lambda *_, **__: released.wait(30))
    start = time.monotonic()
    with pytest.raises(DownloadError, match="no connection in time") as error:
        get("http://one.invalid/x", "http://two.invalid/x", connect_timeout=0.4)
    assert time.monotonic() - start < 4
    assert error.value.unreachable
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"two\.invalid is unreachable"):
        get("http://one.invalid/x", "http://two.invalid/x")
    assert time.monotonic() - start < 2
    released.set()


def test_the_proxy_is_what_must_be_reachable(server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{server.port}")
    assert servers.probe(["http://far.invalid/file"], 2.0, False) == {}
    monkeypatch.setenv("no_proxy", "far.invalid")
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        servers.probe(["http://far.invalid/file"], 2.0, False)


@pytest.mark.parametrize("digest", ["", "abc", "crc32:00", "sha256:XYZ", "sha256-prefix:12"])
def test_what_is_no_digest_is_refused(tmp_path, digest):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="is not a digest"):
        digest_matches(path, digest)


def test_a_folder_that_cannot_be_written_to(server, tmp_path):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        download([server.url("good")], tmp_path / "folder" / "x", digest=SHA, progress=False)

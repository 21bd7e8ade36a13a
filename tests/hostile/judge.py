"""Read one damaged file, and watch what its reader does."""

import io
import os
import re
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from hostile.kinds import Kind
from nst_jax.errors import InputError

SECONDS = 10.0
MEMORY = 256 * 2**20  # beyond what the process had, with at most `PIXELS` in a picture
PIXELS = 2_000_000
LONGEST = 4000  # characters of a sentence

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
}
_RUNS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"}
_NET = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"}


@dataclass(frozen=True)
class Verdict:
    """What became of a case: `what` is the refusal, or the fault."""

    outcome: Literal["value", "refusal", "fault"]
    what: str
    seconds: float
    memory: int


class _Watch:
    """Notes what the process does that a reader must not do; audit hooks cannot be removed."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.ports: tuple[int, ...] = ()
        self.seen: list[str] = []
        self._installed = False

    @contextmanager
    def over(self, root: Path, ports: tuple[int, ...]) -> Iterator[list[str]]:
        if not self._installed:
            sys.addaudithook(self._hook)
            self._installed = True
        self.root, self.ports, self.seen = root, ports, []
        try:
            yield self.seen
        finally:
            self.root = None

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.root is None:
            return
        if event in _RUNS or event == "pickle.find_class":
            self.seen.append(f"{event} {args}")
        elif event in _NET:
            place = args[1] if event != "socket.getaddrinfo" else args[:2]
            if place[0] not in ("127.0.0.1", "localhost") or place[1] not in self.ports:
                self.seen.append(f"{event} {place}")
        elif event == "open" and isinstance(args[0], str | bytes):
            path, mode, flags = args
            writes = set(mode or "") & set("wax+") or (flags or 0) & _WRITING
            self._touched(path, event, bool(writes))
        elif event in _CHANGES:
            # The last arguments are the open folders that the paths begin in, or -1.
            args = args[1:] if event == "os.symlink" else args  # the link, not what it names
            count = 2 if event in ("os.rename", "os.link") else 1
            for path, folder in zip(args[:count], args[-count:], strict=True):
                inside = isinstance(folder, int) and folder >= 0 and event != "os.truncate"
                base = os.readlink(f"/proc/self/fd/{folder}") if inside else ""
                self._touched(os.path.join(base, os.fsdecode(path)), event, True)

    def _touched(self, path: str | bytes | os.PathLike, event: str, writes: bool) -> None:
        assert self.root is not None
        place = os.path.abspath(os.fsdecode(path))
        if writes and not place.startswith((f"{self.root / 'out'}", "/dev/null")):
            self.seen.append(f"{event} to write {place}")
        elif place.startswith(
            (str(self.root / "outside"), "/etc/passwd", str(Path.home() / ".ssh"))
        ):
            self.seen.append(f"{event} to read {place}")


_watch = _Watch()


def prepare(root: Path, kind: Kind, seed: int) -> Path:
    """Make the files of a case in `root / "case"`, beside a folder that no reader may look into."""
    for name in ("case", "out"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    outside = root / "outside"
    if not outside.exists():
        outside.mkdir()
        from PIL import Image

        Image.new("RGB", (8, 8)).save(outside / "secret.png")
    kind.make(Random(f"{kind.name} {seed}"), root / "case")
    return root / "case"


def judge(root: Path, kind: Kind) -> Verdict:
    """Read the case in `root`, and say what came of it."""
    case, out, back = root / "case", root / "out", Path.cwd()
    faults: list[str] = []
    outcome, what = "value", ""
    noise = io.StringIO()
    _reset_peak()
    before, began = _memory("VmRSS"), time.monotonic()
    with (
        _watch.over(root, kind.ports) as seen,
        warnings.catch_warnings(record=True) as warned,
        redirect_stderr(noise),
        redirect_stdout(noise),
    ):
        warnings.simplefilter("always")
        os.chdir(case)
        try:
            kind.read(case, out)
        except InputError as error:
            outcome, what = "refusal", str(error)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            # The innermost frame of ours tells faults apart.
            frames = traceback.extract_tb(error.__traceback__)
            places = [f"{Path(f.filename).name}:{f.lineno}" for f in frames]
            faults.append(f"{type(error).__name__}: {str(error)[:300]} ({' '.join(places[-6:])})")
        finally:
            os.chdir(back)
    seconds, memory = time.monotonic() - began, _memory("VmHWM") - before
    faults += seen
    if outcome == "refusal" and not _is_sentence(what):
        faults.append(f"no sentence: {what[:500]!r} ({len(what)} characters)")
    faults += [f"warning {w.category.__name__}: {w.message}" for w in warned if not _is_ours(w)]
    if seconds > SECONDS:
        faults.append(f"took {seconds:.1f} s")
    if memory > MEMORY:
        faults.append(f"took {memory / 2**20:.0f} MiB")
    left = sorted(p.name for p in out.rglob("*") if p.name.endswith(".part"))
    if outcome == "refusal":
        left = sorted(p.name for p in out.rglob("*") if p.is_file() and p.name not in kind.may_stay)
    if left:
        faults.append(f"left {left}")
    if faults:
        outcome, what = "fault", "; ".join(faults)
    return Verdict(outcome, what, seconds, memory)  # pyright: ignore[reportArgumentType]


def _is_sentence(text: str) -> bool:
    return bool(re.fullmatch(r"\S.*[.]", text)) and text.isprintable() and len(text) <= LONGEST


def _is_ours(warned: warnings.WarningMessage) -> bool:
    # The garbage collector finds unclosed sockets of the standard library long after their case.
    if issubclass(warned.category, ResourceWarning):
        return True
    return warned.category is UserWarning and _is_sentence(str(warned.message))


def _reset_peak() -> None:
    """Let the kernel count the peak of memory anew, where it can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _memory(what: str) -> int:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"{what}:\s*(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0

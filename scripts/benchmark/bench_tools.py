"""What every section of the benchmark uses: rows with limits, the machine, turns, child runs."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy")


@dataclass
class Row:
    """One figure: what was measured, and where there is one, the limit that it must not exceed.

    `value` is None where nothing could be measured; `note` then says why. `samples` are the
    single measurements behind a median.
    """

    section: str
    what: str
    value: float | None = None
    unit: str = ""
    limit: float | None = None
    note: str = ""
    samples: list[float] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """`pass` or `miss`; empty without a limit; `not measured` without a value."""
        if self.value is None:
            return "not measured"
        return "" if self.limit is None else "pass" if self.value <= self.limit else "miss"


def median_row(section: str, what: str, samples: Sequence[float], unit: str, **rest: Any) -> Row:
    """A row of the median, its note the span of the samples."""
    span = f"{min(samples):.3g} to {max(samples):.3g}, n = {len(samples)}"
    return Row(
        section, what, statistics.median(samples), unit, note=span, samples=[*samples], **rest
    )


def machine(threads: int) -> dict[str, str]:
    """Processor, cores, threads, memory, and how busy others keep it."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        lines = {k.strip(): v.strip() for k, v in lines.items()}
        model = f"{lines.get('model name', model)} (family {lines.get('cpu family', '?')})"
    return {
        "processor": model,
        "cores": str(psutil.cpu_count(logical=False) or "?"),
        "threads used by each side": str(threads),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "busy with other work before the start": f"{psutil.cpu_percent(interval=2):.0f}%",
    }


def versions() -> dict[str, str]:
    """Python, the packages that matter, and the commit of this checkout."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found | {"nst_jax": _commit()}


def _commit() -> str:
    def git(*args: str) -> str:
        run = subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True)
        return run.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "nst_jax", "scripts", "weights")
    commit = git("rev-parse", "--short=12", "HEAD")
    return (commit or "not a checkout") + (" with changes" if changed else "")


def in_turn(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round; every other round goes backwards, so that drift cancels.

    Each run ends only when its work is done.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for _ in range(rounds):
        for name in order:
            began = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - began)
        order.reverse()
    return seconds


def child(arguments: Sequence[str]) -> dict[str, float]:
    """Run a script of this folder in a fresh Python; it writes its figures as JSON to --json."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, *arguments, "--json", str(answer)]
        run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr}")
        return json.loads(answer.read_text())


def command_seconds(arguments: Sequence[str], **variables: str) -> float:
    """Wall time of a whole Python command, from its start to its exit."""
    began = time.perf_counter()
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment() | variables,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    if run.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{run.stderr}")
    return seconds


def peak_rss() -> int:
    """Peak resident bytes of this process.

    Linux's own figure: what `getrusage` says there starts from the parent's peak after a fork.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(t for t in status.read_text().splitlines() if t.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def environment() -> dict[str, str]:
    """The variables of a child, which finds this checkout's package first."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}


def report(rows: Sequence[Row], about: Mapping[str, Any]) -> dict[str, Any]:
    """Everything as plain values, for a JSON file."""
    return {**about, "rows": [asdict(row) for row in rows]}


def markdown(result: Mapping[str, Any]) -> str:
    """The tables of a result as written by `report`."""
    parts = []
    for title in ("machine", "versions", "options"):
        values = ", ".join(f"{k}: {v}" for k, v in result[title].items())
        parts.append(f"**{title.capitalize()}.** {values}\n")
    parts.append("| section | what | figure | limit | | |\n| --- | --- | --: | --: | --- | --- |")
    for row in (Row(**values) for values in result["rows"]):
        value = "" if row.value is None else f"{row.value:.3g} {row.unit}".strip()
        limit = "" if row.limit is None else f"{row.limit:.3g}"
        cells = (row.section, row.what, value, limit, row.verdict, row.note)
        parts.append(f"| {' | '.join(cells)} |")
    return "\n".join(parts)

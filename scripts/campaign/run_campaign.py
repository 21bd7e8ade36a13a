"""Read thousands of damaged files of every kind, and tell which were not refused as they must be.

    PYTHONPATH=tests python scripts/campaign/run_campaign.py [--cases 10000] [--start 0]
    PYTHONPATH=tests python scripts/campaign/run_campaign.py --replay KIND NUMBER

Each case follows from its kind and its number alone. A worker process reads the cases; if it dies
or hangs, that is a fault of the case, and another goes on. Files of cases with faults are kept in
`--keep`, one folder each. A run that was stopped goes on with `--start`.
"""

import argparse
import collections
import json
import os
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_PATIENCE = 30.0  # seconds for a case, after which its process is killed
_ADDRESSES = 4 * 2**30  # bytes of address space beyond what the process has at its start


def _keep(root: Path, keep: Path, kind: str, number: int) -> None:
    place = keep / f"{kind.replace(' ', '-')}-{number}"
    shutil.copytree(root / "case", place, dirs_exist_ok=True)


def _worker(root: Path, keep: Path, wanted: Sequence[tuple[str, int]]) -> None:
    """Judge cases in this process, with a line of JSON before and after each."""
    from hostile import all as campaign

    os.environ.update(campaign.VARIABLES)
    for module, name, value in campaign.LIMITS:
        setattr(module, name, value)
    from hostile.judge import judge, prepare

    known = campaign.kinds()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(root / "errors", os.O_CREAT | os.O_APPEND | os.O_WRONLY), 2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ADDRESSES, used + _ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seen = set()
    for name, number in wanted:
        print(json.dumps({"kind": name, "number": number}), file=out)
        prepare(root, known[name], number)
        if name not in seen:  # what the first read imports and compiles is no part of a case
            seen.add(name)
            judge(root, known[name])
            prepare(root, known[name], number)
        verdict = judge(root, known[name])
        if verdict.outcome == "fault":
            _keep(root, keep, name, number)
        print(json.dumps(vars(verdict)), file=out)


def _verdicts(
    root: Path, keep: Path, wanted: Sequence[tuple[str, int]]
) -> Iterator[dict[str, Any]]:
    """The verdict of each case, from as many processes as it takes."""
    done = 0
    while done < len(wanted):
        (root / "wanted.json").write_text(json.dumps(wanted[done:]))
        command = [sys.executable, __file__, "--worker", str(root), "--keep", str(keep)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert process.stdout
        os.set_blocking(process.stdout.fileno(), False)
        waiting = selectors.DefaultSelector()
        waiting.register(process.stdout, selectors.EVENT_READ)
        now, text, limit = None, b"", 120.0
        while True:
            if not waiting.select(limit):
                process.kill()
                break
            block = process.stdout.read(2**16)
            if not block:
                break
            *lines, text = (text + block).split(b"\n")
            for line in lines:
                found = json.loads(line)
                if "kind" in found:
                    now, limit = found, _PATIENCE
                    continue
                yield {**(now or {}), **found}
                now, done = None, done + 1
        code = process.wait()
        if done < len(wanted):
            if now is None:
                raise SystemExit(f"The worker ended with {code} between two cases.")
            said = (root / "errors").read_text("utf-8", "replace")[-300:]
            what = f"the process died with {code} (a minus is a signal): {said}"
            _keep(root, keep, now["kind"], now["number"])
            yield {**now, "outcome": "fault", "what": what, "seconds": 0.0, "memory": 0}
            done += 1


def _campaign(wanted: Sequence[tuple[str, int]], keep: Path) -> int:
    table: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    slowest: dict[str, float] = collections.defaultdict(float)
    largest: dict[str, int] = collections.defaultdict(int)
    began, faults = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        for found in _verdicts(Path(folder), keep, wanted):
            kind = found["kind"]
            table[kind][found["outcome"]] += 1
            slowest[kind] = max(slowest[kind], found["seconds"])
            largest[kind] = max(largest[kind], found["memory"])
            if found["outcome"] == "fault":
                faults += 1
                print(f"{kind} {found['number']}: {found['what']}", flush=True)
            done = sum(map(sum, (row.values() for row in table.values())))
            if done % 1000 == 0:
                print(f"{done} cases, {time.monotonic() - began:.0f} s", file=sys.stderr)
    print("\n| kind | cases | values | refusals | faults | slowest s | most MiB |")
    print("|---|---|---|---|---|---|---|")
    for kind, row in table.items():
        counts = " | ".join(str(row[name]) for name in ("value", "refusal", "fault"))
        most = largest[kind] / 2**20
        print(f"| {kind} | {row.total()} | {counts} | {slowest[kind]:.1f} | {most:.0f} |")
    print(f"\n{len(wanted)} cases, {faults} faults, {time.monotonic() - began:.0f} s")
    return bool(faults)


def main() -> int:
    """Run the campaign, or one case of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--kind", help="only cases of this kind")
    parser.add_argument("--keep", type=Path, default=Path("campaign-faults"))
    parser.add_argument("--replay", nargs=2, metavar=("KIND", "NUMBER"))
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        _worker(
            args.worker, args.keep.resolve(), json.loads((args.worker / "wanted.json").read_text())
        )
        return 0
    if args.replay:
        return _campaign([(args.replay[0], int(args.replay[1]))], args.keep)
    if args.kind:
        numbers = range(args.start, args.start + args.cases)
        return _campaign([(args.kind, number) for number in numbers], args.keep)
    from hostile.all import cases

    return _campaign(cases(args.cases, args.start), args.keep)


if __name__ == "__main__":
    sys.exit(main())

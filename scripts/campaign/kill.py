"""Kill `stylize --checkpoint`, `sweep` and `train` at random moments; each must resume bit-equal.

    python scripts/campaign/kill.py --kills 50

A command is started with --resume and killed, again and again on the same files; then it runs to
its end. What it leaves is compared with what one run without a kill leaves. A command that ends
before it is killed is compared too, and begins anew. The commands draw small pictures with
`vgg19-lite`. The table tells how many kills came before there was anything to resume from.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

LITE = "--network vgg19-lite --quiet --offline"


class Command(NamedTuple):
    """A command that can be resumed.

    Attributes:
        arguments: for `nst-jax`, run in a folder of its own; `{}` stands for the pictures' folder.
        kept: the file that there is once there is something to resume from.
        left: reads what the command leaves in its folder, for `same`.
    """

    arguments: str
    kept: str
    left: Callable[[Path], Any]


def pixels(path: Path) -> np.ndarray:
    """The pixels of a picture file; its metadata holds times."""
    with Image.open(path) as image:
        return np.asarray(image)


def of_stylize(folder: Path) -> Any:
    """The picture and the trace."""
    return pixels(folder / "o.png"), (folder / "trace").read_text("utf-8")


def of_sweep(folder: Path) -> Any:
    """The pictures, and the losses of every lane."""
    pictures = {p.name: pixels(p) for p in sorted((folder / "sweep").glob("*.png"))}
    records = {
        p.name: json.loads(p.read_text("utf-8"))["losses"]
        for p in sorted((folder / "sweep" / "lanes").glob("*.json"))
    }
    return pictures, records


def of_train(folder: Path) -> Any:
    """The tensors and the trace."""
    return load_file(folder / "m.safetensors"), (folder / "trace").read_text("utf-8")


COMMANDS = {
    "stylize": Command(
        "stylize {}/0.png {}/1.png -o o.png --size 32 --iterations 400 --checkpoint run "
        "--checkpoint-every 10 --trace trace --force",
        "run",
        of_stylize,
    ),
    "sweep": Command(
        "sweep {}/0.png {}/1.png -o sweep --size 32 --iterations 20 --init noise --in-flight 1 "
        f"--seed {','.join(map(str, range(16)))}",
        "sweep/lanes/000.json",
        of_sweep,
    ),
    "train": Command(
        "train {} --style {}/1.png -o m.safetensors --steps 60 --batch 1 --crop 32 --style-size 32 "
        "--variant small --checkpoint check --checkpoint-every 3 --trace trace",
        "check",
        of_train,
    ),
}


def same(one: Any, other: Any) -> bool:
    """Whether nested arrays and plain values are equal, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.tobytes() == other.tobytes() and one.shape == other.shape
    return one == other


def start(command: Command, pictures: Path, folder: Path, *more: str) -> subprocess.Popen:
    """Start a command in a folder, which is made."""
    folder.mkdir(exist_ok=True)
    words = [*command.arguments.split(), *LITE.split()]
    arguments = [word.replace("{}", str(pictures)) for word in words]
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "nst_jax", *arguments, *more],
            cwd=folder,
            stdout=said,
            stderr=said,
            env=os.environ
            | {
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "xla"),
            },
        )


def finish(process: subprocess.Popen, folder: Path) -> None:
    """Wait for a command, which must succeed."""
    if process.wait():
        said = (folder / "said").read_text("utf-8")
        raise SystemExit(f"The command failed with {process.returncode}:\n{said}")


def campaign(name: str, kills: int, pictures: Path, work: Path, seed: int) -> dict[str, int]:
    """Kill a command so many times, and count what happened."""
    command, rng = COMMANDS[name], random.Random(seed)
    for again in ("compiling", "whole"):
        whole, began = work / f"{name}-{again}", time.monotonic()
        finish(start(command, pictures, whole), whole)
    seconds = time.monotonic() - began
    found = {"kills": 0, "before anything was kept": 0, "runs compared": 0, "unlike": 0}
    folder = work / f"{name}-0"

    def compare() -> None:
        found["runs compared"] += 1
        found["unlike"] += not same(command.left(folder), command.left(whole))

    while found["kills"] < kills:
        fresh, began = not folder.exists(), time.monotonic()
        process = start(command, pictures, folder, "--resume")
        try:
            process.wait(seconds * rng.uniform(0.3, 0.95))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            found["kills"] += 1
            found["before anything was kept"] += not (folder / command.kept).exists()
            continue
        finish(process, folder)
        if fresh:  # the machine may be quieter now: kill earlier
            seconds = min(seconds, time.monotonic() - began)
        compare()
        folder = work / f"{name}-{found['runs compared']}"
    finish(start(command, pictures, folder, "--resume"), folder)
    compare()
    return found


def main() -> None:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="over all three commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    args = parser.parse_args()
    rows, count = {}, len(args.commands)
    with tempfile.TemporaryDirectory() as work:
        pictures = Path(work) / "pictures"
        pictures.mkdir()
        for n in range(2):
            noise = np.random.default_rng(n).integers(0, 256, (6, 6, 3), np.uint8)
            Image.fromarray(noise).resize((40, 40)).save(pictures / f"{n}.png")
        for n, name in enumerate(args.commands):
            kills = args.kills // count + (n < args.kills % count)
            rows[name] = campaign(name, kills, pictures, Path(work), args.seed + n)
            print(f"{name}: {rows[name]}", flush=True)
    names = list(next(iter(rows.values())))
    print(f"\n| command | {' | '.join(names)} |\n| --- |{' --: |' * len(names)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(str(row[k]) for k in names)} |")
    sys.exit(any(row["unlike"] for row in rows.values()))


if __name__ == "__main__":
    main()

"""Quality against seconds, for every way to a picture in the style of any other.

    python scripts/benchmark/compare_deadlines.py FOLDER CONTENTS STYLES [--pairs 10] [--ways ...]
    python scripts/benchmark/compare_deadlines.py FOLDER CONTENTS STYLES --time --pairs 3
    python scripts/benchmark/compare_deadlines.py FOLDER CONTENTS STYLES --show docs/deadlines

The first draws pairs of the folders' pictures and judges what was saved: `share`, the objective of
the preset `gatys` under VGG19, as a share of the photograph's own; `style`, the `moments` loss at
relu1_1 to relu4_1, likewise; `content`, the loss at relu4_2 as a share of the photograph's
objective. Pairs come in the order of a Latin square, so that the first ten of 10 x 10 pictures have
each content and each style once. FOLDER keeps the pictures and `rows.jsonl`; what it has is not
drawn again.

`--time` draws each way in a process of its own and keeps the seconds: `cold`, without compiled
programs, for the first pair only; `fresh`, with the programs on disk, in a process that has drawn
nothing; and `warm`, once more in the same process. Pictures of `seconds=...` depend on the time, so
that only these count, the warm ones: keep the machine quiet. `--show` sums up in NAME.json, plots
NAME.png and lays pictures out in NAME.jpg.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from deadline_ways import PEER, Way, artist, ways

import nst_jax as nst
from nst_jax.losses import registry
from nst_jax.losses.content import Content
from nst_jax.losses.style import Style
from nst_jax.networks.base import Network
from nst_jax.pictures.reading import read
from nst_jax.pictures.resizing import resize
from nst_jax.pictures.sheet import contact_sheet

GATYS = nst.Objective((Content(), Style()))
MOMENTS = nst.Objective(
    (Style(tuple(f"relu{n}_1" for n in range(1, 5)), registry.statistic("moments")),)
)
WEIGHTS = nst.Weights({"content": 1.0, "style": 1e3}, {})
WORKER = Path(__file__).with_name("deadline_ways.py")


def pairs_of(contents: Path, styles: Path) -> list[tuple[Path, Path]]:
    """All pairs of the folders' pictures, in the order of a Latin square."""
    photos, paintings = (
        sorted(p for p in place.iterdir() if p.is_file()) for place in (contents, styles)
    )
    count = len(paintings)
    return [
        (photo, paintings[(n + turn) % count])
        for turn in range(count)
        for n, photo in enumerate(photos)
    ]


class Judge:
    """Measures pictures of one pair with VGG19."""

    def __init__(self, network: Network, content: Path, style: Path, size: int):
        photo, painting = (jnp.asarray(read(path, size=size).rgb) for path in (content, style))
        self._network, self._size = network, (photo.shape[0], photo.shape[1])
        scene = nst.Scene(network, photo, (painting,))
        self._targets = [nst.targets_of(spec, scene) for spec in (GATYS, MOMENTS)]
        self._photo = self._measured(photo)

    def _measured(self, picture: Any) -> dict[str, float]:
        gatys, moments = (
            _terms(spec, picture, self._network, targets)
            for spec, targets in zip((GATYS, MOMENTS), self._targets, strict=True)
        )
        return {
            "share": float(gatys["total"]),
            "content": float(gatys["content"]),
            "style": float(moments["total"]),
        }

    def __call__(self, path: Path) -> dict[str, float]:
        """The figures of a saved picture, as shares."""
        image = read(path).rgb
        if image.shape[:2] != self._size:
            image = resize(image, self._size)
        found, photo = self._measured(jnp.asarray(image)), self._photo
        by = {"share": photo["share"], "content": photo["share"], "style": photo["style"]}
        return {name: found[name] / by[name] for name in found}


@partial(jax.jit, static_argnums=0)
def _terms(spec: Any, picture: Any, network: Network, targets: Any) -> dict[str, Any]:
    total, terms = nst.objective(spec, picture, network, targets, WEIGHTS)
    return terms | {"total": total}


class Kept:
    """The rows of the folder, one for each pair and way; each is written as soon as it is there."""

    def __init__(self, folder: Path):
        self._path = folder / "rows.jsonl"
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        self.rows = {(row["pair"], row["way"]): row for row in map(json.loads, lines)}

    def add(self, pair: str, way: str, **found: Any) -> None:
        """Add values to the row of this pair and way."""
        row = self.rows.setdefault((pair, way), {"pair": pair, "way": way})
        row |= found
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def worker(
    options: argparse.Namespace, name: str, *files: Path, programs: Path, once: bool = False
) -> list[float]:
    """Draw by one way in a process of its own, twice if not `once`; return the seconds."""
    way = options.known[name]
    place = {"JAX_COMPILATION_CACHE_DIR": str(programs)}
    if way.kind == "peer":
        place["PYTHONPATH"] = str(options.peer_path or "")
    models = [f"{model}={file}" for model, file in options.models.items()]
    python = options.peer_python if way.kind == "peer" else sys.executable
    command = [python, str(WORKER), name, *map(str, files), "--size", str(options.size)]
    done = subprocess.run(
        [*command, *["--once"] * once, "--models", *models],
        env=os.environ | place,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def draw(options: argparse.Namespace, kept: Kept, chosen: list[str]) -> None:
    """Draw and judge what is missing."""
    network = nst.load_network("vgg19")
    for content, style in pairs_of(options.contents, options.styles)[: options.pairs]:
        pair, judge = f"{content.stem}-{style.stem}", None
        for name in chosen:
            way, place = options.known[name], picture(options.folder, pair, name)
            if way.timed or "share" in kept.rows.get((pair, name), {}):
                continue
            if way.kind == "peer":
                files, programs = (content, style, place), options.folder / "programs"
                worker(options, name, *files, programs=programs, once=True)
            else:
                artist(way, options.size)(content, style, place)
            judge = judge or Judge(network, content, style, options.size)
            kept.add(pair, name, **judge(place))


def clock(options: argparse.Namespace, kept: Kept, chosen: list[str]) -> None:
    """Time each way with its programs cached, and once without; judge what depends on the time."""
    network, programs = nst.load_network("vgg19"), options.folder / "programs"
    for n, (content, style) in enumerate(
        pairs_of(options.contents, options.styles)[: options.pairs]
    ):
        pair = f"{content.stem}-{style.stem}"
        for name in chosen:
            place, found = picture(options.folder, pair, name), {}
            if "warm" in kept.rows.get((pair, name), {}):
                continue
            run = partial(worker, options, name, content, style, place)
            if n == 0:
                with tempfile.TemporaryDirectory() as nothing:
                    (found["cold"],) = run(programs=Path(nothing), once=True)
            run(programs=programs, once=True)  # compiles for the sizes of these pictures
            found["fresh"], found["warm"] = run(programs=programs)
            if options.known[name].timed:
                found |= Judge(network, content, style, options.size)(place)
            kept.add(pair, name, **found)


def picture(folder: Path, pair: str, way: str) -> Path:
    """The file of a picture."""
    place = folder / "pictures"
    place.mkdir(exist_ok=True, parents=True)
    return place / f"{pair}-{way.replace(' ', '-').replace(',', '')}.png"


def summed_up(rows: Mapping[Any, Mapping[str, Any]], known: Mapping[str, Way]) -> dict[str, Any]:
    """For each way: geometric means of the shares, the mean content, medians of the seconds."""
    found = {}
    for name in known:
        own = [row for (_, way), row in rows.items() if way == name]
        judged = [row for row in own if "share" in row]
        if not judged:
            continue

        def values(key: str, rows: Any = own) -> np.ndarray:
            return np.array([row[key] for row in rows if key in row])

        found[name] = {
            "pairs": len(judged),
            **{k: float(np.exp(np.log(values(k)).mean())) for k in ("share", "style")},
            "content": float(values("content").mean()),
            **{k: float(np.median(values(k))) for k in ("warm", "fresh", "cold") if values(k).size},
        }
    return found


def show(options: argparse.Namespace, kept: Kept, chosen: list[str]) -> None:
    """Write the summary, the curve and the sheet."""
    summary = summed_up(kept.rows, {name: options.known[name] for name in chosen})
    options.show.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")
    print("| way | pairs | share | style | content | warm | fresh | cold |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, row in summary.items():
        times = [f"{row[k]:.2f}" if k in row else "" for k in ("warm", "fresh", "cold")]
        shares = [f"{row[k]:.3f}" for k in ("share", "style", "content")]
        print(f"| {name} | {row['pairs']} | {' | '.join([*shares, *times])} |")
    plot(summary, options)
    rows = []
    for content, style in pairs_of(options.contents, options.styles)[: options.sheet_pairs]:
        pair = f"{content.stem}-{style.stem}"
        places = [picture(options.folder, pair, name) for name in summary]
        images = [read(path, size=options.size).rgb for path in (content, style)]
        blank = np.ones_like(images[0])
        images += [read(path).rgb if path.is_file() else blank for path in places]
        rows.append(images)
    sheet = contact_sheet(rows, columns=["", "", *summary])
    sheet.save(options.show.with_suffix(".jpg"), quality=90)


def plot(summary: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Plot the share against the seconds: deadlines as a line, all else as points with names."""
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(8, 5), layout="constrained")
    timed = {name: row for name, row in summary.items() if "warm" in row}
    line = [(row["warm"], row["share"]) for name, row in timed.items() if options.known[name].timed]
    if line:
        panel.plot(*zip(*sorted(line), strict=True), "o-", color="#1f5fa8", label="seconds=S")
        panel.legend()
    for n, (name, row) in enumerate(sorted(timed.items(), key=lambda one: one[1]["warm"])):
        ours = options.known[name].kind != "peer" and name not in options.models
        if not options.known[name].timed:
            panel.plot(row["warm"], row["share"], "s" if ours else "^", color="#888888")
            place = (4, 4 if n % 2 else -12)  # names of neighbours do not lie on each other
            at = row["warm"], row["share"]
            panel.annotate(name, at, place, textcoords="offset points", fontsize=8)
    panel.set(xscale="log", yscale="log", xlabel="seconds, programs ready", ylabel="share")
    panel.set_title("Gatys' objective under VGG19 as a share of the photograph's")
    panel.grid(visible=True, which="both", color="#eeeeee")
    figure.savefig(options.show.with_suffix(".png"), dpi=100)


def main() -> None:
    """Draw, time or show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("contents", type=Path, help="a folder of photographs")
    parser.add_argument("styles", type=Path, help="a folder of paintings")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--ways", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--size", type=int, default=512, help="long side in pixels")
    parser.add_argument("--models", nargs="*", default=["anystyle=anystyle"], metavar="NAME=FILE")
    parser.add_argument("--peer-python", default=sys.executable, help=f"one that has {PEER}")
    parser.add_argument("--peer-path", type=Path, help="PYTHONPATH for it")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--show", type=Path, metavar="NAME")
    parser.add_argument("--sheet-pairs", type=int, default=4)
    options = parser.parse_args()
    options.models = dict(one.split("=", 1) for one in options.models)
    options.known = ways(options.models)
    options.folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(options.folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    chosen = options.ways or list(options.known)
    if unknown := sorted(set(chosen) - set(options.known)):
        parser.error(f"there is no way {unknown[0]!r}: there are {', '.join(options.known)}")
    action = clock if options.time else show if options.show else draw
    action(options, Kept(options.folder), chosen)


if __name__ == "__main__":
    main()

"""Seconds to a loss: that with which PyTorch's classic loop ends, from the content picture.

    python scripts/benchmark/benchmark.py --sections time-to-loss --time-folder docs/curves

The peer's losses take hours: with a folder, what is finished is kept there with machine and
versions, and not run again. Its seconds are measured just before ours on each pair; where its
losses are there, of so many evaluations that its history is full, and the others are taken to be
as long as the last of these.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_sides import Theirs, pictures
from bench_tools import Row, machine, versions

LIMIT = 0.20
# Evaluations of the peer that are timed, and of these the last ones, with all of its history.
_TIMED, _FULL = 140, 40
# Figures, and the picture at the end.
_Run = tuple[dict[str, Any], np.ndarray]


def time_section(args: argparse.Namespace, weights: Path, has_torch: bool) -> list[Row]:
    """Of every pair, each way's seconds to the peer's loss as a share of the peer's."""
    if not has_torch:
        note = "the loss to reach is PyTorch's, which is not installed"
        return [Row("time-to-loss", "all", note=note)]
    shares: dict[str, list[float]] = {way: [] for way in args.time_ways}
    compiling: dict[str, list[float]] = {way: [] for way in args.time_ways}
    besides: dict[str, list[float]] = {way: [] for way in args.time_ways}
    rows: list[Row] = []
    for pair in args.time_pairs:
        content, style = (_picture(name) for name in pair.split(":"))
        one = argparse.Namespace(**vars(args) | {"content": content, "style": style})
        name = f"{content.stem}-{style.stem}-{args.time_size}-{args.time_evaluations}"
        peer = _Peer(one, weights)
        aim = _kept(args, f"{name}-PyTorch", peer.run)["losses"][-1]
        for way in args.time_ways:
            mine = _kept(
                args,
                f"{name}-{way}",
                lambda one=one, way=way, aim=aim, peer=peer: _ours(
                    one, weights, way, aim, peer.seconds()
                ),
            )
            spent = mine["PyTorch"]
            rows.append(Row("time-to-loss", f"{name}: PyTorch beside {way}", spent, "s"))
            reached = mine["losses"][-1] <= aim
            share = mine["seconds"][-1] / spent if reached else np.inf
            counts = " + ".join(f"{scale[2]} at {scale[1]} px" for scale in mine["evaluations"])
            note = f"evaluations {counts}" + ", not reached" * (not reached)
            rows.append(Row("time-to-loss", f"{name}: {way} / PyTorch", share, note=note))
            shares[way].append(share)
            compiling[way].append(mine["compiling"] / spent)
            besides[way].append(mine["besides"] / spent)
    for way, found in shares.items():
        note = (
            f"compiling the loops adds {np.median(compiling[way]):.3f}, weights and targets "
            f"{np.median(besides[way]):.3f}"
        )
        what = f"median of {len(found)} pairs: {way} / PyTorch"
        rows.append(Row("time-to-loss", what, float(np.median(found)), limit=LIMIT, note=note))
    return rows


def _picture(name: str) -> Path:
    """A file, or one of the samples."""
    from nst_jax import samples

    return Path(name) if Path(name).suffix else samples.path(name)


def _kept(args: argparse.Namespace, name: str, run: Callable[[], _Run]) -> dict[str, Any]:
    """The figures that `run` gives, or gave before."""
    from nst_jax.files.atomic import write
    from nst_jax.pictures import writing

    if args.time_folder is None:
        return run()[0]
    args.time_folder.mkdir(parents=True, exist_ok=True)
    path = args.time_folder / f"{name.replace(' ', '_').replace('/', '_')}.json"
    if not path.exists():
        about = {"machine": machine(args.threads), "versions": versions()}
        found, picture = run()
        writing.save(path.with_suffix(".png"), picture)
        write(path, json.dumps(about | found).encode())
    return json.loads(path.read_text())


class _Peer:
    """PyTorch's loop on a pair of pictures."""

    def __init__(self, args: argparse.Namespace, weights: Path):
        self._args, self._weights, self._seconds = args, weights, 0.0

    def run(self, evaluations: int | None = None) -> _Run:
        """Its losses and picture, after all evaluations or so many."""
        wanted = self._args.time_evaluations
        timed = min(evaluations or wanted, wanted)
        side = Theirs(self._args, self._args.time_size, self._weights)
        ends = [time.perf_counter()]
        for _ in range(timed - 1):
            side.run(1)
            ends.append(time.perf_counter())
        each = np.diff(ends)
        # The first evaluation warms up: it counts as much as the mean of the others.
        first, pace = each.mean(), each[-_FULL:].mean()
        self._seconds = float(first + each.sum() + (wanted - timed) * pace)
        picture = side.loop.picture()[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()
        return {"losses": _rounded(side.values), "seconds": self._seconds}, picture

    def seconds(self) -> float:
        """Of all evaluations, as measured in this process."""
        if not self._seconds:
            self.run(_TIMED)
        return self._seconds


def _ours(args: argparse.Namespace, weights: Path, way: str, aim: float, theirs: float) -> _Run:
    """`stylize` with the preset `way`, or gatys with options, to the loss `aim`.

    Kept beside it: `theirs`, the peer's seconds; what the compilation of loops took in a first run;
    and weights and targets, once their programs are there.
    """
    from nst_jax.stylizing import api

    content, style = pictures(args, args.time_size)
    chosen = dict(part.split("=") for part in way.split(",")) if "=" in way else {"preset": way}
    options: dict[str, Any] = {"preset": "gatys", "size": None, "iterations": args.time_evaluations}
    options |= {"network": weights, "progress": False}
    options |= {k: _value(v) for k, v in chosen.items()}
    seconds, losses = [], []

    def at_last(now: Any) -> bool:
        return now.scale[:2] == content.shape[:2] and not now.scale.draft

    def follow(now: Any) -> bool:
        # At a coarse scale, and with a draft's network, the loss is another.
        if not at_last(now):
            return False
        seconds.append(time.perf_counter())
        losses.append(float(now.rows.terms["total"].min()))
        return losses[-1] <= aim

    # All programs, so that none is compiled beside what is timed.
    short: dict[str, Any] = options | {"coarse_iterations": 1}
    warm_up = api.stylize(content, style, callback=at_last, **short)
    began = time.perf_counter()
    result = api.stylize(content, style, callback=follow, **options)
    whole = time.perf_counter() - began
    offset = result.run_seconds - seconds[-1]
    found = {
        "PyTorch": theirs,
        "losses": _rounded(losses),
        "seconds": _rounded([s + offset for s in seconds]),
        "evaluations": [list(scale) for scale in result.scales],
        "compiling": warm_up.compile_seconds,
        "besides": whole - result.run_seconds - result.compile_seconds,
    }
    return found, result.image


def _rounded(values: list[float]) -> list[float]:
    """To seven digits, which is what float32 has."""
    return [float(f"{value:.7g}") for value in values]


def _value(text: str) -> Any:
    """What an option's text says: a number, or a name."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text

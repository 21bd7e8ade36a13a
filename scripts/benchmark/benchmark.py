"""Speed and memory of nst_jax beside the classic loop in PyTorch, in the same run.

    python scripts/benchmark/benchmark.py --json benchmark.json      # all sections
    python scripts/benchmark/benchmark.py --sections eval --sizes 256      # one of them
    python scripts/benchmark/benchmark.py --markdown benchmark.json  # an earlier run's tables

Needs `pip install 'nst-jax[torch]'` for the peer (`torch_peer.py` beside this file) and VGG19's
weights.
`docs/performance.md` says what is compared and why.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# As bench_tools does for children: this checkout's package, whatever else is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import bench_feedforward
import bench_folder
import bench_gpu
import bench_lanes
import bench_large
import bench_onnx
import bench_profile
import bench_sweep
import bench_time
from bench_sides import Ours, Theirs, measure_memory, pictures
from bench_tools import (
    ROOT,
    Row,
    child,
    command_seconds,
    in_turn,
    machine,
    markdown,
    median_row,
    report,
    versions,
)

LITE = "vgg19-lite"
# Of the samples, the pairs of time-to-loss.
CONTENTS, STYLES = ("cat", "coffee"), ("night", "autumn", "glass")
EVAL_LIMITS = {256: 0.75, 512: 0.62}
IMPORT_LIMIT = 1.5
# Of the whole command, and of what comes before and after its evaluation.
STYLIZE_LIMITS = {"without": (12.0, None), "with": (6.0, 4.0)}
PEERS = ("NCHW", "channels_last", "bf16")
NO_TORCH = "PyTorch is not installed: pip install 'nst-jax[torch]' adds the peer"


def find_weights(name: str) -> Path | None:
    """The converted weight file of that name or path, or None where it is not on this machine."""
    from nst_jax.errors import InputError
    from nst_jax.files import weights

    try:
        return weights.locate(name)
    except InputError:
        return None


def eval_section(args: argparse.Namespace) -> list[Row]:
    """Seconds per evaluation inside the loop, at each size."""
    if not (weights := find_weights(args.weights)):
        return [Row("eval", "all", note=_absent(args.weights))]
    rows = []
    for size in args.sizes:
        sides: dict[str, Any] = {"nst_jax": Ours(args, size, weights)}
        rows.append(
            Row(
                "eval",
                f"{size} px: nst_jax, compile and first evaluation",
                sides["nst_jax"].first_seconds,
                "s",
            )
        )
        if find_spec("torch"):
            sides |= {f"PyTorch {kind}": Theirs(args, size, weights, kind) for kind in args.peers}
        else:
            rows.append(Row("eval", f"{size} px: PyTorch", note=NO_TORCH))
        limits = {"PyTorch NCHW": EVAL_LIMITS.get(size), "PyTorch channels_last": 1.0}
        rows += _turns("eval", args, size, sides, limits)
        if "PyTorch NCHW" in sides:
            ours, theirs = sides["nst_jax"].values, sides["PyTorch NCHW"].values
            # Equal at the start, or the two are not the same objective. Later, L-BFGS's unit steps
            # part runs that differ by rounding: those of PyTorch's two memory formats, too.
            what = f"{size} px: loss at the start, relative difference to PyTorch"
            rows.append(Row("eval", what, abs(ours[0] / theirs[0] - 1), limit=1e-4))
            for name, side in sides.items():
                what = f"{size} px: {name}, loss after {len(ours)} evaluations / at the start"
                rows.append(Row("eval", what, side.values[-1] / side.values[0]))
    return rows


def _turns(
    section: str,
    args: argparse.Namespace,
    size: int,
    sides: dict[str, Any],
    limits: dict[str, float | None],
) -> list[Row]:
    """Medians of all sides in turn, and the first side against each other one, pair by pair."""
    for side in sides.values():
        side.run(args.warm_up)
    runs = {name: partial(side.run, args.turn) for name, side in sides.items()}
    seconds = {k: [t / args.turn for t in v] for k, v in in_turn(runs, args.rounds).items()}
    rows = [
        median_row(section, f"{size} px: {name}, one evaluation", values, "s")
        for name, values in seconds.items()
    ]
    (first, ours), *others = seconds.items()
    for name, theirs in others:
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        limit = limits.get(name)
        rows.append(
            median_row(section, f"{size} px: {first} / {name}", ratios, "", limit=_on_cpu(limit))
        )
    return rows


def _on_cpu(limit: float | None) -> float | None:
    """Limits are stated for the CPU."""
    import jax

    return limit if jax.default_backend() == "cpu" else None


def _absent(name: str) -> str:
    return f"no weights '{name}' here: nst-jax weights fetch {name}, or set NST_JAX_WEIGHTS_DIR"


def memory_section(args: argparse.Namespace) -> list[Row]:
    """Peak memory of fresh processes, and what XLA says that its program needs."""
    if not (weights := find_weights(args.weights)):
        return [Row("memory", "all", note=_absent(args.weights))]
    rows: list[Row] = []
    for evaluations in args.memory_evaluations:
        what = f"{args.memory_size} px, {evaluations} evaluations"
        ours = _memory(args, "ours", weights, evaluations)
        rows += _memory_rows(f"{what}: nst_jax", ours)
        if not find_spec("torch"):
            rows.append(Row("memory", f"{what}: PyTorch", note=NO_TORCH))
            continue
        theirs = _memory(args, "theirs", weights, evaluations)
        rows += _memory_rows(f"{what}: PyTorch NCHW", theirs)
        ratio = ours["peak"] / theirs["peak"]
        rows.append(Row("memory", f"{what}: nst_jax / PyTorch NCHW", ratio, limit=0.8))
    return rows


def _memory(
    args: argparse.Namespace, side: str, weights: Path, evaluations: int
) -> dict[str, float]:
    options = {
        "--measure-memory": side,
        "--weights": weights.resolve(),
        "--memory-size": args.memory_size,
        "--memory-evaluations": evaluations,
        "--threads": args.threads,
        "--content": args.content,
        "--style": args.style,
    }
    return child([__file__, *(str(part) for pair in options.items() for part in pair)])


def _memory_rows(what: str, found: dict[str, float]) -> list[Row]:
    names = {
        "peak": "peak of the process",
        "imported": "of it, imports",
        "program": "XLA's program: arguments, outputs and temporaries",
        "temporaries": "of it, temporaries",
        "evaluation": "XLA's program of one value and gradient: weights, pictures, temporaries",
        "device": "peak on the device",
    }
    return [Row("memory", f"{what}, {names[k]}", v / 2**20, "MiB") for k, v in found.items()]


def import_section(args: argparse.Namespace) -> list[Row]:
    """Imports of the package beside those of what it stands on."""
    imports = {
        "import nst_jax": "import nst_jax",
        "import nst_jax, stylize": "import nst_jax; nst_jax.stylize",
        "import jax, flax.nnx, optax": "import jax, flax.nnx, optax",
    }
    runs = {k: partial(command_seconds, ["-c", code]) for k, code in imports.items()}
    seconds = in_turn(runs, args.repeats)
    rows = [median_row("import", what, values, "s") for what, values in seconds.items()]
    _, ours, base = seconds.values()
    ratios = [a / b for a, b in zip(ours, base, strict=True)]
    what = "import nst_jax, stylize / jax, flax.nnx, optax"
    return [*rows, median_row("import", what, ratios, "", limit=IMPORT_LIMIT)]


def stylize_section(args: argparse.Namespace) -> list[Row]:
    """From the start of the command to its exit after one evaluation, cold and warm.

    Less its evaluation, the command is an upper bound of the time until that begins.
    """
    from nst_jax.pictures import reading

    if not (weights := find_weights(args.weights)):
        return [Row("stylize", "all", note=_absent(args.weights))]
    rows = []
    times: dict[str, list[float]] = {kind: [] for kind in STYLIZE_LIMITS}
    others: dict[str, list[float]] = {kind: [] for kind in STYLIZE_LIMITS}
    compiled = 0
    for _ in range(args.repeats):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "cache"
            command = ["-m", "nst_jax", "stylize", str(args.content), str(args.style)]
            command += ["--preset", "gatys", "--iterations", "1"]
            command += ["--output", f"{folder}/out.png", "--force"]
            command += ["--size", str(args.stylize_size), "--network", str(weights.resolve())]
            programs = []
            for kind in times:
                spent = command_seconds(command, JAX_COMPILATION_CACHE_DIR=str(cache))
                times[kind].append(spent)
                run = reading.read_settings(f"{folder}/out.png")["run_seconds"]
                others[kind].append(spent - run)
                programs.append(len(list(cache.glob("*-cache"))))
            compiled += programs[-1] - programs[0]
    what = f"{args.stylize_size} px, whole command with one evaluation"
    for kind, (whole, other) in STYLIZE_LIMITS.items():
        rows.append(
            median_row("stylize", f"{what}, {kind} cache", times[kind], "s", limit=_on_cpu(whole))
        )
        before = f"{what}, {kind} cache, less the evaluation"
        rows.append(median_row("stylize", before, others[kind], "s", limit=_on_cpu(other)))
    return [*rows, Row("stylize", "programs compiled in spite of the cache", compiled, limit=0)]


def lite_section(args: argparse.Namespace) -> list[Row]:
    """The embedded network beside VGG19, ours and PyTorch's: speed in the loop, memory."""
    small, big = find_weights(LITE), find_weights(args.weights)
    if not small or not big:
        return [Row("lite", "all", note=_absent(args.weights if small else LITE))]
    size, rows = args.memory_size, []
    sides: dict[str, Any] = {LITE: Ours(args, size, small), "VGG19": Ours(args, size, big)}
    if find_spec("torch"):
        sides["PyTorch VGG19 NCHW"] = Theirs(args, size, big)
    rows += _turns("lite", args, size, sides, {"VGG19": 1 / 5, "PyTorch VGG19 NCHW": 1 / 7})
    for evaluations in args.memory_evaluations:
        found = [_memory(args, "ours", path, evaluations) for path in (small, big)]
        what = f"{size} px, {evaluations} evaluations: {LITE} / VGG19"
        for one in found:
            one["peak less imports"] = one["peak"] - one["imported"]
        for name in ("peak", "peak less imports", "program", "evaluation"):
            ratio = found[0][name] / found[1][name]
            # Imports and the curvature pairs of both are the same: the network is the evaluation.
            limit = 1 / 3 if name == "evaluation" else None
            rows.append(Row("lite", f"{what}, memory, {name}", ratio, limit=limit))
    return rows


def traces_section(args: argparse.Namespace) -> list[Row]:
    """How often the loop is traced for two pictures of one size with different weights."""
    from nst_jax.solvers import solver
    from nst_jax.stylizing import api

    if not (weights := find_weights(args.weights)):
        return [Row("traces", "all", note=_absent(args.weights))]
    traces = 0
    advance = solver.advance

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal traces
        traces += 1
        return advance(*arguments, **options)

    content, style = pictures(args, 64)
    solver.advance_jit.clear_cache()
    solver.advance = counting  # looked up when advance_jit is traced
    try:
        for a, b, weight in ((content, style, 1e3), (style, content, 5e2)):
            options: dict[str, Any] = {"style_weight": weight, "size": None, "iterations": 3}
            api.stylize(a, b, preset="gatys", network=weights, progress=False, **options)
    finally:
        solver.advance = advance
    return [Row("traces", "two pictures of one size, other weights", traces, limit=1)]


def sweep_section(args: argparse.Namespace) -> Iterable[Row]:
    """Lanes side by side against single runs, with the embedded network."""
    if not (weights := find_weights(args.sweep_weights)):
        return [Row("sweep", "all", note=_absent(args.sweep_weights))]
    return bench_sweep.sweep_section(args, weights, _on_cpu)


def lanes_section(args: argparse.Namespace) -> Iterable[Row]:
    """Lanes side by side on an accelerator."""
    if not (weights := find_weights(args.weights)):
        return [Row("lanes", "all", note=_absent(args.weights))]
    return bench_lanes.lanes_section(args, weights)


def large_section(args: argparse.Namespace) -> list[Row]:
    """Peak memory by size, and the estimate of it."""
    if not (weights := find_weights(args.weights)):
        return [Row("large", "all", note=_absent(args.weights))]
    return bench_large.large_section(args, weights)


def profile_section(args: argparse.Namespace) -> list[Row]:
    """Convolutions alone, and what the machine makes of a matrix product."""
    if not (weights := find_weights(args.weights)):
        return [Row("profile", "all", note=_absent(args.weights))]
    if Path(weights).stem == LITE:
        return [Row("profile", "all", note=f"of VGG networks; {LITE} names no convolutions")]
    return bench_profile.profile_section(args, weights, _on_cpu)


def feedforward_section(args: argparse.Namespace) -> list[Row]:
    """Networks that draw in one pass, beside PyTorch's."""
    return bench_feedforward.feedforward_section(args, _on_cpu)


def onnx_section(args: argparse.Namespace) -> list[Row]:
    """Another project's styles, beside onnxruntime."""
    return bench_onnx.onnx_section(args, _on_cpu)


def time_section(args: argparse.Namespace) -> list[Row]:
    """Seconds to the loss with which PyTorch's loop ends."""
    if not (weights := find_weights(args.weights)):
        return [Row("time-to-loss", "all", note=_absent(args.weights))]
    return bench_time.time_section(args, weights, bool(find_spec("torch")))


def gpu_section(args: argparse.Namespace) -> Iterable[Row]:
    """What only a GPU can tell."""
    if not (weights := find_weights(args.weights)):
        return [Row("gpu", "all", note=_absent(args.weights))]
    return bench_gpu.gpu_section(args, weights)


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterable[Row]]] = {
    "import": import_section,
    "stylize": stylize_section,
    "memory": memory_section,
    "eval": eval_section,
    "profile": profile_section,
    "lite": lite_section,
    "traces": traces_section,
    "sweep": sweep_section,
    "lanes": lanes_section,
    "feedforward": feedforward_section,
    "folder": bench_folder.folder_section,
    "onnx": onnx_section,
    "large": large_section,
    "gpu": gpu_section,
    "time-to-loss": time_section,
}
# An hour and more on two cores.
LONG = ("time-to-loss",)


def parse() -> argparse.Namespace:
    """The command line."""
    numbers = partial(_list_of, int)
    samples = ROOT / "nst_jax" / "samples"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(
        description="Speed and memory beside the classic loop in PyTorch, in the same run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    texts = partial(_list_of, str)
    short = [name for name in SECTIONS if name not in LONG]
    add("--sections", type=texts, default=short, help="which, in order; there is time-to-loss, too")
    add("--sizes", type=numbers, default=[256, 512], help="of eval and profile, pixels a side")
    add("--weights", default="vgg19", help="name or converted file, for both sides")
    add("--content", type=Path, default=samples / "cat.jpg")
    add("--style", type=Path, default=samples / "night.jpg")
    add("--peers", type=texts, default=[*PEERS], help="of eval")
    add("--rounds", type=int, default=12, help="turns of each side in eval, profile and lite")
    add("--turn", type=int, default=3, help="evaluations a turn")
    add("--warm-up", type=int, default=3, help="evaluations before the turns")
    add("--repeats", type=int, default=5, help="of the commands in import and stylize")
    add("--stylize-size", type=int, default=512)
    add("--memory-size", type=int, default=512, help="of memory and lite, pixels a side")
    add("--memory-evaluations", type=numbers, default=[20, 110])
    add("--sweep-weights", default=LITE, help="network of sweep")
    add("--sweep-sizes", type=numbers, default=[64, 512], help="of sweep, pixels a side")
    add("--sweep-evaluations", type=int, default=20, help="of each lane")
    add("--sweep-rounds", type=int, default=3, help="turns of each side in sweep")
    add(
        "--sweep-memory-size", type=int, default=192, help="of sweep's memory, devices and commands"
    )
    add("--large-sizes", type=texts, default=["512", "1024", "2048", "3840x2160"])
    add("--large-evaluations", type=int, default=2)
    add("--large-tile", type=int, help="side of the tiles of large; chosen if not given")
    pairs = [f"{content}:{style}" for content in CONTENTS for style in STYLES]
    add("--time-pairs", type=texts, default=pairs, help="CONTENT:STYLE,...: files, or samples")
    add("--time-size", type=int, default=512, help="of time-to-loss, pixels a side")
    add("--time-evaluations", type=int, default=500, help="of the peer, and at most of ours")
    add(
        "--time-ways",
        type=lambda text: text.split(";"),
        default=["gatys", "precondition=1", "default"],
        help="presets, or OPTION=VALUE,... of the preset gatys, between semicolons",
    )
    add("--time-folder", type=Path, help="keeps the curves of time-to-loss, and what is finished")
    add("--gpu-sizes", type=numbers, default=[*bench_gpu.SIZES], help="pixels a side")
    add("--feedforward-size", type=int, default=512, help="pixels a side")
    bench_onnx.add(parser)
    add("--threads", type=int, default=cores, help="processors that each side may use")
    add("--json", type=Path, metavar="FILE", help="write the result there, single samples too")
    add("--markdown", type=Path, metavar="FILE", help="only print the tables of that result")
    add("--measure-memory", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name, given, known in (
        ("section", args.sections, SECTIONS),
        ("peer", args.peers, PEERS),
    ):
        if unknown := set(given) - set(known):
            parser.error(f"no {name} '{unknown.pop()}'; there is {', '.join(known)}")
    if args.turn < 1 or args.warm_up < 1:
        parser.error("--turn and --warm-up must be at least 1")
    return args


def _list_of(kind: Callable[[str], Any], text: str) -> list[Any]:
    return [kind(part) for part in text.split(",")]


def main() -> None:
    """Run the sections; the JSON file grows with each row, so that a stopped run is not lost."""
    args = parse()
    if args.markdown:
        print(markdown(json.loads(args.markdown.read_text())))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    # Leaves the peer room on a GPU that both share.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if args.measure_memory:
        args.json.write_text(json.dumps(measure_memory(args)))
        return
    about: dict[str, Any] = {
        "machine": machine(args.threads),
        "versions": versions(),
        "options": {k: _plain(v) for k, v in vars(args).items() if v is not None and k != "json"},
    }
    rows: list[Row] = []
    result = report(rows, about)
    for name in args.sections:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for row in SECTIONS[name](args):
            rows.append(row)
            result = report(rows, about)
            if args.json:
                args.json.write_text(json.dumps(result, indent=1))
    print(markdown(result))


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Path) else value


if __name__ == "__main__":
    main()

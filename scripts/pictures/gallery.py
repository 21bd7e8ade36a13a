"""Stylize the sample photographs in the sample styles and lay the results out on one sheet.

python scripts/pictures/gallery.py docs/gallery.jpg --contents cat --styles night waves glass ink
python scripts/pictures/gallery.py color.jpg --control color --size 256 --iterations 150
"""

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

import nst_jax as nst
from nst_jax import samples
from nst_jax.pictures import resizing, writing
from nst_jax.pictures.sheet import contact_sheet

_QUALITY = 88  # of JPEG: sheets are for looking at

SUBJECT = "the content's mask"
# Ellipses around what the photographs show: middle and radii, in widths and heights.
_SUBJECTS = {"cat": ((0.42, 0.45), (0.42, 0.66)), "coffee": ((0.465, 0.51), (0.35, 0.48))}

# What each sheet shows: a caption for every column, and the options that made it.
CONTROLS: dict[str, dict[str, dict[str, Any]]] = {
    "color": {
        "none": {},
        "luminance": {"color": "luminance"},
        "luminance-after": {"color": "luminance-after"},
        "match-symmetric": {"color": "match-symmetric"},
        "match-sliced": {"color": "match-sliced"},
    },
    "color-space": {
        f"{color}, {space}": {"color": color, "color_space": space}
        for color in ("luminance", "match-symmetric", "match-histogram")
        for space in ("rgb", "oklab")
    },
    "regions": {
        "no regions": {},
        "keep=MASK": {"keep": SUBJECT},
        "region_styles=255:1,0:2": {
            "content_regions": SUBJECT,
            "region_styles": {"255": 1, "0": 2},
        },
        "region_styles=255:2,0:1": {
            "content_regions": SUBJECT,
            "region_styles": {"255": 2, "0": 1},
        },
        "region_styles=255:0,0:1": {
            "content_regions": SUBJECT,
            "region_styles": {"255": 0, "0": 1},
        },
    },
    "style-blend": {
        f"style_blend={a:g},{1 - a:g}": {"style_blend": (a, 1 - a)} for a in (1, 0.75, 0.5, 0.25, 0)
    },
    # Each with the weight at which its strokes are as strong as the Gram matrix's.
    "statistics": {
        f"{name}, style_weight={weight:g}": {"statistic": name, "style_weight": weight}
        for name, weight in {
            "gram": 1e3,
            "moments": 1e2,
            "wasserstein": 1e1,
            "sliced": 1e1,
            "histogram": 1e1,
        }.items()
    },
    "coarse-to-fine": {
        "one size": {},
        "min_size=128": {"min_size": 128, "coarse_iterations": 100},
        "min_size=64": {"min_size": 64, "coarse_iterations": 100},
    },
    "schedules": {
        "constant": {},
        "style_weight_schedule, linear:0.01:1:0.8": {"style_weight_schedule": "linear:0.01:1:0.8"},
        "content_weight_schedule, linear:100:1:0.8": {
            "content_weight_schedule": "linear:100:1:0.8"
        },
    },
    "style-scale": {f"style_scale={s:g}": {"style_scale": s} for s in (0.6, 1, 1.6, 2.5)},
}


def mask(content: str, height: int, width: int) -> np.ndarray:
    """White on what a photograph shows, black around it, with an edge of a few pixels."""
    middle, radii = (np.array(pair) * (width, height) for pair in _SUBJECTS[content])
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    distance = np.hypot((x - middle[0]) / radii[0], (y - middle[1]) / radii[1])
    return np.clip(0.5 + (1 - distance) * radii.min() / 4, 0, 1).astype(np.float32)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Stylize samples, and lay them out on one sheet.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--control", choices=CONTROLS, help="show what this one does")
    parser.add_argument("--contents", nargs="+", default=list(samples.content_names()))
    parser.add_argument("--styles", nargs="+", default=list(samples.style_names()))
    parser.add_argument("--network", default="auto")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=400)
    return parser


def _stylized(
    args: argparse.Namespace, content: str, styles: Sequence[str], **options: Any
) -> np.ndarray:
    photograph = samples.content(content)
    height, width, _ = photograph.shape
    options = {k: mask(content, height, width) if v is SUBJECT else v for k, v in options.items()}
    result = nst.stylize(
        photograph,
        [samples.style(name) for name in styles],
        preset="gatys",
        **{"network": args.network, "size": args.size, "iterations": args.iterations, **options},
    )
    print(content, *styles, *options, result, flush=True)
    return result.image


def main() -> None:
    """Read the flags, stylize, write the sheet."""
    args = _parser().parse_args()
    writing.check_output(args.output, overwrite=True)
    variants = CONTROLS.get(args.control, {})
    together = 2 if args.control in ("style-blend", "regions") else 1
    rows = []
    for content in args.contents:
        photograph = samples.content(content)
        height, width, _ = photograph.shape
        height, width = resizing.fit(height, width, args.size)
        shown = resizing.resize(photograph, (height, width))
        if not variants:
            rows.append([shown, *(_stylized(args, content, [s]) for s in args.styles)])
            continue
        for styles in combinations(args.styles, together):
            parts = [
                resizing.cover(samples.style(name), (height, width // together)) for name in styles
            ]
            made = [_stylized(args, content, styles, **options) for options in variants.values()]
            rows.append([shown, np.concatenate(parts, axis=1), *made])
    columns = ["content", "style", *variants] if variants else ["content", *args.styles]
    contact_sheet(rows, columns=columns).save(args.output, quality=_QUALITY)
    print(args.output)


if __name__ == "__main__":
    main()

"""Stylize the sample photographs in the sample styles and lay the results out on one sheet.

python scripts/gallery.py docs/gallery.jpg --contents cat --styles night waves glass ink
"""

import argparse
from pathlib import Path

import numpy as np

import nst_jax as nst
from nst_jax import images, samples

GAP = 8


def sheet(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Pictures of one height per row, with white gaps between them."""
    lines = []
    for row in rows:
        height = row[0].shape[0]
        parts = [np.ones((height, GAP, 3), np.float32)] * (2 * len(row) - 1)
        parts[::2] = row
        lines += [np.concatenate(parts, axis=1), None]
    width = max(line.shape[1] for line in lines if line is not None)
    gap = np.ones((GAP, width, 3), np.float32)
    return np.concatenate([gap if line is None else _pad(line, width) for line in lines[:-1]])


def _pad(line: np.ndarray, width: int) -> np.ndarray:
    return np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=1)


def main() -> None:
    """Read the flags, stylize, write the sheet."""
    parser = argparse.ArgumentParser(description="Stylize samples, and lay them out on one sheet.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--contents", nargs="+", default=list(samples.content_names()))
    parser.add_argument("--styles", nargs="+", default=list(samples.style_names()))
    parser.add_argument("--network", default="auto")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=400)
    args = parser.parse_args()
    images.check_output(args.output, overwrite=True)
    rows = []
    for content in args.contents:
        photograph = samples.content(content)
        height, width, _ = photograph.shape
        size = images.fit(height, width, args.size)
        row = [images.resize(photograph, size)]
        for style in args.styles:
            result = nst.stylize(
                photograph,
                samples.style(style),
                network=args.network,
                size=args.size,
                iterations=args.iterations,
            )
            print(content, style, result)
            row.append(result.image)
        rows.append(row)
    images.save(args.output, sheet(rows))
    print(args.output)


if __name__ == "__main__":
    main()

"""Optical flow beside that of others, on a pair of photographs with known motion.

The pair is `motorcycle` of scikit-image's package (Middlebury 2014 stereo): the motion is its true
disparity, to the left. Pixels without disparity count as occluded, and so do those that another
pixel covers in the second picture. Print for each method the end-point error of visible pixels in
pixels, the share of them that is wrong by more than 3 pixels, precision and recall of the occluded
pixels that the forward-backward check finds, and seconds for a flow (the second call).
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from skimage.color import rgb2gray
from skimage.data import stereo_motorcycle
from skimage.registration import optical_flow_tvl1

from nst_jax.motion.flow import flow
from nst_jax.motion.reliability import leaves, occluded


def tvl1(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """TV-L1 of scikit-image with its defaults, in our order of axes."""
    rows, columns = optical_flow_tvl1(rgb2gray(a), rgb2gray(b))
    return np.stack([columns, rows], -1).astype(np.float32)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nst_jax, variational": flow,
    "OpenCV, DIS (medium)": lambda a, b: flow(a, b, "dis"),
    "scikit-image, TV-L1": tvl1,
}


def hidden(disparity: np.ndarray) -> np.ndarray:
    """Where nothing is known, or a nearer pixel, of larger disparity, lands on the same place."""
    known = np.isfinite(disparity)
    height, width = disparity.shape
    rows, columns = np.nonzero(known)
    shifts = disparity[known]
    places = np.rint(columns - shifts).astype(int)
    inside = (places >= 0) & (places < width)
    nearest = np.zeros((height, width))
    np.maximum.at(nearest, (rows[inside], places[inside]), shifts[inside])
    found = ~known
    behind = nearest[rows[inside], places[inside]] > shifts[inside] + 1
    found[rows[inside], columns[inside]] = behind
    found[rows[~inside], columns[~inside]] = True
    return found


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description="Optical flow beside that of others.")
    parser.add_argument("--scale", type=int, default=1, help="take every n-th pixel")
    scale = parser.parse_args().scale
    left, right, disparity = (array[::scale, ::scale] for array in stereo_motorcycle())
    a, b = (picture.astype(np.float32) / 255 for picture in (left, right))
    disparity = np.where(np.isfinite(disparity), disparity / scale, np.nan)
    truth = hidden(disparity)
    print(f"{a.shape[1]}x{a.shape[0]} pixels, {truth.mean():.1%} occluded\n")
    print("| method | error | > 3 pixels | precision | recall | seconds |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, method in METHODS.items():
        method(a, b)
        begin = time.perf_counter()
        forward = method(a, b)
        seconds = time.perf_counter() - begin
        errors = np.hypot(forward[..., 0] + disparity, forward[..., 1])[~truth]
        found = np.asarray(occluded(forward, method(b, a)) | leaves(forward))
        both = (found & truth).sum()
        print(
            f"| {name} | {errors.mean():.2f} | {(errors > 3).mean():.1%} | "
            f"{both / found.sum():.2f} | {both / truth.sum():.2f} | {seconds:.2f} |"
        )


if __name__ == "__main__":
    main()

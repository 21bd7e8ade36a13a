"""What clipping costs, with and without a penalty on values out of range.

Stylize six pairs of sample pictures with each weight of the penalty. Print the loss of the preset
`gatys` for the picture that was optimised, and for the saved one, clipped and rounded to 8 bits. A
folder keeps the saved pictures to look at.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import nst_jax as nst
from nst_jax.losses.content import Content
from nst_jax.losses.style import Style
from nst_jax.networks.load import load_network
from nst_jax.pictures.reading import read

GATYS = nst.Objective((Content(), Style()))
WEIGHTS = nst.Weights({"content": 1.0, "style": 1e3}, {})


@jax.jit
def loss(picture, network, targets) -> jax.Array:
    """The value of the objective."""
    return nst.objective(GATYS, picture, network, targets, WEIGHTS)[0]


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(
        description="What clipping costs, with and without a penalty on values out of range.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="for the saved pictures")
    parser.add_argument("--network", default="vgg19")
    parser.add_argument("--size", type=int, default=256, help="long side in pixels")
    parser.add_argument("--range-weights", type=float, nargs="+", default=[0.0, 1e5])
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    network = load_network(args.network)
    print("| content, style | range weight | optimised | saved |\n|---|---|---|---|")
    for content_name in ("cat", "coffee"):
        for style_name in ("night", "autumn", "glass"):
            names = nst.samples.content(content_name), nst.samples.style(style_name)
            content, style = (jnp.asarray(read(name, size=args.size).rgb) for name in names)
            targets = nst.targets_of(GATYS, nst.Scene(network, content, (style,)))
            for weight in args.range_weights:
                result = nst.stylize(
                    *names, network=network, size=args.size, range_weight=weight, progress=False
                )
                result.save(args.folder / f"{content_name}-{style_name}-{weight:g}.png")
                saved = np.rint(result.image * 255) / np.float32(255)
                optimised = sum(result.losses[k][result.best] for k in ("content", "style"))
                after = float(loss(saved, network, targets))
                print(
                    f"| {content_name}, {style_name} | {weight:g} | {optimised:.3g} | {after:.3g} |"
                )


if __name__ == "__main__":
    main()

"""Short runs of everything that draws; `golden/results.npz` keeps what they came to."""

from collections.abc import Callable

import numpy as np
import tiny

import nst_jax as nst

CONTENT, STYLE, OTHER = tiny.picture(24, 32), tiny.picture(32, 24, 2), tiny.picture(24, 24, 3)
REGIONS = np.repeat([[0, 255]], 24, 0).repeat(16, 1).astype(np.uint8)
KEEP = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))
# The pictures were drawn before the preset had a penalty on values out of range.
DEFAULT = {"preset": "default", "range_weight": 0}
FAST = {"size": None, "progress": False}


def stylized(style=STYLE, network=tiny.network, **options) -> np.ndarray:
    options = {"preset": "gatys", "iterations": 6, **FAST, "network": network(), **options}
    return nst.stylize(CONTENT, style, **options).image


def shallow(style=STYLE, **options) -> np.ndarray:
    return stylized(style, **tiny.SHALLOW, **options)


def drafted(**options) -> np.ndarray:
    few = {"min_size": 20, "coarse_iterations": 4, **DEFAULT}
    return shallow(network=tiny.wide, **few, **options)


def lite() -> np.ndarray:
    few = {"min_size": 32, "size": 64, "coarse_iterations": 4, **DEFAULT}
    return stylized(network=lambda: "vgg19-lite", **few)


def lanes(in_flight: int) -> np.ndarray:
    options = {"style_weight": [1e2, 1e3, 1e4], "iterations": 5, "history": 4, **DEFAULT}
    found = nst.sweep(
        CONTENT,
        STYLE,
        network=tiny.network(),
        seed=0,
        in_flight=in_flight,
        **options,
        **FAST,
        **tiny.SHALLOW,
    )
    return np.stack([lane.image for lane in found])


def drawn(model: str, style) -> np.ndarray:
    return nst.load(model)(tiny.picture(48, 64), style).image


RUNS: dict[str, Callable[[], np.ndarray]] = {
    "default": drafted,
    "default, adam": lambda: drafted(optimizer="adam"),
    "default, vgg19-lite": lite,
    "gatys": stylized,
    "paper": lambda: stylized(preset="paper"),
    "neural-style": lambda: stylized(preset="neural-style"),
    "wasserstein": lambda: stylized(preset="wasserstein"),
    "adam": lambda: shallow(optimizer="adam", average=0.9),
    "sgd": lambda: shallow(optimizer="sgd"),
    "lbfgs-zoom": lambda: shallow(optimizer="lbfgs-zoom"),
    "moments": lambda: shallow(statistic="moments", style_weight=10),
    "sliced": lambda: shallow(statistic="sliced", style_weight=10),
    "histogram": lambda: shallow(statistic="histogram", style_weight=10),
    "normalized gradients": lambda: shallow(normalize_gradients=True),
    "tv": lambda: shallow(tv_weight=0.1),
    "tiles": lambda: shallow(tile=8),
    "schedule": lambda: shallow(style_weight_schedule="linear:0.1:1:0.5", optimizer="adam"),
    "two styles": lambda: shallow([STYLE, OTHER], style_blend=(2, 1)),
    "regions": lambda: shallow(
        [STYLE, OTHER], content_regions=REGIONS, region_styles="0:1,255:2", keep=KEEP
    ),
    "regions in tiles": lambda: shallow(
        [STYLE, OTHER], content_regions=REGIONS, region_styles="0:1,255:2", tile=8
    ),
    "luminance": lambda: shallow(color="luminance"),
    "match": lambda: shallow(color="match-symmetric"),
    "lanes": lambda: lanes(3),
    "lanes, one by one": lambda: lanes(1),
    "styles": lambda: drawn("styles", "night:2,ink"),
    "anystyle": lambda: drawn("anystyle", OTHER.repeat(3, 0).repeat(3, 1)),
}


def alike(found, expected):
    """On the whole the same, though single values may be off by 5 grey levels."""
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert np.abs(found - expected).mean() < 1e-3

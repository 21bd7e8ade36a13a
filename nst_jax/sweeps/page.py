"""The page of a sweep: one HTML file to look at its pictures, which needs no other file.

Its parts are in `web`: the document, its style, and scripts without a library.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from nst_jax._version import __version__
from nst_jax.pictures import resizing
from nst_jax.stylizing.command import command
from nst_jax.stylizing.result import Stylization
from nst_jax.sweeps.axes import shown

_WEB = Path(__file__).parent / "web"
_SCRIPTS = ("parts.js", "state.js", "grid.js", "curve.js", "stage.js", "viewer.js", "main.js")
# All previews together, as they stand in the page.
_LIMIT = 10_000_000
_SIDE, _LEAST_SIDE = 512, 16


def page(
    plan: Mapping[str, Any],
    results: Mapping[int, Stylization],
    table: Sequence[Mapping[str, Any]],
) -> str:
    """Make the page, as HTML in UTF-8.

    Args:
        plan: what `plan_of` returns.
        results: the stylizations by the number of their lane.
        table: one row for each result, in the order of the lanes; see `Sweep.table`.
    """
    text = {name: (_WEB / name).read_text("utf-8") for name in ("index.html", "style.css")}
    script = "\n".join((_WEB / name).read_text("utf-8") for name in _SCRIPTS)
    # A "<" in a name could end the script element that holds the data.
    data = json.dumps(data_of(plan, results, table), allow_nan=False).replace("<", "\\u003c")
    # The data come last: what they hold is not a place to fill in.
    filled = text["index.html"].replace("{{style}}", text["style.css"])
    return filled.replace("{{script}}", script).replace("{{data}}", data)


def data_of(
    plan: Mapping[str, Any],
    results: Mapping[int, Stylization],
    table: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What the page shows, as plain values; arguments as for `page`."""
    names = {name: [shown(value) for value in values] for name, values in plan["axes"].items()}
    rows = dict(zip(sorted(results), table, strict=True))
    pictures = previews({i: _on_white(result) for i, result in results.items()})
    lanes = []
    for number, lane in enumerate(plan["lanes"]):
        at = {name: shown(value) for name, value in lane["values"].items()}
        found: dict[str, Any] = {"values": [names[name].index(at[name]) for name in names]}
        if result := results.get(number):
            line, missing = command(
                result.settings, result.network, result.sources, lane["picture"]
            )
            height, width, _ = result.image.shape
            found |= {
                "row": rows[number],
                "settings": lane["settings"],
                "network": result.network,
                "sources": dict(result.sources),
                "picture": lane["picture"],
                "preview": pictures[number],
                "width": width,
                "height": height,
                "command": line,
                "missing": missing,
            }
        lanes.append(found)
    return {
        "version": __version__,
        "how": plan["how"],
        "axes": [{"name": name, "values": values} for name, values in names.items()],
        "settings": plan["settings"],
        "lanes": lanes,
    }


def previews(
    pictures: Mapping[int, Float[np.ndarray, "_ _ 3"]], limit: int = _LIMIT
) -> dict[int, str]:
    """The pictures as data URLs of JPEG files, small enough to be `limit` characters in all.

    The long side is 512 pixels, or less if there are many pictures, but at least 16, whatever the
    limit. No picture is enlarged.
    """
    side = _SIDE
    while True:
        found = {i: _data_url(picture, side) for i, picture in pictures.items()}
        size = sum(map(len, found.values()))
        if size <= limit or side == _LEAST_SIDE:
            return found
        side = max(_LEAST_SIDE, int(side * 0.9 * min(1, (limit / size) ** 0.5)))


def _on_white(result: Stylization) -> Float[np.ndarray, "_ _ 3"]:
    """The picture without transparency, which JPEG lacks."""
    if result.alpha is None:
        return result.image
    alpha = result.alpha[..., None]
    return result.image * alpha + (1 - alpha)


def _data_url(rgb: Float[np.ndarray, "h w 3"], side: int) -> str:
    height, width, _ = rgb.shape
    small = resizing.resize(rgb, resizing.fit(height, width, min(side, max(height, width))))
    file = io.BytesIO()
    pixels = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()

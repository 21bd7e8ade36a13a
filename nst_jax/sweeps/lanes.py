"""Make the lanes of a sweep: resolve their settings, load networks, assign pictures."""

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nst_jax.errors import InputError
from nst_jax.networks.base import Network
from nst_jax.networks.load import load_network
from nst_jax.pictures import reading
from nst_jax.pictures.sources import PictureSource
from nst_jax.stylizing.api import redrawing
from nst_jax.stylizing.inputs import Sources, read_pictures
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.resolving import known_layers, network_options, resolve_options
from nst_jax.stylizing.result import Stylization
from nst_jax.stylizing.run import draft_of
from nst_jax.stylizing.settings import PICTURE, Settings
from nst_jax.sweeps.axes import Style, described, require_distinct


@dataclass(frozen=True)
class Lane:
    """One stylization of a sweep, before its pictures are read.

    Attributes:
        number: place in the sweep, from 0.
        values: the value of each axis, by name.
        settings: the settings of the stylization.
        network: the feature extractor.
        draft: the network that draws first; None for no draft.
        pair: names of content and style.
        sources: the pictures and region maps, as they were given.
        how: the arguments `network`, `offline` and `progress` of `stylize`.
        also: names of the registry's terms that have a weight in any lane of the sweep. They are
            part of every lane's program, so that a weight of zero needs no program of its own.
    """

    number: int
    values: Mapping[str, Any]
    settings: Settings
    network: Network
    draft: Network | None
    pair: tuple[str, str]
    sources: Sources
    how: Mapping[str, Any]
    also: tuple[str, ...] = ()

    @property
    def program(self) -> tuple[Any, ...]:
        """What the compiled program depends on, besides pictures and network."""
        return replace(self.settings, **{f"{name}_weight": 1.0 for name in self.also}).program()

    def request(self) -> Request:
        """Read the pictures, and return the request for the lane."""
        pictures = read_pictures(self.settings, self.sources)
        return Request(self.settings, self.network, pictures, self.draft, self.also)

    def redrawing(self, settings: Settings) -> Callable[..., Stylization]:
        """`stylize` with the lane's pictures and these settings; see `api.redrawing`."""
        return redrawing(settings, self.sources, **self.how)

    def from_picture(self, options: Mapping[str, Any]) -> "Lane":
        """The lane with other options, among them `init`, a picture to start from."""
        settings = replace(self.settings, **{**options, "init": PICTURE})
        draft = self.draft if settings.draft else None
        sources = self.sources._replace(start=options["init"])
        return replace(self, settings=settings, draft=draft, sources=sources)

    def __str__(self) -> str:
        return f"Lane {self.number} ({described(self.values)})"


def lanes_of(
    points: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, Any],
    contents: Mapping[str, PictureSource],
    styles: Mapping[str, Style],
    regions: Sources,
    *,
    network: Any,
    offline: bool | None,
    progress: bool,
) -> list[Lane]:
    """Make one lane for each point of the axes.

    Args:
        points: for each lane, the value of each axis. `content` and `style` are axes of names.
        fixed: options that all lanes share.
        contents: content pictures by name.
        styles: styles by name.
        regions: region maps and mask for all lanes.
        network: as for `stylize`; used where it is not an axis.
        offline: never download weights.
        progress: show a bar while weights are downloaded.

    Raises:
        InputError: an option cannot be used, two lanes are the same, or the weights of a network
            cannot be had.
    """
    load = _Networks(network, offline=offline, progress=progress)
    found = []
    for number, point in enumerate(points):
        content = point.get("content", next(iter(contents)))
        style = point.get("style", next(iter(styles)))
        options = {**fixed, **{k: v for k, v in point.items() if k not in ("content", "style")}}
        preset, named = options.pop("preset", "default"), options.pop("network", network)
        settings, start = resolve_options(preset, named, options)
        if not settings.iterations:
            raise InputError(
                "iterations is 0, but a lane of a sweep needs one evaluation at least."
            )
        loaded = load(settings)
        settings = known_layers(settings, loaded)
        plain = settings.to_dict()
        values = {k: plain.get(k, v) for k, v in point.items()}
        if values.get("init") == PICTURE:
            values["init"] = f"{PICTURE} {_digest(start, 'init')[:6]}"
        found.append(
            Lane(
                number=number,
                values={
                    k: os.path.basename(v) if k in ("network", "init") else v
                    for k, v in values.items()
                },
                settings=settings,
                network=loaded,
                draft=draft_of(settings, loaded, load.once),
                pair=(content, style),
                how={
                    "network": network if isinstance(network, Network) else named,
                    "offline": offline,
                    "progress": progress,
                },
                sources=regions._replace(
                    content=contents[content], style=styles[style], start=start
                ),
            )
        )
    require_distinct([(lane.values, (lane.settings, lane.pair, lane.values)) for lane in found])
    if any(lane.values.get("seed") for lane in found):
        for init in {lane.settings.init for lane in found} - {"noise", "blend"}:
            warnings.warn(
                f"seed is an axis, but init '{init}' draws no noise: lanes that differ in seed "
                "alone will be equal. For noise, set init to 'noise' or 'blend'.",
                stacklevel=3,
            )
    also = tuple(dict.fromkeys(name for lane in found for name in lane.settings.weighing))
    return [replace(lane, also=also) for lane in found]


class _Networks:
    """Loads networks by name and options, each of them once."""

    def __init__(self, network: Any, **how: Any):
        self.network, self.how = network, how
        self.loaded: dict[Any, Network] = {}

    def __call__(self, settings: Settings) -> Network:
        if isinstance(self.network, Network):
            return self.network
        return self.once(settings.network, network_options(settings))

    def once(self, *key: Any) -> Network:
        if key not in self.loaded:
            self.loaded[key] = load_network(*key, **self.how)
        return self.loaded[key]


def digests(
    contents: Mapping[str, PictureSource], styles: Mapping[str, Style]
) -> dict[str, dict[str, str]]:
    """A digest of each picture, by name, to tell it from other pictures of the same name."""
    return {
        f"{what}s": {name: _digest(source, what) for name, source in sources.items()}
        for what, sources in (("content", contents), ("style", styles))
    }


def _digest(source: Any, what: str) -> str:
    if isinstance(source, list | tuple):
        return "+".join(_digest(one, what) for one in source)
    picture = reading.read(source, what=f"{what} picture")
    digest = hashlib.sha256(repr(picture.rgb.shape).encode())
    for plane in (picture.rgb, picture.alpha):
        digest.update(b"" if plane is None else np.ascontiguousarray(plane).tobytes())
    return digest.hexdigest()[:16]

"""The parts of a stylization that `stylize`, sweeps, films and servers share.

`requested` reads pictures and loads networks, and `draw` computes the result. Neither writes files.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from nst_jax.devices import memory_watched
from nst_jax.networks import lite
from nst_jax.networks.base import Network
from nst_jax.networks.load import load_network
from nst_jax.stylizing import pyramid
from nst_jax.stylizing.inputs import Sources, read_pictures
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.resolving import (
    known_layers,
    network_options,
    resolve_options,
    without_content,
)
from nst_jax.stylizing.result import Stylization
from nst_jax.stylizing.scales import scales
from nst_jax.stylizing.settings import Settings
from nst_jax.stylizing.terms import layers


def requested(
    sources: Sources,
    *,
    preset: str = "default",
    network: str | os.PathLike | Network = "auto",
    offline: bool | None = None,
    progress: bool = False,
    **options: Any,
) -> Request:
    """Make a request: resolve the settings, read the pictures and load the networks.

    Args:
        sources: the pictures and maps; their `start` is replaced by the option `init`.
        preset: as for `stylize`.
        network: as for `stylize`.
        offline: as for `stylize`.
        progress: show a bar while weights are downloaded.
        **options: the fields of `Settings`.

    Raises:
        InputError: a picture, an option or a network cannot be used; the message says what to do.
    """
    if sources.content is None:
        options = without_content(preset, options, sources.keep)
    settings, start = resolve_options(preset, network, options)
    pictures = read_pictures(settings, sources._replace(start=start))
    if isinstance(network, str | os.PathLike):
        network = load_network(
            settings.network,
            network_options(settings),
            layers=layers(settings),
            offline=offline,
            progress=progress,
        )
        settings = known_layers(settings, network)
    return Request(settings, network, pictures, draft_of(settings, network))


def draw(
    request: Request,
    *,
    position: pyramid.Position | None = None,
    report: Callable[[pyramid.Progress], bool | None] | None = None,
    marks: Sequence[int] = (),
    keep: Callable[[pyramid.Position], None] | None = None,
    keep_every: int = 100,
    shown: bool = True,
) -> Stylization:
    """Draw what is requested, from coarse to fine; for the arguments see `pyramid.run`.

    Raises:
        InputError: pictures, layers and network do not fit together, or there is too little memory.
        KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
    """
    with memory_watched():
        if not scales(request):
            return request.unchanged()
        drawn = pyramid.run(
            request,
            position=position,
            report=report,
            marks=marks,
            keep=keep,
            keep_every=keep_every,
            shown=shown,
        )
    return request.stylization(*drawn)


def draft_of(
    settings: Settings, network: Network, load: Callable[..., Network] = load_network
) -> Network | None:
    """The network for the draft, if one is wanted and it can stand in for the other network."""
    if not settings.draft or isinstance(network, lite.Lite) or settings.pooling != "max":
        return None
    if any(lite.WIDTHS.get(k) != network.widths.get(k) for k in layers(settings)):
        return None
    return load(lite.ARCHITECTURE, network_options(settings))

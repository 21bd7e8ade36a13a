"""Turn the options and the network that were given into settings."""

import os
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from nst_jax.errors import InputError
from nst_jax.networks.base import Network, Options, require_network
from nst_jax.pictures.sources import PictureSource
from nst_jax.stylizing.presets import resolve
from nst_jax.stylizing.settings import INITS, PICTURE, Settings

# The settings that a network object has itself, and those that need a content picture.
OF_NETWORK = tuple(f.name for f in fields(Options))
OF_CONTENT = ("content_weight", "content_layers")
AUTO = "auto"


def resolve_options(
    preset: str, network: Any, options: Mapping[str, Any]
) -> tuple[Settings, PictureSource | None]:
    """Make the settings; also return the picture to start from, if `init` is one.

    Raises:
        InputError: an option is unknown, a value is out of its range, or the network is not a
            network.
    """
    start = options.get("init")
    if isinstance(start, os.PathLike):
        options = {**options, "init": os.fspath(start)}
    elif start is not None and not isinstance(start, str):
        options = {**options, "init": PICTURE}
    settings = _resolve(preset, network, options)
    return settings, None if settings.init in INITS else start


def network_options(settings: Settings) -> Options:
    """The options of the network that the settings contain."""
    return Options(settings.pooling, settings.padding, settings.precision, settings.remat)


def known_layers(settings: Settings, network: Network) -> Settings:
    """Replace the preset's style layers if the network lacks some of them.

    Of each block that they name, the layers are taken that the network has.
    """
    usual = resolve(settings.preset).style_layers
    known = _known(usual, network)
    if settings.style_layers != usual or set(usual) <= set(network.widths) or not known:
        return settings
    return replace(settings, style_layers=known)


def _known(layers: Mapping[str, float], network: Network) -> dict[str, float]:
    blocks = {layer.partition("_")[0] for layer in layers}
    return {layer: 1.0 for layer in network.widths if layer.partition("_")[0] in blocks}


def without_content(preset: str, options: Mapping[str, Any], keep: Any) -> dict[str, Any]:
    """Adapt the options for a picture that has a region map but no content.

    Raises:
        InputError: an option needs a content picture.
    """
    needing = [k for k in OF_CONTENT if options.get(k)]
    if isinstance(options.get("init"), str) and options["init"] in ("content", "blend"):
        needing.append(f"init '{options['init']}'")
    needing += ["keep"] * (keep is not None)
    if needing:
        raise InputError(f"There is no content picture, but {needing[0]} needs one.")
    return {"init": "noise", **options, "content_layers": ""}


def _resolve(preset: str, network: Any, options: Mapping[str, Any]) -> Settings:
    """Make the settings; a network object has its own pooling, padding, precision and remat."""
    if isinstance(network, str | os.PathLike):
        # A preset may have a network of its own.
        named = {} if network == AUTO else {"network": os.fspath(network)}
        return resolve(preset, **named, **options)
    require_network(network)
    given = [name for name in OF_NETWORK if name in options]
    if given:
        raise InputError(
            f"The network object has its own {' and '.join(given)}: give that to load_network(), "
            "in Options, or name the network here."
        )
    how = getattr(network, "options", None)
    own = asdict(how) if isinstance(how, Options) else {}
    usual = resolve(preset)
    for name in ("content_layers", "style_layers"):
        # A network that lacks the preset's layers uses its own.
        if name not in options and not set(getattr(usual, name)) <= set(network.widths):
            own[name] = (
                getattr(network, name, None)
                or _known(getattr(usual, name), network)
                or dict.fromkeys(network.widths, 1.0)
            )
    return resolve(preset, network=network.name, **own, **options)

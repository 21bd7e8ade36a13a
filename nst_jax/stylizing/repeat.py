"""repeat() and enlarge(): draw a result again, changed or larger, from the settings in its file."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from nst_jax.errors import InputError, printable
from nst_jax.files import weightfile, weights
from nst_jax.files.untrusted import is_name
from nst_jax.pictures import reading
from nst_jax.stylizing.again import larger
from nst_jax.stylizing.api import stylize
from nst_jax.stylizing.resolving import OF_CONTENT, OF_NETWORK
from nst_jax.stylizing.result import Stylization
from nst_jax.stylizing.settings import INITS, PICTURE, Settings

_AUTO = "auto"
_PICTURES = ("content", "style", "content_regions", "style_regions", "keep")
_NEEDED = ("content", "style", "init")


def repeat(
    result: str | os.PathLike, content: Any = None, style: Any = None, **options: Any
) -> Stylization:
    """Stylize with the settings that are embedded in a result; options given here replace them.

    With the same pictures, network and machine, the new picture is the same bit for bit.

    Args:
        result: a picture that `Stylization.save` or `nst-jax stylize` wrote.
        content: as for `stylize`. None takes the file that the result names; it is looked for in
            the result's folder, then in the current folder.
        style: likewise.
        **options: as for `stylize`, except `preset`.

    Raises:
        InputError: the picture has no settings, a file that it names is missing, or `stylize`
            raises it.
        KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
    """
    return stylize(**recall(result, content, style, **options))


def enlarge(
    result: str | os.PathLike, size: int, content: Any = None, style: Any = None, **options: Any
) -> Stylization:
    """Draw the picture of a result larger; see `Stylization.enlarge`.

    Args:
        result: as for `repeat`.
        size: long side of the new picture in pixels.
        content: as for `repeat`.
        style: as for `repeat`.
        **options: as for `repeat`.

    Raises:
        InputError: as for `repeat`; or the new picture is not larger.
        KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
    """
    return stylize(**recall_larger(result, size, content, style, **options))


def recall_larger(
    result: str | os.PathLike, size: int, content: Any = None, style: Any = None, **options: Any
) -> dict[str, Any]:
    """The arguments with which `stylize` draws a result larger; see `enlarge`."""
    record = _record(result)
    image = reading.read(result, what="result").rgb
    known, scales = _known(result, record), record.get("style_scales")
    changes = larger(Settings(**known), image, scales if isinstance(scales, list) else [], size)
    return recall(result, content, style, same_network=True, **changes | options)


def is_print(result: str | os.PathLike, content: Any, options: Mapping[str, Any]) -> bool:
    """Whether these options ask for the same content, larger, without another start."""
    size, named = options.get("size"), _sources(result, _record(result)).get("content")
    if size is None or "init" in options:
        return False
    if content is not None and os.path.basename(str(content)) != named:
        return False
    return size > max(reading.read(result, what="result").rgb.shape[:2])


def go_on_from(
    result: str | os.PathLike, content: Any = None, style: Any = None, **options: Any
) -> Stylization:
    """As `repeat`, but refuses if the network is another one than the result's."""
    return stylize(**recall(result, content, style, same_network=True, **options))


def recall(
    result: str | os.PathLike,
    content: Any = None,
    style: Any = None,
    *,
    same_network: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """The arguments with which `stylize` repeats a result; see `repeat`.

    With `same_network`, weights that have changed since are refused; otherwise it warns of them.
    """
    if "preset" in options:
        raise InputError(f"All settings come from {str(result)!r}, so leave out preset.")
    record = _record(result)
    settings = _known(result, record)
    if not isinstance(options.get("network", ""), str | os.PathLike):
        settings = {k: v for k, v in settings.items() if k not in OF_NETWORK}
    given = {"content": content, "style": style}
    given = {name: value for name, value in given.items() if value is not None} | options
    sources = {"content": None, "style": None, **_sources(result, record)}
    if sources["content"] is None and "content_regions" in sources and content is None:
        # The result was made from its region map alone, without a content picture.
        del sources["content"]
        given["content"] = None
        settings = {k: v for k, v in settings.items() if k not in OF_CONTENT}
    found = {
        name: _files(result, name, names) for name, names in sources.items() if name not in given
    }
    if "network" not in given:
        found["network"] = _network(result, settings["network"], record, same=same_network)
    if "init" not in given and settings["init"] not in INITS:
        name = None if settings["init"] == PICTURE else settings["init"]
        found["init"] = _files(result, "init", name)
    return settings | found | given


def _record(result: str | os.PathLike) -> Mapping[str, Any]:
    record = reading.read_settings(result)
    if not isinstance(record.get("settings"), Mapping):
        raise InputError(f"The picture {str(result)!r} carries no settings of nst-jax.")
    return record


def _known(result: str | os.PathLike, record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that this version knows; those that the picture lacks get their defaults."""
    settings, names = dict(record["settings"]), {f.name for f in fields(Settings)}
    unknown = sorted(settings.keys() - names)
    if unknown:
        sentence = (
            f"The picture {str(result)!r} was made by nst-jax {record.get('version')}, whose "
            f"{', '.join(unknown)} this version lacks: the result may differ."
        )
        warnings.warn(printable(sentence), stacklevel=4)
    known = Settings.from_dict({name: settings[name] for name in names & settings.keys()})
    return {name: getattr(known, name) for name in names}


def _sources(result: str | os.PathLike, record: Mapping[str, Any]) -> dict[str, Any]:
    """The names of the pictures. Whoever edited the metadata must not reach other options."""
    sources = record.get("sources", {})
    if not isinstance(sources, Mapping) or not sources.keys() <= set(_PICTURES):
        raise InputError(
            f"The picture {str(result)!r} does not name its pictures as nst-jax does: its metadata "
            "is damaged or was edited."
        )
    return dict(sources)


def _files(result: str | os.PathLike, what: str, names: Any, depth: int = 2) -> Any:
    """Find the named files beside the result or in the current folder.

    There may be a list for several styles, and in it lists of masks: `depth` lists at most.
    """
    if isinstance(names, list) and depth:
        return [_files(result, what, name, depth - 1) for name in names]
    if names is None and what in _NEEDED:
        raise InputError(
            f"The picture {str(result)!r} does not name the file of its {what} picture: give it."
        )
    if names is None:
        return None
    name = _require_name(result, what, names)
    for folder in (Path(result).parent, Path()):
        if os.path.isfile(folder / name):
            return folder / name
    raise InputError(
        f"The file {names!r}, {what} of {str(result)!r}, is neither beside it nor in the current "
        "folder: give it."
    )


def _require_name(result: str | os.PathLike, what: str, name: Any) -> str:
    if is_name(name):
        return name
    raise InputError(
        f"The picture {str(result)!r} gives {str(name)[:200]!r} as the name of its {what}, but "
        "results name files without folders: its metadata is damaged or was edited."
    )


def _network(
    result: str | os.PathLike, asked: str, record: Mapping[str, Any], *, same: bool
) -> str:
    """The network that made a result; refuses or warns if its weights have changed since."""
    folder, name = Path(result).parent, record.get("network", _AUTO) if asked == _AUTO else asked
    name = _require_name(result, "network", name)
    name = str(folder / name) if os.path.isfile(folder / name) else name
    path = weights.locate(name)
    if path and weightfile.load(Path(path)).digest != record.get("network_digest"):
        changed = f"The weights of network {name!r} are not those that made the picture"
        if same:
            raise InputError(f"{changed}: give network, to go on with another one.")
        warnings.warn(f"{changed}: the result will differ.", stacklevel=4)
    return name

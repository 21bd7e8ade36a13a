"""The command line that draws a result again. JAX is not imported."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from nst_jax.errors import InputError
from nst_jax.files import weights
from nst_jax.stylizing.declarations import flag
from nst_jax.stylizing.presets import PRESETS
from nst_jax.stylizing.settings import CHOICES, INITS, PICTURE, Settings

_DEFAULT = "default"
_PICTURES = ("content", "style")
_MAPS = ("content_regions", "style_regions", "keep")


class Command(NamedTuple):
    """A command, and what it cannot say.

    Attributes:
        line: the command, quoted for a POSIX shell. Files stand without folders. CONTENT and STYLE
            stand for pictures that came from no file.
        missing: the names of what is missing in the line: pictures and masks without a file name,
            and options that are objects of Python.
    """

    line: str
    missing: tuple[str, ...]


def command(
    settings: Settings, network: str, sources: Mapping[str, Any], output: str = "OUT.png"
) -> Command:
    """The call of `nst-jax stylize` that makes a result; options of its preset are left out.

    Args:
        settings: the settings of the result.
        network: the name of the network that drew it, which stands where the settings say `auto`.
        sources: the file names of the pictures, as in `Stylization.sources`.
        output: the file that the command writes.
    """
    # Another version may have had other presets.
    preset = settings.preset if settings.preset in PRESETS else _DEFAULT
    usual, words, missing = PRESETS[preset], [], []
    for name in _PICTURES:
        if name == "content" and not sources.get(name) and sources.get("content_regions"):
            words.append("none")
            continue
        for file in _listed(sources.get(name)):
            words.append(_file(file) if file else name.upper())
            missing += [name] * (not file)
    words += ["-o", _file(output)]
    words += [flag("preset"), preset] * (preset != _DEFAULT)
    for name in _MAPS:
        if files := sources.get(name):
            files = [_file(file) if file else "none" for file in _listed(files)]
            # A comma parts files.
            if any("," in file for file in files):
                missing.append(name)
            else:
                words += [flag(name), ",".join(files)]
    for field in fields(settings):
        value, default = getattr(settings, field.name), getattr(usual, field.name)
        if field.name == "network" and value == "auto":
            value = network
        if value == default or field.name == "preset":
            continue
        if not _can_be_said(field.name, value):
            missing.append(field.name)
        elif isinstance(value, bool):
            words.append(flag(field.name if value else f"no_{field.name}"))
        else:
            text = _text(field.name, value)
            # Only so may a value begin with a dash.
            joined = f"{flag(field.name)}={text}"
            words += [joined] if text.startswith("-") else [flag(field.name), text]
    return Command(shlex.join(["nst-jax", "stylize", *words]), tuple(dict.fromkeys(missing)))


def _listed(names: Any) -> list[str | None]:
    return names if isinstance(names, list) else [names]


def _file(name: str) -> str:
    """The name of a file, so that it is taken neither for a flag nor for `none`."""
    return f"./{name}" if name.startswith("-") or name.lower() == "none" else name


def _can_be_said(name: str, value: Any) -> bool:
    if name == "terms":
        return False  # terms with a name are weights by now
    if name in CHOICES:
        return value in CHOICES[name]
    if name == "network":
        return bool(os.path.splitext(value)[1]) or _is_known(value)
    if name == "region_styles":
        return not any("," in label for label in value or ())
    return not (name == "init" and value == PICTURE)


def _is_known(network: str) -> bool:
    try:
        weights.locate(network)
    except InputError:
        return False
    return True


def _text(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{_text(name, one)}" for key, one in value.items())
    if isinstance(value, tuple):
        return ",".join(_text(name, one) for one in value)
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    files = name == "network" or (name == "init" and value not in INITS)
    return _file(os.path.basename(value)) if files else str(value)

"""Flags made from the fields of dataclasses, shared by several subcommands."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from nst_jax.options import parse_choices, parse_layers, parse_numbers
from nst_jax.stylizing.declarations import flag
from nst_jax.stylizing.outputs import OUTPUTS, Outputs
from nst_jax.stylizing.presets import PRESETS
from nst_jax.stylizing.settings import CHOICES, LISTS, Settings


def add_settings(parser: Any, *, several: bool = False) -> None:
    """Add one flag for each field of `Settings`; flags not given are absent from the result.

    With `several`, a flag takes several values: as `A,B,...`, or by repeating the flag if one value
    is a list itself.
    """
    add_fields(parser.add_argument_group("settings"), PRESETS["default"], several=several)


def add_outputs(parser: Any) -> None:
    """Add one flag for each field of `Outputs`; flags not given are absent from the result."""
    add_fields(parser.add_argument_group("written while it goes"), Outputs())


def add_fields(
    group: Any,
    defaults: Any,
    named: Mapping[str, tuple[str, ...]] = CHOICES,
    *,
    several: bool = False,
) -> None:
    """Add one flag for each field of a dataclass, with the help text of the field.

    Args:
        group: the argument group to add them to.
        defaults: an instance of the dataclass, for the defaults that the help shows.
        named: the choices of fields that have choices, by field name.
        several: see `add_settings`.
    """
    hints = get_type_hints(type(defaults))
    for f in fields(defaults):
        default, choices = getattr(defaults, f.name), named.get(f.name)
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": f.name}
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction
        elif choices:
            options["metavar"] = "|".join(choices)
        elif isinstance(default, dict):
            default = ",".join(k if w == 1 else f"{k}:{w:g}" for k, w in default.items())
            options["metavar"] = "LAYERS"
        else:
            options |= {"type": _number(hints[f.name]), "metavar": f.name.split("_")[-1].upper()}
        if several and f.name in LISTS:
            options |= {"action": "append"}
        elif several and "action" not in options:
            options |= {"action": "extend", "type": _values(options.get("type", str))}
            options["metavar"] += ",..."
        shown = "none" if default is None else default
        group.add_argument(flag(f.name), help=f"{f.metadata['help']} (default: {shown})", **options)


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings given on the command line."""
    names = {f.name for f in fields(Settings)}
    return {k: v for k, v in vars(args).items() if k in names}


def given_outputs(args: argparse.Namespace) -> dict[str, Any]:
    """The outputs given on the command line."""
    return {k: v for k, v in vars(args).items() if k in OUTPUTS}


def given_axes(args: argparse.Namespace) -> dict[str, Any]:
    """`given_settings` for flags with `several` values; a setting with one value is no axis."""
    given = given_settings(args)
    for name, values in given.items():
        if isinstance(values, list):
            given[name] = values[0] if len(values) == 1 else [_listed(name, v) for v in values]
    return given


def files(text: str | None) -> Any:
    """Parse one file name, or several separated by commas; 'none' gives None."""
    names = [None if name.lower() == "none" else name for name in (text or "none").split(",")]
    return names if len(names) > 1 else names[0]


def _listed(name: str, value: Any) -> Any:
    if name.endswith("_layers") or name == "terms":
        return parse_layers(value, name)
    if name == "region_styles":
        return parse_choices(value)
    return parse_numbers(value, name) if name in LISTS else value


def _values(kind: Any) -> Any:
    """A parser of values separated by commas."""

    def parse_values(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",") if part] or [kind(text)]

    parse_values.__name__ = kind.__name__.replace("str", "text")
    return parse_values


def _number(hint: Any) -> Any:
    """A parser of a value by the type of its field; 'none' gives None where that is allowed."""
    kind = next((k for k in (int, float) if k is hint or k in getattr(hint, "__args__", ())), str)
    optional = type(None) in getattr(hint, "__args__", ())

    def parse_value(text: str) -> Any:
        return None if optional and text.lower() == "none" else kind(text)

    parse_value.__name__ = {int: "whole number", float: "number", str: "text"}[kind]
    return parse_value

"""Flags that several subcommands share: the settings."""

import argparse
from dataclasses import fields
from typing import Any, get_type_hints

from nst_jax.settings import CHOICES, PRESETS, Settings


def add_settings(parser: Any) -> None:
    """Add one flag for each field of `Settings`; those not given are absent from the result."""
    group, hints = parser.add_argument_group("settings"), get_type_hints(Settings)
    for f in fields(Settings):
        default, choices = getattr(PRESETS["default"], f.name), CHOICES.get(f.name)
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
        shown = "none" if default is None else default
        flag = "--" + f.name.replace("_", "-")
        group.add_argument(flag, help=f"{f.metadata['help']} (default: {shown})", **options)


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on the command line."""
    names = {f.name for f in fields(Settings)}
    return {k: v for k, v in vars(args).items() if k in names}


def _number(hint: Any) -> Any:
    """Parser of an option's text by its annotated type; 'none' where None is allowed."""
    kind = next((k for k in (int, float) if k is hint or k in getattr(hint, "__args__", ())), str)
    optional = type(None) in getattr(hint, "__args__", ())

    def parse_value(text: str) -> Any:
        return None if optional and text.lower() == "none" else kind(text)

    parse_value.__name__ = {int: "whole number", float: "number", str: "text"}[kind]
    return parse_value

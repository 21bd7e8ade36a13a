"""`nst-jax completion`: what a shell needs to complete commands, options and file names."""

import argparse
from collections.abc import Iterator
from typing import Any

_SHELLS = ("bash", "zsh", "fish")
_FOLDERS = ("DIR", "FOLDER")
# Values that are no files, although a name or a text is expected.
_NO_FILES = ("NAME", "NAME[:WEIGHT],...", "HOST:PORT", "LAYERS")


def add(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the subcommand `completion`, which describes `parser`."""
    own = commands.add_parser(
        "completion",
        help="print a script that completes commands in bash, zsh or fish",
        description='For bash: eval "$(nst-jax completion bash)" in ~/.bashrc. For zsh: save it as '
        "_nst-jax in a folder of $fpath. For fish: save it as "
        "~/.config/fish/completions/nst-jax.fish.",
    )
    own.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))
    own.set_defaults(handler=lambda args: _run(args, parser))


def _run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    import shtab

    for action in _actions(parser):
        _describe(action, shtab)
    print(shtab.complete(parser, args.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
        else:
            yield action


def _describe(action: argparse.Action, shtab: Any) -> None:
    """Add what can be completed: the choices that a metavar lists, folders, or files."""
    shown = action.metavar if isinstance(action.metavar, str) else ""
    if action.choices or action.nargs == 0 or action.type or shown in _NO_FILES:
        return
    if "|" in shown and shown.islower():
        action.choices = shown.split("|")
    else:
        action.complete = shtab.DIRECTORY if shown in _FOLDERS else shtab.FILE  # pyright: ignore

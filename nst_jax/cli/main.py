"""The command line: parse flags, run a subcommand, and report errors in one line."""

import argparse
import atexit
import difflib
import errno
import gc
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from absl import app, flags
from absl.flags import argparse_flags

from nst_jax._version import __version__
from nst_jax.cli import (
    analogy,
    apply,
    completion,
    deep_analogy,
    deflicker,
    info,
    quilt,
    sheet,
    show,
    streams,
    stylize,
    sweep,
    train,
    video,
    weights,
)
from nst_jax.errors import InputError

_CLOSED_PIPE = 141  # what shells report of a tool that a closed pipe has ended
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Parser(argparse_flags.ArgumentParser):
    """Reports bad flags in one line with exit code 2, and accepts no abbreviated flags."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse arguments that no flag takes, with the most similar flag."""
        found, extra = super().parse_known_args(*args, **kwargs)
        if extra:
            near = difflib.get_close_matches(
                extra[0].partition("=")[0], self._option_string_actions, n=1
            )
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(extra)}{hint}")
        return found, extra

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"nst-jax: {message} ({self.prog} --help says more)\n")


def run() -> None:
    """The entry point of `nst-jax`."""
    # Importing and tracing make many objects and little garbage. With Python's usual threshold, the
    # garbage collector took half a second at the start, and another 0.4 s at the end.
    gc.set_threshold(20_000)
    atexit.register(gc.freeze)
    # Otherwise absl sets the log level to INFO, and JAX logs what it tries at its start.
    flags.FLAGS["verbosity"].using_default_value = False
    try:
        try:
            app.run(main, flags_parser=parse)
        finally:
            streams.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, *_NO_ROOM):
            raise
        streams.drop()
        if error.errno == errno.EPIPE:  # who reads the output has gone, as `head` does
            sys.exit(_CLOSED_PIPE)
        streams.say(f"The output cannot be written ({error.strerror}).")
        sys.exit(2)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; bad flags exit with code 2."""
    return parser().parse_args(argv[1:])


def parser() -> argparse.ArgumentParser:
    """The parser of the command line, with all subcommands."""
    made = _Parser(prog="nst-jax", description="Neural style transfer in JAX.")
    made.add_argument("--version", action="version", version=f"nst-jax {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (
        stylize,
        sweep,
        train,
        apply,
        video,
        deflicker,
        quilt,
        analogy,
        deep_analogy,
        sheet,
        show,
        weights,
        info,
    ):
        command.add(commands)
    completion.add(commands, made)
    return made


def main(args: argparse.Namespace) -> int:
    """Run a subcommand and return its exit code.

    Bad input is reported in one sentence and gives code 2; Ctrl-C before there is a result gives
    130.
    """
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: streams.say(message)
        try:
            return args.handler(args) or 0
        except InputError as error:
            streams.say(error)
            return 2
        except KeyboardInterrupt:
            streams.say("Interrupted before there was a result.")
            return 130

"""`nst-jax show`: print the settings that are embedded in a picture."""

import argparse
from typing import Any

from nst_jax.cli import streams


def add(commands: Any) -> None:
    """Add the subcommand `show`."""
    parser = commands.add_parser("show", help="print the settings that made a picture")
    parser.add_argument("picture", metavar="OUT", help="picture file, or - for stdin")
    parser.add_argument("--json", action="store_true", help="as JSON, which is so anyway")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from nst_jax.pictures import reading

    (picture,) = streams.opened([args.picture])
    streams.report(reading.read_settings(picture))
    return 0

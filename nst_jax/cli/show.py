"""`nst-jax show`: print the settings that are embedded in a picture."""

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """Add the subcommand `show`."""
    parser = commands.add_parser("show", help="print the settings that made a picture")
    parser.add_argument("picture", metavar="OUT")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from nst_jax.pictures import reading

    print(json.dumps(reading.read_settings(args.picture), indent=2))
    return 0

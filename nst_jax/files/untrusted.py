"""What a file of unknown origin may ask for. Whoever made it may have made it to do harm.

`MAX_BYTES` is the most data that a file of weights may hold or unpack to, and that is downloaded if
no size is known. Published networks are far below: VGG19 with its classifier has 575 MB.
"""

import json
from pathlib import PureWindowsPath
from typing import Any

MAX_BYTES = 2 * 2**30
_LONGEST_NAME = 255  # bytes; more than file systems allow


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_name(name: Any) -> bool:
    """Whether this is the name of a file, without a folder, on any system.

    Files name other files without folders. With one, they could name any file of the machine.
    """
    plain = isinstance(name, str) and name.isprintable() and not name.startswith("~")
    short = plain and len(name.encode()) <= _LONGEST_NAME
    return short and name not in ("", ".", "..") and PureWindowsPath(name).name == name


def require_bytes(count: int) -> None:
    """Raise `ValueError` if data has more bytes than `MAX_BYTES`."""
    if count > MAX_BYTES:
        raise ValueError(f"it asks for {count:,} bytes, more than {MAX_BYTES:,}")

"""What a kind of file is to the campaign."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Kind:
    """A kind of file, with a public reader of it.

    Attributes:
        name: the name, from which together with a number a case follows.
        make: writes a case, damaged by the random generator, into a folder.
        read: reads the case from that folder, which is the current one, and may write to a second
            folder. Fails with any error but `InputError` if what was read is not as it must be.
        share: the share of the cases, in relation to the other kinds.
        ports: ports of this machine to which the reader may connect.
        may_stay: names of files that may stay in the second folder after a refusal.
    """

    name: str
    make: Callable[[Random, Path], None]
    read: Callable[[Path, Path], None]
    share: int = 10
    ports: tuple[int, ...] = ()
    may_stay: tuple[str, ...] = ()

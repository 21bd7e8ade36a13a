"""All kinds of files, with the limits under which the campaign reads them."""

from hostile import pictures, records, servers, weights
from hostile.judge import PIXELS
from hostile.kinds import Kind
from nst_jax.files import untrusted, weightfile

LIMITS = (
    (weightfile, "WIDTHS", weights.WIDTHS),
    (untrusted, "MAX_BYTES", 2**26),
)
VARIABLES = {"NST_JAX_MAX_PIXELS": str(PIXELS), "NST_JAX_OFFLINE": "1"}


def names() -> list[str]:
    """The names of the kinds."""
    return [*(kind.name for kind in (*pictures.KINDS, *weights.KINDS, *records.KINDS)), "server"]


def kinds() -> dict[str, Kind]:
    """The kinds by name; starts the server of this process."""
    every = (*pictures.KINDS, *weights.KINDS, *records.KINDS, *servers.kinds())
    return {kind.name: kind for kind in every}


def cases(count: int, start: int = 0) -> list[tuple[str, int]]:
    """Names of kinds and numbers of cases, each kind with its share, one after another."""
    known = kinds()
    turns = [name for name, kind in known.items() for _ in range(kind.share)]
    # A step that has no factor in common with the number of turns mixes the kinds.
    step = next(n for n in range(37, 1000) if all(n % d or len(turns) % d for d in range(2, n + 1)))
    return [(turns[i * step % len(turns)], i) for i in range(start, start + count)]

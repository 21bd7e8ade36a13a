"""Write the types of `stylize`'s options from the settings and outputs that the library reads.

python scripts/docs/make_keywords.py
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from nst_jax.stylizing.outputs import Outputs
from nst_jax.stylizing.settings import CHOICES, Settings

FILE = Path(__file__).resolve().parents[2] / "nst_jax" / "stylizing" / "keywords.py"
# Parameters of `stylize` by themselves.
OWN = ("preset", "network")
# What an option takes besides what its field holds.
MORE = {
    "init": "str | PictureSource",
    "terms": "str | Term | Sequence[str | Term] | Mapping[Any, float]",
    "statistic": "{choices} | Statistic",
    "optimizer": "{choices} | optax.GradientTransformation",
    "region_styles": "str | Mapping[Any, int] | None",
}
HEAD = '''"""The options of `stylize`, typed, so that editors complete them: made by
`scripts/docs/make_keywords.py`.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import optax

from nst_jax.losses.statistics.base import Statistic
from nst_jax.losses.term import Term
from nst_jax.pictures.sources import PictureSource


class Keywords(TypedDict, total=False):
    """The fields of `Settings` and `Outputs`."""

'''


def written(name: str, hint: Any) -> str:
    """The annotation of an option."""
    choices = "Literal[" + ", ".join(f'"{c}"' for c in CHOICES.get(name, ())) + "]"
    if name in MORE:
        return MORE[name].format(choices=choices)
    if name in CHOICES:
        return choices
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)]
    optional = " | None" if type(None) in get_args(hint) else ""
    if get_origin(hint) is Mapping:
        return "str | Sequence[str] | Mapping[str, float]"
    if any(get_origin(kind) is tuple for kind in kinds):
        return f"str | float | Sequence[float]{optional}"
    names = (str(getattr(kind, "__name__", kind)) for kind in kinds)
    return " | ".join(names).replace("PathLike", "os.PathLike") + optional


def module() -> str:
    """The text of the module."""
    lines = []
    for owner in (Settings, Outputs):
        hints = get_type_hints(owner)
        for f in fields(owner):
            if f.name not in OWN:
                lines.append(f"    {f.name}: {written(f.name, hints[f.name])}\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    FILE.write_text(module(), "utf-8")

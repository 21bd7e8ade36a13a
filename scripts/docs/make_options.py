"""Write the table of options in docs/options.md from the settings and outputs that are read.

python scripts/docs/make_options.py
"""

from dataclasses import fields
from pathlib import Path

from nst_jax.stylizing.outputs import Outputs
from nst_jax.stylizing.presets import PRESETS
from nst_jax.stylizing.settings import CHOICES, Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "options.md"
BEGIN, END = "<!-- options: made by scripts/docs/make_options.py -->\n", "<!-- /options -->"


def options_table() -> str:
    """One row per field of `Settings` and `Outputs`: name, default, what it means, choices."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
    defaults = {**vars(PRESETS["default"]), **vars(Outputs())}
    for f in (*fields(Settings), *fields(Outputs)):
        default = defaults[f.name]
        if isinstance(default, dict):
            default = ",".join(default) or "none"
        meaning = f.metadata["help"]
        if f.name in CHOICES:
            meaning += ": " + ", ".join(f"`{choice}`" for choice in CHOICES[f.name])
        shown = f"{default:g}" if isinstance(default, float) else default
        rows.append(f"| `{f.name}` | `{shown}` | {meaning} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """`text` with the table between its two marks replaced."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + options_table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")

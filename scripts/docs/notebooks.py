"""Make the notebooks in colab/ from their text, which is what reviews look at.

python scripts/docs/notebooks.py

The text is in the percent format: `# %%` begins a cell, `# %% [markdown]` one of prose, and a
comment that begins with `%` is a command of the notebook.
"""

import json
import re
from pathlib import Path
from typing import Any

COLAB = Path(__file__).resolve().parents[2] / "colab"
_METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
    "colab": {"provenance": []},
}
ACCELERATORS = {"quickstart": "GPU", "films": "GPU", "tpu_sweep": "TPU"}


def notebook(text: str, accelerator: str) -> dict[str, Any]:
    """The notebook that a text stands for, without outputs."""
    cells = []
    for number, part in enumerate(re.split(r"^# %%", text, flags=re.MULTILINE)[1:]):
        kind, _, body = part.partition("\n")
        prose = kind.strip() == "[markdown]"
        body = re.sub(r"^# ?" if prose else r"^# (?=%)", "", body.strip(), flags=re.MULTILINE)
        cell: dict[str, Any] = {"cell_type": "markdown" if prose else "code", "metadata": {}}
        if not prose:
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell | {"source": body.splitlines(keepends=True), "id": f"cell-{number}"})
    metadata = _METADATA | {"accelerator": accelerator}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}


def rendered(name: str) -> str:
    """The file of a notebook."""
    text = (COLAB / f"{name}.py").read_text("utf-8")
    return json.dumps(notebook(text, ACCELERATORS[name]), indent=1) + "\n"


if __name__ == "__main__":
    for name in ACCELERATORS:
        (COLAB / f"{name}.ipynb").write_text(rendered(name), "utf-8")
        print(COLAB / f"{name}.ipynb")

"""The notebook runs from top to bottom, at a small size."""

import json
import re
from pathlib import Path

import matplotlib as mpl

NOTEBOOK = Path(__file__).resolve().parents[1] / "colab" / "quickstart.ipynb"


def test_quickstart_runs(monkeypatch, tmp_path):
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_OFFLINE", "1")
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sources.pop(0).startswith("%pip install")
    small = re.sub(r"SIZE = \d+", "SIZE = 48", "\n".join(sources))
    small = re.sub(r"ITERATIONS = \d+", "ITERATIONS = 2", small)
    assert "SIZE = 48" in small
    assert "ITERATIONS = 2 " in small
    exec(compile(small, NOTEBOOK.name, "exec"), {})
    assert (tmp_path / "stylized.png").is_file()

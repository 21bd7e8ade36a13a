"""The notebooks are what their text says, and run from top to bottom, at small sizes."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import notebooks
import pytest
import tiny

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"SIZE": "48", "ITERATIONS": "2", "LANES": "6", "FRAMES": "2"}


@pytest.mark.parametrize("name", notebooks.ACCELERATORS)
def test_notebooks_are_what_their_text_says(name):
    made = notebooks.rendered(name)
    assert (notebooks.COLAB / f"{name}.ipynb").read_text("utf-8") == made, (
        "run scripts/docs/notebooks.py"
    )
    nbformat.validate(nbformat.reads(made, as_version=4))


@pytest.mark.parametrize("name", notebooks.ACCELERATORS)
def test_notebooks_run(name, monkeypatch, tmp_path):
    monkeypatch.setenv("NST_JAX_OFFLINE", "1")
    monkeypatch.setenv("NST_JAX_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("XLA_FLAGS", tiny.with_devices(8))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    book = nbformat.reads(notebooks.rendered(name), as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code[0].source.splitlines()[-1].startswith("%pip install --quiet")
    book.cells.remove(code[0])
    for cell in code:
        for option, value in SMALL.items():
            cell.source = re.sub(rf"^{option} = .*", f"{option} = {value}", cell.source, flags=re.M)
    nbclient.NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [out for cell in code[1:] for out in cell.outputs]
    kind = "image/gif" if name == "films" else "image/png"
    pictures = [out for out in outputs if kind in out.get("data", {})]
    assert len(pictures) >= 2
    printed = "".join(out.get("text", "") for out in outputs)
    if name == "quickstart":
        assert (tmp_path / "stylized.png").is_file()
    elif name == "tpu_sweep":
        assert "8 x cpu" in printed
        assert re.search(r"[\d.]+ s a lane, [\d.]+ lanes a second", printed)
        assert len(list((tmp_path / "sweep").glob("*.png"))) == 6 + 1

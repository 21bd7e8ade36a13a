"""Make the small files in `tests/golden` that keep guard where their makers are not installed.

    python scripts/make_goldens.py [NAME ...]

One function per group of files; without names, all are made. Needs the `torch` extra.
"""

import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"


def torch_files() -> None:
    """Write a state dict of many dtypes, strides and offsets in both layouts of `torch.save`."""
    import torch

    shared = torch.arange(24, dtype=torch.float32)
    state = {
        "plain": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "parameter": torch.nn.Parameter(torch.arange(4, dtype=torch.float32) / 2),
        "half": torch.arange(5, dtype=torch.float16) / 8,
        "double": torch.arange(5, dtype=torch.float64) / 3,
        "bfloat16": torch.arange(5, dtype=torch.bfloat16) / 4,
        "transposed": shared.reshape(2, 3, 4).permute(2, 0, 1),
        "tail": shared[20:],
        "strided": shared[1::5],
        "batches": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    for name, is_zip in (("torch_zip", True), ("torch_legacy", False)):
        torch.save(state, GOLDEN / f"{name}.pth", _use_new_zipfile_serialization=is_zip)


MAKERS = {"torch_files": torch_files}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in sys.argv[1:] or MAKERS:
        MAKERS[name]()

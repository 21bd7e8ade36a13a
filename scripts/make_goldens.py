"""Make the small files in `tests/golden` that keep guard where their makers are not installed.

    python scripts/make_goldens.py [NAME ...]

One function per group of files; without names, all are made. Needs the `torch` extra, but for
`results`.
"""

import hashlib
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

BLOCKS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
WIDTHS = (6, 8, 10, 12, 12)
GOLDEN_LAYERS = ("conv2_1", "relu3_1", "relu4_2", "pool4", "relu5_1")
NETWORK_CASES = (("max", "zero"), ("average", "reflect"), ("max", "replicate"))
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


def random_weights(architecture: str, seed: int) -> dict[str, np.ndarray]:
    """A narrow random VGG that numpy draws alike everywhere: `conv1_1.kernel` HWIO, ..."""
    rng, weights, depth = np.random.default_rng(seed), {}, 3
    for b, (count, width) in enumerate(zip(BLOCKS[architecture], WIDTHS, strict=True), 1):
        for i in range(1, count + 1):
            kernel = rng.standard_normal((3, 3, depth, width)) * np.sqrt(2 / (9 * depth))
            weights[f"conv{b}_{i}.kernel"] = kernel.astype(np.float32)
            weights[f"conv{b}_{i}.bias"] = rng.standard_normal(width).astype(np.float32)
            depth = width
    return weights


def pictures(seed: int) -> dict[str, np.ndarray]:
    """An image and a content of one odd size, and a style of another, in [0, 1]."""
    rng = np.random.default_rng(seed)
    sizes = {"image": (35, 52), "content": (35, 52), "style": (40, 33)}
    return {k: rng.random((h, w, 3)).astype(np.float32) for k, (h, w) in sizes.items()}


def networks() -> None:
    """Features, objective and gradient of narrow random networks, from PyTorch in float64."""
    import torch

    sys.path.insert(0, str(Path(__file__).with_name("benchmark")))
    from torch_peer import Peer

    for architecture in BLOCKS:
        weights, given, found = random_weights(architecture, 1), pictures(2), {}
        for pooling, padding in NETWORK_CASES:
            options = {"pooling": pooling, "padding": padding, "dtype": torch.float64}
            peer = Peer(weights, architecture, **options)
            with torch.no_grad():
                features = peer.features(peer.picture(given["image"]), GOLDEN_LAYERS)
            for layer, f in features.items():
                found[f"{pooling}/{padding}/{layer}"] = f[0].permute(1, 2, 0).float().numpy()
        peer = Peer(weights, architecture, dtype=torch.float64)
        for normalization in ("gatys", "paper", "neural-style"):
            x = peer.picture(given["image"]).requires_grad_()
            loss = peer.objective(
                given["content"], given["style"], normalization=normalization, tv_weight=0.01
            )(x)
            loss.backward()
            assert x.grad is not None
            found[f"{normalization}/loss"] = np.float32(loss.item())
            found[f"{normalization}/gradient"] = x.grad[0].permute(1, 2, 0).float().numpy()
        np.savez_compressed(GOLDEN / f"{architecture}.npz", **found)


def machine() -> str:
    """What decides the last bits of a result."""
    from importlib.metadata import version

    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    model = next((line for line in lines if line.startswith("model name")), platform.processor())
    flags = hashlib.sha256(next((x for x in lines if x.startswith("flags")), "").encode())
    what = f"{model} ({flags.hexdigest()[:8]}), {os.cpu_count()} cores"
    return f"jax {version('jax')}, jaxlib {version('jaxlib')}, {what}"


def results() -> None:
    """Write the pictures of `tests/golden_runs.py`, and on what machine they were made."""
    # As the tests run.
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    sys.path.insert(0, str(GOLDEN.parent))
    from golden_runs import RUNS

    found: dict[str, Any] = {name: run() for name, run in RUNS.items()}
    found["machine"] = machine()
    np.savez_compressed(GOLDEN / "results.npz", **found)


MAKERS = {"torch_files": torch_files, "networks": networks, "results": results}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in sys.argv[1:] or MAKERS:
        MAKERS[name]()

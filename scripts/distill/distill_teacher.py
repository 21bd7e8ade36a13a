"""VGG19 in PyTorch, as `distill.py` and `compare_networks.py` ask it."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from distill_student import LAYERS, MEAN

TEACHER_CONVS = (
    "1_1",
    "1_2",
    "2_1",
    "2_2",
    "3_1",
    "3_2",
    "3_3",
    "3_4",
    "4_1",
    "4_2",
    "4_3",
    "4_4",
    "5_1",
)


class Teacher:
    """VGG19 up to relu5_1 (Oxford weights), features scaled to unit mean square per layer."""

    def __init__(self, path: Path, device: torch.device):
        if path.suffix == ".npz":
            weights = {k: torch.from_numpy(v) for k, v in np.load(path).items()}
        else:
            from safetensors.torch import load_file

            weights = load_file(path)
        self.convs = {}
        for name in TEACHER_CONVS:
            kernel = weights[f"conv{name}.kernel"].permute(3, 2, 0, 1).to(device)
            if name == "1_1":  # RGB in [0, 1] instead of BGR in 0..255
                kernel = kernel.flip(1) * 255
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            self.convs[name] = kernel, weights[f"conv{name}.bias"].to(device)
        self.scale: dict[str, float] = {}

    def measure(self, x: torch.Tensor) -> None:
        """Set the scales from pictures."""
        self.scale = dict.fromkeys(LAYERS, 1.0)
        raw = self(x, LAYERS)
        self.scale = {k: float(v.square().mean().sqrt()) for k, v in raw.items()}

    @torch.no_grad()
    def __call__(
        self, x: torch.Tensor, layers: tuple[str, ...], *, linear: bool = False
    ) -> dict[str, torch.Tensor]:
        """Features, (b, n, h, w), of pictures (b, 3, h, w); `linear`: before the nonlinearity."""
        features, wanted = {}, set(layers)
        x = (x - MEAN.to(x.device)).contiguous(memory_format=torch.channels_last)
        for name, (kernel, bias) in self.convs.items():
            if not wanted:
                break
            if name[0] != "1" and name.endswith("_1"):
                x = F.max_pool2d(x, 2)
            y = F.conv2d(x, kernel.to(x.dtype), bias.to(x.dtype), padding=1)
            x = F.relu(y)
            if f"relu{name}" in wanted:
                wanted.discard(f"relu{name}")
                scale = self.scale.get(f"relu{name}") or float(x.float().square().mean().sqrt())
                features[f"relu{name}"] = (y if linear else x).float() / scale
        return features

"""The student network as `distill.py` trains it (PyTorch), and its export to a file for
`nst_jax/networks/lite.py`, which computes the same thing in JAX.
"""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.numpy import load_file
from torch import nn

from nst_jax.files import weightfile
from nst_jax.files.weightfile import Preprocessing

LAYERS: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
TEACHER_WIDTHS: dict[str, int] = dict(zip(LAYERS, (64, 128, 256, 512, 512, 512), strict=True))
MEAN = torch.tensor([123.68, 116.779, 103.939]).view(3, 1, 1) / 255


def gram(features: torch.Tensor) -> torch.Tensor:
    """Gram matrices over positions, (b, n, n), of features (b, n, h, w)."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]


class Student(nn.Module):
    """VGG19 narrower and with fewer convolutions, a linear head at each layer.

    `widths` are the channels of the convolutions, block by block: "24 48,64 128,128 ...".
    The heads predict the teacher's features, all channels.
    """

    def __init__(self, widths: str):
        super().__init__()
        self.trunk, heads, channels = nn.ModuleDict(), {}, 3
        for b, block in enumerate(widths.split(), 1):
            for i, width in enumerate(map(int, block.split(",")), 1):
                self.trunk[f"conv{b}_{i}"] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width
                if f"relu{b}_{i}" in LAYERS:
                    heads[f"relu{b}_{i}"] = width
        self.heads = nn.ModuleDict(
            {k: nn.Conv2d(width, TEACHER_WIDTHS[k], 1, bias=False) for k, width in heads.items()}
        )

    @classmethod
    def of(cls, state: dict[str, torch.Tensor]) -> "Student":
        """The student that a state was taken from."""
        blocks: dict[str, list[str]] = {}
        for key, value in state.items():
            if key.startswith("trunk.") and key.endswith(".weight"):
                blocks.setdefault(key[len("trunk.conv")], []).append(str(len(value)))
        student = cls(" ".join(map(",".join, blocks.values())))
        student.load_state_dict(state)
        return student

    def convs(self) -> dict[str, nn.Conv2d]:
        """The 3x3 convolutions by name, in order."""
        return {name: cast(nn.Conv2d, conv) for name, conv in self.trunk.items()}

    def head_weights(self) -> dict[str, torch.Tensor]:
        """The heads' matrices by layer, (teacher's channels, own channels, 1, 1)."""
        return {layer: cast(nn.Conv2d, head).weight for layer, head in self.heads.items()}

    def forward(self, x: torch.Tensor, layers: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """Predicted features, (b, n, h, w), of pictures (b, 3, h, w), RGB in [0, 1]."""
        x = ((x - MEAN.to(x.device)) * 4).contiguous(memory_format=torch.channels_last)
        features, block = {}, "1"
        for name, conv in self.trunk.items():
            if name[4] != block:
                block, x = name[4], F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            layer = name.replace("conv", "relu")
            if layer in layers:
                features[layer] = self.heads[layer](x)
                if len(features) == len(layers):
                    break
        return features


def tensors(student: Student, scale: dict[str, float]) -> dict[str, np.ndarray]:
    """What `nst_jax.networks.lite.Lite` reads, float16: kernels HWIO, heads (w, w).

    Args:
        student: the trained network.
        scale: the teacher's root mean square per layer, by which its features were divided.
    """
    found = {}
    for name, conv in student.convs().items():
        found[f"{name}.kernel"] = conv.weight.detach().cpu().permute(2, 3, 1, 0)
        assert conv.bias is not None
        found[f"{name}.bias"] = conv.bias.detach().cpu()
    for layer, weight in student.head_weights().items():
        matrix = weight.detach().cpu()[:, :, 0, 0].double() * scale[layer]
        r = torch.linalg.qr(matrix).R
        found[f"{layer}.head"] = (r * r.diagonal().sign()[:, None]).T
    return {k: np.ascontiguousarray(v.numpy().astype(np.float16)) for k, v in found.items()}


def export(
    student: Student, scale: dict[str, float], path: Path, teacher: Path, settings: dict[str, Any]
) -> None:
    """Write the student as a weight file, with where it comes from in its metadata."""
    raw = np.load(teacher) if teacher.suffix == ".npz" else load_file(teacher)
    weightfile.save(
        path,
        tensors(student, scale),
        architecture="vgg19-lite",
        preprocessing=Preprocessing("RGB", 4.0, tuple(4 * v for v in MEAN.flatten().tolist())),
        source=f"distilled by scripts/distill/distill.py from {teacher.name}",
        source_digest=weightfile.digest({k: raw[k] for k in raw}),
        licence="CC-BY-4.0",
        extra={
            "attribution": "Distilled from VGG19 by Karen Simonyan and Andrew Zisserman, Visual "
            "Geometry Group, University of Oxford (CC BY 4.0)",
            "training": json.dumps(settings),
        },
    )

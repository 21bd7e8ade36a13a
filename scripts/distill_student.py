"""The student network as `distill.py` trains it (PyTorch), and its export to a file for
`nst_jax/networks/lite.py`, which computes the same thing in JAX.
"""

import torch
import torch.nn.functional as F
from torch import nn

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
TEACHER_WIDTHS = dict(zip(LAYERS, (64, 128, 256, 512, 512, 512), strict=True))
MEAN = torch.tensor([123.68, 116.779, 103.939]).view(3, 1, 1) / 255


def gram(features: torch.Tensor) -> torch.Tensor:
    """Gram matrices over positions, (b, n, n), of features (b, n, h, w)."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]


class Student(nn.Module):
    """Half of VGG19's width from the second block on, fewer convolutions; no full-size trunk.

    relu1_1 comes from filters of its own. The trunk starts from 2x2 patches of the picture as
    twelve channels: its first convolution already runs at half size. `widths` are channels and
    counts: (relu1_1, first convolution, block 2, convolutions in it, block 3, ..., block 5, ...).
    Each layer has a linear head that predicts the teacher's features, all channels.
    """

    def __init__(self, widths: list[int]):
        super().__init__()
        first, stem, *blocks = widths
        self.shallow = nn.Conv2d(3, first, 3, padding=1)
        self.trunk = nn.ModuleDict({"stem": nn.Conv2d(12, stem, 3, padding=1)})
        heads, channels = {"relu1_1": first}, stem
        for b, (width, count) in enumerate(zip(blocks[::2], blocks[1::2], strict=True), 2):
            for i in range(1, count + 1):
                self.trunk[f"conv{b}_{i}"] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width
                if f"relu{b}_{i}" in LAYERS:
                    heads[f"relu{b}_{i}"] = width
        for conv in (self.shallow, *self.trunk.values()):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
        self.heads = nn.ModuleDict(
            {k: nn.Conv2d(width, TEACHER_WIDTHS[k], 1, bias=False) for k, width in heads.items()}
        )

    def forward(self, x: torch.Tensor, layers: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """Predicted features, (b, n, h, w), of pictures (b, 3, h, w), RGB in [0, 1]."""
        x = ((x - MEAN.to(x.device)) * 4).contiguous(memory_format=torch.channels_last)
        features = {}
        if "relu1_1" in layers:
            features["relu1_1"] = self.heads["relu1_1"](F.relu(self.shallow(x)))
        if layers == ("relu1_1",):
            return features
        x = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        block = "2"
        for name, conv in self.trunk.items():
            if name != "stem" and name[4] != block:
                block, x = name[4], F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            layer = name.replace("conv", "relu")
            if layer in layers:
                features[layer] = self.heads[layer](x)
            if features.keys() >= set(layers):
                break
        return features


def export(*a): pass

"""A start for the student: its kernels fitted, layer by layer, to the teacher's own channels.

Each convolution of the student imitates one of the teacher's: as many of its channels as the
student is wide, those that explain the others best. The kernel is the ridge regression of their
values before the nonlinearity on patches of what the student has computed so far, the heads that
of the teacher's features on the student's. (As channel pruning does: He, Zhang & Sun 2017.)
"""

import torch
import torch.nn.functional as F  # noqa: N812
from distill_student import LAYERS, MEAN, Student
from torch import nn

# Which of the teacher's convolutions the student's imitate: the last one stands for those skipped.
IMITATED = {"conv2_1": "2_1", "conv3_1": "3_1", "conv3_2": "3_2", "conv3_3": "3_4",
            "conv4_1": "4_1", "conv4_2": "4_2", "conv5_1": "5_1"}  # fmt: skip
SAMPLES = 30_000


def positions(x: torch.Tensor) -> torch.Tensor:
    """All positions of (b, c, h, w) as rows, (b h w, c)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def choose(features: torch.Tensor, count: int) -> torch.Tensor:
    """Channels of (p, n) that explain the others best: pivoted Cholesky of their Gram matrix."""
    rest = (features.T @ features).double()
    chosen: list[int] = []
    for _ in range(count):
        # The column that takes most energy away from all the others.
        gain = rest.square().sum(0) / rest.diagonal().clamp(min=1e-9 * rest.trace())
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        column = rest[:, best] / rest[best, best].clamp(min=1e-12).sqrt()
        rest = rest - torch.outer(column, column)
    return torch.tensor(chosen)


def ridge(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Least squares with a little shrinkage: (p, i) and (p, o) to (i, o)."""
    inputs, targets = inputs.double(), targets.double()
    normal = inputs.T @ inputs
    normal += 1e-4 * normal.diagonal().mean() * torch.eye(len(normal))
    return torch.linalg.solve(normal, inputs.T @ targets).float()


def fit(conv: nn.Conv2d, x: torch.Tensor, target: torch.Tensor) -> None:
    """Set a 3x3 convolution's kernel and bias so that it maps `x` to `target` as well as it can."""
    patches = positions(F.unfold(x, 3, padding=1).unflatten(2, x.shape[2:]))
    rows = torch.randperm(len(patches))[:SAMPLES]
    inputs = torch.cat([patches[rows], torch.ones(len(rows), 1)], 1)
    solution = ridge(inputs, positions(target)[rows])
    conv.weight.copy_(solution[:-1].T.reshape(conv.weight.shape))
    conv.bias.copy_(solution[-1])


def fit_head(student: Student, layer: str, x: torch.Tensor, target: torch.Tensor) -> None:
    """Set the linear head of a layer."""
    rows = torch.randperm(x.shape[0] * x.shape[2] * x.shape[3])[:SAMPLES]
    solution = ridge(positions(x)[rows], positions(target)[rows])
    student.heads[layer].weight.copy_(solution.T[:, :, None, None])


@torch.no_grad()
def initialise(student: Student, teacher, pictures: torch.Tensor) -> None:
    """Fit all kernels to the teacher on some pictures (b, 3, s, s); float32."""
    layers = tuple(f"relu{name}" for name in ("1_1", "1_2", *IMITATED.values()))
    truth = teacher(pictures, layers, linear=True)
    features = {k: v.relu() for k, v in truth.items()}
    x = (pictures - MEAN) * 4

    shallow = choose(positions(features["relu1_1"])[::37], student.shallow.out_channels)
    fit(student.shallow, x, truth["relu1_1"][:, shallow])
    fit_head(student, "relu1_1", student.shallow(x).relu(), features["relu1_1"])

    stem = student.trunk["stem"]
    few = choose(positions(features["relu1_2"])[::37], stem.out_channels // 4)
    x = F.pixel_unshuffle(x, 2)
    fit(stem, x, F.pixel_unshuffle(truth["relu1_2"][:, few], 2))
    x, block = stem(x).relu(), "2"
    for name, conv in student.trunk.items():
        if name == "stem":
            continue
        if name[4] != block:
            block, x = name[4], F.max_pool2d(x, 2)
        imitated = f"relu{IMITATED[name]}"
        channels = choose(positions(features[imitated])[::7], conv.out_channels)
        fit(conv, x, truth[imitated][:, channels])
        x = conv(x).relu()
        # The teacher's unit of measure differs from layer to layer: rescale for training.
        layer = name.replace("conv", "relu")
        if layer in LAYERS:
            fit_head(student, layer, x, features[layer])

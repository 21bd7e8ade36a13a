"""A start for the student: its kernels fitted, layer by layer, to the teacher's own channels.

Each convolution of the student imitates one of the teacher's: as many of its channels as the
student is wide, those that explain the others best. The kernel is the ridge regression of their
values before the nonlinearity on patches of what the student has computed so far, the heads that
of the teacher's features on the student's. (As channel pruning does: He, Zhang & Sun 2017.)

Or a start from a student of other widths: what has the same shape is taken over, and a convolution
that has its outputs, but other inputs, is fitted to them.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from distill_student import LAYERS, MEAN, Student
from torch import nn

# Which of the teacher's convolutions the student's imitate: the last one stands for those skipped.
IMITATED = {"conv3_2": "relu3_4"}
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
    shrinkage = 1e-3 * normal.diagonal().mean()
    normal.diagonal().add_(shrinkage)
    return torch.linalg.solve(normal, inputs.T @ targets).float()


def fit(conv: nn.Conv2d, x: torch.Tensor, target: torch.Tensor) -> None:
    """Set a 3x3 convolution's kernel and bias so that it maps `x` to `target` as well as it can."""
    patches = positions(F.unfold(x, 3, padding=1).unflatten(2, x.shape[2:]))
    rows = torch.randperm(len(patches))[:SAMPLES]
    inputs = torch.cat([patches[rows], patches.new_ones(len(rows), 1)], 1)
    solution = ridge(inputs, positions(target)[rows])
    conv.weight.copy_(solution[:-1].T.reshape(conv.weight.shape))
    assert conv.bias is not None
    conv.bias.copy_(solution[-1])


def fit_head(student: Student, layer: str, x: torch.Tensor, target: torch.Tensor) -> None:
    """Set the linear head of a layer."""
    rows = torch.randperm(x.shape[0] * x.shape[2] * x.shape[3])[:SAMPLES]
    solution = ridge(positions(x)[rows], positions(target)[rows])
    student.head_weights()[layer].copy_(solution.T[:, :, None, None])


@torch.no_grad()
def initialise(
    student: Student, teacher, pictures: torch.Tensor, model: Student | None = None
) -> None:
    """Fit all kernels to the teacher on some pictures (b, 3, s, s), or to another student."""
    imitated = {k: IMITATED.get(k, k.replace("conv", "relu")) for k in student.trunk}
    mean = MEAN.to(pictures.device)
    truth = teacher(pictures, tuple(imitated.values()), linear=True)
    x, block = (pictures - mean) * 4, "1"
    known = {} if model is None else model.convs()
    heads = {} if model is None else model.head_weights()
    modelled = x
    for name, conv in student.convs().items():
        if name[4] != block:
            block, x, modelled = name[4], F.max_pool2d(x, 2), F.max_pool2d(modelled, 2)
        old, target = known.get(name), truth[imitated[name]]
        if old is not None:
            modelled = old(modelled)
        if old is not None and old.weight.shape == conv.weight.shape:
            conv.load_state_dict(old.state_dict())
        elif old is not None and old.out_channels == conv.out_channels:
            fit(conv, x, modelled)
        else:
            samples = positions(target.relu())
            channels = choose(samples[torch.randperm(len(samples))[:SAMPLES]], conv.out_channels)
            fit(conv, x, target[:, channels])
        x, modelled = conv(x).relu(), modelled if old is None else modelled.relu()
        layer = name.replace("conv", "relu")
        if layer in heads and heads[layer].shape == student.head_weights()[layer].shape:
            student.head_weights()[layer].copy_(heads[layer])
        elif layer in LAYERS:
            fit_head(student, layer, x, truth[layer].relu())

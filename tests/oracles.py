"""What tests compare with."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def relative_error(ours, theirs):
    theirs = np.asarray(theirs, np.float64)
    return np.linalg.norm(np.asarray(ours, np.float64) - theirs) / np.linalg.norm(theirs)


def torch_lbfgs(torch, fn, start, evaluations):
    """`torch.optim.LBFGS(max_iter=1)`, its first step scaled to Euclidean norm 1, as optax's is.

    torch makes the sum of absolute values 1: so short for a picture that float32 loses the first
    curvature pair in rounding, and no two runs of it agree.
    """
    x = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=1, history_size=100, tolerance_grad=0, tolerance_change=0
    )
    values = []

    def closure():
        optimizer.zero_grad()
        value = fn(x)
        value.backward()
        values.append(value.item())
        return value

    gradient = torch.autograd.grad(fn(x), x)[0]
    optimizer.param_groups[0]["lr"] = float(gradient.abs().sum() / gradient.norm())
    optimizer.step(closure)
    optimizer.param_groups[0]["lr"] = 1.0
    for _ in range(evaluations - 1):
        optimizer.step(closure)
    return values

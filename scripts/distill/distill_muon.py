"""The optimiser of the student's kernels."""

import torch


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates for kernels (Jordan et al. 2024), five Newton-Schulz
    iterations; vectors and the heads are AdamW's business.
    """

    def __init__(self, params, lr: float, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every kernel."""
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                m = p.grad.lerp(buffer, group["momentum"]).flatten(1)
                rows, columns = m.shape
                m = (m / (m.norm() + 1e-9)).bfloat16()
                for _ in range(5):
                    a = m @ m.T
                    m = 3.4445 * m + (-4.7750 * a + 2.0315 * (a @ a)) @ m
                # Update of RMS 0.2 / sqrt(fan-in) x sqrt(fan-in): the size of an AdamW update.
                p.add_(m.view_as(p), alpha=-group["lr"] * 0.2 * max(rows, columns) ** 0.5)

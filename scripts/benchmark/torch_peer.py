"""The classic loop in plain PyTorch: the peer that the benchmark runs, the oracle of the tests.

Gatys' method as every PyTorch implementation runs it: eager, float32, NCHW, the same weights,
layers, normalisations and objective as nst_jax, `torch.optim.LBFGS` with one evaluation a step.
Nothing here imports nst_jax.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

BLOCKS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
STYLE_LAYERS = tuple(f"relu{b}_1" for b in range(1, 6))
CONTENT_LAYERS = ("relu4_2",)


class Peer:
    """VGG features and losses from `conv1_1.kernel` (HWIO) and `conv1_1.bias` arrays.

    `order`, `scale`, `mean`, `std` are the preprocessing: RGB in [0, 1] becomes
    `(scale * rgb[order] - mean) / std`. `autocast` runs the convolutions in that dtype, and the
    losses in float32. Made for speed as far as eager PyTorch goes: frozen weights, ReLU in place.
    """

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        architecture: str = "vgg19",
        *,
        order: str = "BGR",
        scale: float = 255.0,
        mean: tuple[float, ...] = (103.939, 116.779, 123.68),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        pooling: str = "max",
        padding: str = "zero",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        autocast: torch.dtype | None = None,
        device: str = "cpu",
    ):
        self.blocks, self.order, self.scale = BLOCKS[architecture], order, scale
        self.pooling, self.padding, self.dtype = pooling, padding, dtype
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.autocast, self.device = autocast, device
        self.mean = self._tensor(np.reshape(mean, (3, 1, 1)))
        self.std = self._tensor(np.reshape(std, (3, 1, 1)))
        self.weights = {
            k: self._tensor(v.transpose(3, 2, 0, 1)).to(memory_format=self.format)
            if v.ndim == 4
            else self._tensor(v)
            for k, v in weights.items()
        }

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.ascontiguousarray(values), dtype=self.dtype, device=self.device)

    def picture(self, image: np.ndarray) -> torch.Tensor:
        """(h, w, 3) RGB in [0, 1] as a (1, 3, h, w) tensor."""
        return self._tensor(image.transpose(2, 0, 1)[None])

    def features(self, x: torch.Tensor, layers: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """Activations of named layers, (1, c, h, w) each, up to the deepest of them."""
        if self.autocast is None:
            return self._features(x, layers)
        with torch.autocast(self.device, self.autocast):
            found = self._features(x, layers)
        return {k: f.float() for k, f in found.items()}

    def _features(self, x: torch.Tensor, layers: tuple[str, ...]) -> dict[str, torch.Tensor]:
        wanted, found = set(layers), {}
        # The unknown itself stays contiguous, as torch.optim.LBFGS needs its gradient.
        x = x.to(memory_format=self.format)
        x = x.flip(1) if self.order == "BGR" else x
        x = (x * self.scale - self.mean) / self.std
        for b, count in enumerate(self.blocks, 1):
            for i in range(1, count + 1):
                weight = self.weights[f"conv{b}_{i}.kernel"]
                bias = self.weights[f"conv{b}_{i}.bias"]
                if b == i == 1 and self.padding != "zero":
                    x = F.pad(x, (1, 1, 1, 1), mode=self.padding)
                    x = F.conv2d(x, weight, bias)
                else:
                    x = F.conv2d(x, weight, bias, padding=1)
                if f"conv{b}_{i}" in wanted:
                    found[f"conv{b}_{i}"] = x
                x = F.relu(x, inplace=f"conv{b}_{i}" not in wanted)
                if f"relu{b}_{i}" in wanted:
                    found[f"relu{b}_{i}"] = x
                if wanted == found.keys():
                    return found
            x = F.max_pool2d(x, 2) if self.pooling == "max" else F.avg_pool2d(x, 2)
            if f"pool{b}" in wanted:
                found[f"pool{b}"] = x
            if wanted == found.keys():
                return found
        raise KeyError(wanted - found.keys())

    def objective(
        self,
        content: np.ndarray,
        style: np.ndarray,
        *,
        normalization: str = "gatys",
        content_weight: float = 1.0,
        style_weight: float = 1e3,
        tv_weight: float = 0.0,
        content_layers: tuple[str, ...] = CONTENT_LAYERS,
        style_layers: tuple[str, ...] = STYLE_LAYERS,
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """The loss of a (1, 3, h, w) picture in [0, 1], its targets computed once."""
        with torch.no_grad():
            contents = self.features(self.picture(content), content_layers)
            styles = {
                k: gram(f) for k, f in self.features(self.picture(style), style_layers).items()
            }

        def loss(x: torch.Tensor) -> torch.Tensor:
            found = self.features(x, tuple({*content_layers, *style_layers}))
            total = torch.zeros((), dtype=self.dtype, device=self.device)
            for k in content_layers:
                d = (found[k] - contents[k]).square()
                d = d.sum() / 2 if normalization == "paper" else d.mean()
                total = total + content_weight * d
            for k in style_layers:
                n, m = found[k].shape[1], found[k].shape[2] * found[k].shape[3]
                g, a = gram(found[k]), styles[k]
                if normalization == "gatys":
                    d = F.mse_loss(g, a) / n**2
                elif normalization == "neural-style":
                    d = F.mse_loss(g / n, a / n)
                else:
                    d = (g * m - a * m).square().sum() / (4 * n**2 * m**2)
                total = total + style_weight * d
            if tv_weight:
                z = 255 * x
                right, down = z[..., 1:] - z[..., :-1], z[..., 1:, :] - z[..., :-1, :]
                if normalization == "gatys":
                    d = (right.square().sum() + down.square().sum()) / (
                        right.numel() + down.numel()
                    )
                else:
                    d = (right[..., :-1, :].square().sum() + down[..., :-1].square().sum()) / 2
                total = total + tv_weight * d
            return total

        return loss


def gram(features: torch.Tensor) -> torch.Tensor:
    """Gram matrix over positions of (1, c, h, w) features."""
    flat = features.flatten(2)[0]
    return flat @ flat.T / flat.shape[1]


class Loop:
    """`torch.optim.LBFGS` as the peers run it: history 100, no line search, pixels in 0..units.

    `run(n)` goes on for n evaluations; `values` has one loss per evaluation so far.
    """

    def __init__(
        self,
        loss: Callable[[torch.Tensor], torch.Tensor],
        start: torch.Tensor,
        *,
        units: float = 255.0,
    ):
        self.loss, self.units = loss, units
        self.values: list[float] = []
        self.z = (start * units).detach().clone().requires_grad_()
        self.optimizer = torch.optim.LBFGS(
            [self.z], max_iter=1, history_size=100, tolerance_grad=0, tolerance_change=0
        )

    def run(self, evaluations: int) -> None:
        """Go on for that many evaluations of value and gradient, each with its update."""
        for _ in range(evaluations):
            self.optimizer.step(self._closure)

    def picture(self) -> torch.Tensor:
        """Where it stands: (1, 3, h, w) in [0, 1], unclipped."""
        return self.z.detach() / self.units

    def _closure(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        value = self.loss(self.z / self.units)
        value.backward()
        self.values.append(value.item())
        return value


def lbfgs(
    loss: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, evaluations: int
) -> tuple[torch.Tensor, list[float]]:
    """The picture and the losses after `evaluations` of the classic loop."""
    loop = Loop(loss, start)
    loop.run(evaluations)
    return loop.picture(), loop.values

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
    `(scale * rgb[order] - mean) / std`.
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
    ):
        self.blocks, self.order, self.scale = BLOCKS[architecture], order, scale
        self.pooling, self.padding, self.dtype = pooling, padding, dtype
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.mean = torch.tensor(mean, dtype=dtype)[:, None, None]
        self.std = torch.tensor(std, dtype=dtype)[:, None, None]
        self.weights = {
            k: torch.tensor(
                np.ascontiguousarray(v.transpose(3, 2, 0, 1) if v.ndim == 4 else v), dtype=dtype
            )
            for k, v in weights.items()
        }
        for k, v in self.weights.items():
            if v.ndim == 4:
                self.weights[k] = v.to(memory_format=self.format)

    def picture(self, image: np.ndarray) -> torch.Tensor:
        """(h, w, 3) RGB in [0, 1] as a (1, 3, h, w) tensor."""
        x = torch.tensor(np.ascontiguousarray(image.transpose(2, 0, 1))[None], dtype=self.dtype)
        return x.to(memory_format=self.format)

    def features(self, x: torch.Tensor, layers: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """Activations of named layers, (1, c, h, w) each, up to the deepest of them."""
        wanted, found = set(layers), {}
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
                for name in (f"conv{b}_{i}", f"relu{b}_{i}"):
                    x = F.relu(x) if name.startswith("relu") else x
                    if name in wanted:
                        found[name] = x
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
            total = torch.zeros((), dtype=self.dtype)
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


def lbfgs(
    loss: Callable[[torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    evaluations: int,
    *,
    units: float = 255.0,
    after_each: Callable[[float], None] | None = None,
) -> tuple[torch.Tensor, list[float]]:
    """`torch.optim.LBFGS` as the peers run it: history 100, no line search, pixels in 0..units."""
    z = (start * units).detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [z], max_iter=1, history_size=100, tolerance_grad=0, tolerance_change=0
    )
    values: list[float] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(z / units)
        value.backward()
        values.append(value.item())
        if after_each:
            after_each(values[-1])
        return value

    for _ in range(evaluations):
        optimizer.step(closure)
    return z.detach() / units, values

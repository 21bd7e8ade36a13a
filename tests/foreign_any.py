"""Networks for any style as other projects run them, in PyTorch, and their files."""

import numpy as np
import torch
from foreign import norm, reflected
from formats import tensor
from torch import nn
from torch.nn import functional


class Conv(nn.Module):
    def __init__(self, inputs, outputs, side, stride=1, groups=1):
        super().__init__()
        self.conv_layer = nn.Conv2d(inputs, outputs, side, stride, groups=groups)

    def forward(self, x):
        return self.conv_layer(reflected(x, self.conv_layer.kernel_size[0] // 2))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = Conv(64, 64, 3), Conv(64, 64, 3)

    def forward(self, x, weight=None, bias=None):
        if weight is None:
            return x + self.conv2(self.conv1(x).relu())
        y = (weight * self.conv1(x) + bias * x).relu()
        return x + weight * self.conv2(y) + bias * y


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        relu = nn.ReLU()
        parts = [Conv(3, 16, 9), Conv(16, 32, 3, 2, 16), Conv(32, 32, 1), Conv(32, 64, 3, 2, 32)]
        every = [layer for part in [*parts, Conv(64, 64, 1)] for layer in (part, relu)]
        self.enc1 = nn.Sequential(*every, Residual())
        self.enc2 = nn.Sequential(Residual())

    def forward(self, x):
        x = self.enc1(x)
        return x, self.enc2(x)


class Modulator(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight1, self.bias1, self.weight2, self.bias2 = (
            nn.Sequential(Conv(64, 64, 3, 1, 64), nn.AdaptiveAvgPool2d(1)) for _ in range(4)
        )

    def forward(self, levels):
        first, second = levels
        return (self.weight1(first), self.weight2(second)), (self.bias1(first), self.bias2(second))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.dec1, self.dec2, relu = Residual(), Residual(), nn.ReLU()
        parts = []
        for inputs, outputs in ((64, 32), (32, 16)):
            parts += [nn.Upsample(scale_factor=2, mode="bilinear")]
            parts += [Conv(inputs, outputs, 3, 1, outputs), relu, Conv(outputs, outputs, 1), relu]
        self.dec3 = nn.Sequential(*parts, Conv(16, 3, 9))

    def forward(self, content, style, weights, biases, alpha):
        x = self.mixed(content[1], style[1], alpha)
        x = self.mixed(self.dec1(x, weights[1], biases[1]), style[0], alpha)
        return self.dec3(self.dec2(x, weights[0], biases[0]))

    @staticmethod
    def mixed(x, style, alpha):
        def moments(x):
            return x.mean((2, 3), keepdim=True), (x.var((2, 3), keepdim=True) + 1e-5).sqrt()

        (mean, deviation), (m, d) = moments(x), moments(style)
        return alpha * ((x - mean) / deviation * d + m) + (1 - alpha) * x


class MicroAST:
    """The four networks, with the names of their files."""

    def __init__(self):
        self.parts = {
            "content_encoder": Encoder(),
            "style_encoder": Encoder(),
            "modulator": Modulator(),
            "decoder": Decoder(),
        }

    def __call__(self, content, style, alpha=1.0):
        with torch.no_grad():
            levels = self.parts["style_encoder"](style)
            weights, biases = self.parts["modulator"](levels)
            features = self.parts["content_encoder"](content)
            return self.parts["decoder"](features, levels, weights, biases, alpha)


class Magenta:
    """The pair of networks for any style, quantised, and the contents of its two files.

    Args:
        rng: for the weights.
        blocks: of MobileNetV2: input, expanded and output channels, and stride of each.
    """

    def __init__(self, rng, blocks):
        self.rng, self.values, self.blocks = rng, {}, blocks
        self.predict, self.draw = ([], []), ([], [])
        draws = {
            f"contract/conv{i}": size
            for i, size in enumerate(((8, 3, 9), (16, 8, 3), (32, 16, 3)), 1)
        }
        draws |= {f"residual/residual{i}/conv{n}": (32, 32, 3) for i in range(1, 6) for n in (1, 2)}
        ups = enumerate(((16, 32, 3), (8, 16, 3), (3, 8, 9)), 1)
        draws |= {f"expand/conv{i}/conv": size for i, size in ups}
        for name, (outputs, inputs, side) in draws.items():
            name = f"transformer/{name}"
            self.add(self.draw, f"{name}/weights", (outputs, inputs, side, side))
            if "contract" in name:
                self.add(self.draw, f"{name}/Conv2D_bias", (outputs,))
            else:
                for layer in ("Conv", "Conv_1"):
                    style = f"style_params/{name}/StyleNorm/{layer}"
                    self.add(self.draw, f"{style}/weights", (outputs, 100, 1, 1))
                    self.add(self.draw, f"{style}/Conv2D_bias", (outputs,))
        self.layer("MobilenetV2/Conv", (32, 3, 3, 3))
        for number, (inputs, wide, outputs, _) in enumerate(blocks):
            name = "MobilenetV2/expanded_conv" + (f"_{number}" if number else "")
            if wide > inputs:
                self.layer(f"{name}/expand", (wide, inputs, 1, 1))
            self.add(self.predict, f"{name}/depthwise/depthwise_weights", (wide, 1, 3, 3))
            self.add(self.predict, f"{name}/depthwise/depthwise_bias", (wide,))
            self.layer(f"{name}/project", (outputs, wide, 1, 1))
        self.layer("MobilenetV2/Conv_1", (1280, blocks[-1][2], 1, 1))
        self.layer("mobilenet_conv/Conv", (100, 1280, 1, 1))

    def layer(self, name, shape):
        self.add(self.predict, f"{name}/weights", shape)
        self.add(self.predict, f"{name}/Conv2D_bias", shape[:1])

    def add(self, file, name, shape):
        """A tensor of whole numbers with a scale for each channel, and how the graph undoes it."""
        tensors, nodes = file
        whole = self.rng.integers(-127, 128, shape)
        scale = self.rng.uniform(0.5, 1.5, shape[0]) * 2 / 127 / np.sqrt(max(1, np.prod(shape[1:])))
        scale, zero = np.float32(scale), np.full(shape[0], 3, np.int8)
        kind = np.int8 if len(shape) > 1 else np.int32
        tensors += [
            tensor(name, kind(whole), raw=len(shape) > 1),
            tensor(f"{name}_s", scale, raw=False),
        ]
        tensors.append(tensor(f"{name}_z", zero.astype(kind)))
        nodes.append(("DequantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_dequant", 0))
        spread = (-1,) + (1,) * (len(shape) - 1)
        self.values[name] = torch.from_numpy(np.float32((whole - 3) * scale.reshape(spread)))

    def vector(self, x):
        """Of style pictures whose sides are multiples of the blocks' strides."""

        def conv(name, x, stride=1, groups=1, part="weights", bias="Conv2D_bias"):
            kernel = self.values[f"{name}/{part}"]
            extra = kernel.shape[-1] - stride
            first, last = extra // 2, extra - extra // 2
            x = functional.pad(x, (first, last, first, last)) if extra > 0 else x
            return functional.conv2d(
                x, kernel, self.values[f"{name}/{bias}"], stride, groups=groups
            )

        x = functional.relu6(conv("MobilenetV2/Conv", x, 2))
        for number, (inputs, wide, outputs, stride) in enumerate(self.blocks):
            name = "MobilenetV2/expanded_conv" + (f"_{number}" if number else "")
            y = functional.relu6(conv(f"{name}/expand", x)) if wide > inputs else x
            parts = "depthwise_weights", "depthwise_bias"
            y = functional.relu6(conv(f"{name}/depthwise", y, stride, wide, *parts))
            y = conv(f"{name}/project", y)
            x = x + y if stride == 1 and inputs == outputs else y
        x = functional.relu6(conv("MobilenetV2/Conv_1", x)).mean((2, 3), keepdim=True)
        return conv("mobilenet_conv/Conv", x)

    def __call__(self, x, vector):
        def conv(name, x, stride=1):
            kernel = self.values[f"{name}/weights"]
            return functional.conv2d(reflected(x, kernel.shape[-1] // 2), kernel, stride=stride)

        def styled(name, x):
            parts = []
            for layer in ("Conv_1", "Conv"):
                own = f"style_params/{name}/StyleNorm/{layer}"
                weights, bias = self.values[f"{own}/weights"], self.values[f"{own}/Conv2D_bias"]
                parts.append(functional.conv2d(vector, weights, bias).flatten())
            return norm(conv(name, x), *parts)

        for i in (1, 2, 3):
            name = f"transformer/contract/conv{i}"
            bias = self.values[f"{name}/Conv2D_bias"].reshape(1, -1, 1, 1)
            x = (conv(name, x, min(i, 2)) + bias).relu()
        for i in range(1, 6):
            name = f"transformer/residual/residual{i}/conv"
            x = x + styled(f"{name}2", styled(f"{name}1", x).relu())
        for i in (1, 2):
            x = styled(
                f"transformer/expand/conv{i}/conv", functional.interpolate(x, scale_factor=2)
            )
            x = x.relu()
        return styled("transformer/expand/conv3/conv", x).sigmoid()

"""Files as other projects write them, and their networks as those projects run them, in PyTorch."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# --------------------------------------------------------------------------------------- ONNX


def varint(number):
    found = b""
    number &= 2**64 - 1
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def field(number, value):
    """A field of a message of Protocol Buffers: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10}


def tensor(name, values, *, raw=True):
    """A TensorProto; without `raw`, its values are in fields of their own."""
    dims = b"".join(field(1, n) for n in values.shape)
    kind = field(2, _TYPES[values.dtype.name])
    if raw:
        data = field(9, values.tobytes())
    elif values.dtype == np.float32:
        data = field(4, values.tobytes())
    else:
        data = field(5, b"".join(varint(int(n)) for n in values.reshape(-1)))
    return dims + kind + data + field(8, name)


def onnx(tensors, nodes=()):
    """An ONNX file; `nodes` are operations with their inputs and an axis."""
    graph = b""
    for kind, inputs, axis in nodes:
        node = b"".join(field(1, name) for name in inputs) + field(4, kind)
        graph += field(1, node + field(5, field(1, "axis") + field(3, axis) + field(20, 2)))
    graph += b"".join(field(5, one) for one in tensors)
    return field(1, 8) + field(2, "a test") + field(7, graph + field(2, "main"))


def reflected(x, rim):
    return functional.pad(x, (rim,) * 4, mode="reflect")


# ------------------------------------------------------------------------------------- MicroAST


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
        for name in ("weight1", "bias1", "weight2", "bias2"):
            setattr(self, name, nn.Sequential(Conv(64, 64, 3, 1, 64), nn.AdaptiveAvgPool2d(1)))

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

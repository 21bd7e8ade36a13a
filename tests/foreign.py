"""Files as other projects write them, and their networks as those projects run them, in PyTorch."""

import json
import struct

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
    """An ONNX file; `nodes` are operations with their inputs, output and an axis."""
    graph = b""
    for kind, inputs, output, axis in nodes:
        node = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)
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


# ------------------------------------------------------------- networks in Johnson et al.'s layout


def norm(x, scale, shift, epsilon=1e-5):
    return functional.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


class Dumoulin:
    """A network with many styles and the tensors of its ONNX file."""

    def __init__(self, rng, styles=3, blocks=2, widths=(6, 8, 10, 5, 4)):
        a, b, c, d, e = widths
        sizes = {"contract.0": (a, 3, 9), "contract.1": (b, a, 3), "contract.2": (c, b, 3)}
        sizes |= {f"res.{i}.{n}": (c, c, 3) for i in range(blocks) for n in (0, 1)}
        sizes |= {"expand.0": (d, c, 3), "expand.1": (e, d, 3), "expand.2": (3, e, 9)}
        self.blocks, self.tensors = blocks, {}
        for name, (outputs, inputs, side) in sizes.items():
            kernel = rng.normal(size=(outputs, inputs, side, side))
            self.tensors[f"{name}.w"] = np.float32(kernel)
            self.tensors[f"{name}.norm.gamma"] = np.float32(rng.normal(1, 0.3, (styles, outputs)))
            self.tensors[f"{name}.norm.beta"] = np.float32(rng.normal(0, 0.3, (styles, outputs)))

    def __call__(self, x, weights):
        t = {name: torch.from_numpy(value) for name, value in self.tensors.items()}
        weights = torch.tensor(weights)

        def stage(name, x, stride=1):
            kernel = t[f"{name}.w"]
            y = functional.conv2d(reflected(x, kernel.shape[-1] // 2), kernel, stride=stride)
            return norm(y, weights @ t[f"{name}.norm.gamma"], weights @ t[f"{name}.norm.beta"])

        for i in range(3):
            x = stage(f"contract.{i}", x, 2 if i else 1).relu()
        for i in range(self.blocks):
            x = x + stage(f"res.{i}.1", stage(f"res.{i}.0", x).relu())
        for i in range(2):
            x = stage(f"expand.{i}", functional.interpolate(x, scale_factor=2)).relu()
        return stage("expand.2", x).sigmoid()


class Lengstrom:
    """lengstrom's network, and its variables in the order in which TensorFlow makes them."""

    def __init__(self, rng):
        sizes = [(9, 3, 32), (3, 32, 64), (3, 64, 128), *[(3, 128, 128)] * 10]
        # Of transposed convolutions the last two axes are output and input.
        sizes += [(3, 64, 128), (3, 32, 64), (9, 32, 3)]
        self.variables = []
        for number, (side, first, last) in enumerate(sizes):
            outputs = first if number in (13, 14) else last
            kernel = rng.normal(0, 0.1, (side, side, first, last))
            values = kernel, rng.normal(0, 0.3, outputs), rng.normal(1, 0.3, outputs)
            self.variables += [np.float32(value) for value in values]

    def __call__(self, x):
        every = iter([torch.from_numpy(value) for value in self.variables])

        def normalized(x):
            shift, scale = next(every), next(every)
            return norm(x, scale, shift, 1e-3)

        def conv(x, stride=1):
            kernel = next(every).permute(3, 2, 0, 1)
            extra = kernel.shape[-1] - stride  # as TensorFlow's SAME, for even sides
            first, last = extra // 2, extra - extra // 2
            x = functional.pad(x, (first, last, first, last))
            return normalized(functional.conv2d(x, kernel, stride=stride))

        def transposed(x):
            kernel = next(every).permute(3, 2, 0, 1)
            y = functional.conv_transpose2d(x, kernel, stride=2)
            return normalized(y[:, :, : 2 * x.shape[2], : 2 * x.shape[3]])

        x = conv(conv(conv(255 * x).relu(), 2).relu(), 2).relu()
        for _ in range(5):
            x = x + conv(conv(x).relu())
        x = transposed(transposed(x).relu()).relu()
        return (150 * conv(x).tanh() + 127.5) / 255

    def write(self, folder):
        folder.mkdir()
        about = {}
        for number, values in enumerate(self.variables):
            name = f"Variable_{number}" if number else "Variable"
            about[name] = {"filename": name, "shape": list(values.shape)}
            (folder / name).write_bytes(values.tobytes())
        about["beta1_power"] = {"filename": "beta1_power", "shape": []}
        (folder / "manifest.json").write_text(json.dumps(about))


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


# -------------------------------------------------------------------------------------- Torch7


class Thing(dict):
    """An object of a Torch class."""

    def __init__(self, kind, **fields):
        super().__init__(fields)
        self.kind = kind


class T7Writer:
    """Writes values as Torch7's binary files have them."""

    def __init__(self):
        self.data, self.index = b"", 0

    def number(self, kind, *values):
        self.data += struct.pack(f"<{len(values)}{kind}", *values)

    def head(self, kind):
        self.index += 1
        self.number("i", kind, self.index)

    def text(self, text):
        self.number("i", len(text))
        self.data += text.encode()

    def write(self, value):
        if value is None:
            self.number("i", 0)
        elif isinstance(value, bool):
            self.number("i", 5, value)
        elif isinstance(value, int | float):
            self.number("i", 1)
            self.number("d", value)
        elif isinstance(value, str):
            self.number("i", 2)
            self.text(value)
        elif isinstance(value, np.ndarray):
            self.head(4)
            self.text("V 1")
            self.text("torch.FloatTensor")
            self.number("i", value.ndim)
            steps = [step // value.itemsize for step in value.strides]
            self.number("q", *value.shape, *steps, 2)
            self.head(4)
            self.text("V 1")
            self.text("torch.FloatStorage")
            self.number("q", value.size + 1)
            self.data += np.float32([0, *value.reshape(-1)]).tobytes()
        else:
            self.head(4 if isinstance(value, Thing) else 3)
            if isinstance(value, Thing):
                self.text("V 1")
                self.text(value.kind)
                self.head(3)
            self.number("i", len(value))
            for key, one in value.items():
                self.write(key)
                self.write(one)
        return self


class Johnson:
    """Johnson et al.'s network as Torch7 has it, and the contents of its file."""

    def __init__(self, rng, blocks=5):
        self.rng, self.blocks, self.values = rng, blocks, []

    def conv(self, inputs, outputs, side, stride=1, pad=None, full=False):
        shape = (inputs, outputs, side, side) if full else (outputs, inputs, side, side)
        kernel = np.float32(self.rng.normal(0, 1 / np.sqrt(inputs * side**2), shape))
        bias = np.float32(self.rng.normal(0, 0.1, outputs))
        pad = side // 2 if pad is None else pad
        sizes = {"k": side, "d": stride, "pad": pad} | ({"adj": 1} if full else {})
        sizes = {f"{name}{axis}": size for name, size in sizes.items() for axis in "WH"}
        self.values.append((kernel, bias))
        kind = f"nn.Spatial{'Full' if full else ''}Convolution"
        return Thing(kind, weight=kernel, bias=bias, gradWeight=None, **sizes)

    def norm(self, channels):
        scale = np.float32(self.rng.normal(1, 0.3, channels))
        shift = np.float32(self.rng.normal(0, 0.3, channels))
        self.values.append((scale, shift))
        return Thing("nn.InstanceNormalization", weight=scale, bias=shift, eps=1e-5)

    @staticmethod
    def sequence(*modules):
        return Thing("nn.Sequential", modules=dict(enumerate(modules, 1)))

    def file(self):
        relu, rim = Thing("nn.ReLU", inplace=True), 8 * self.blocks
        modules = [Thing("nn.SpatialReflectionPadding", pad_l=rim, pad_r=rim, pad_t=rim, pad_b=rim)]
        for sizes in ((3, 32, 9), (32, 64, 3, 2), (64, 128, 3, 2)):
            modules += [self.conv(*sizes), self.norm(sizes[1]), relu]
        for _ in range(self.blocks):
            first = self.conv(128, 128, 3, 1, 0), self.norm(128), relu
            inner = self.sequence(*first, self.conv(128, 128, 3, 1, 0), self.norm(128))
            both = dict(enumerate([inner, Thing("nn.ShaveImage", size=2)], 1))
            table = Thing("nn.ConcatTable", modules=both)
            modules.append(self.sequence(table, Thing("nn.CAddTable")))
        for inputs, outputs in ((128, 64), (64, 32)):
            modules += [self.conv(inputs, outputs, 3, 2, 1, True), self.norm(outputs), relu]
        modules += [
            self.conv(32, 3, 9),
            Thing("nn.Tanh"),
            Thing("nn.MulConstant", constant_scalar=150),
        ]
        modules.append(Thing("nn.TotalVariation", strength=1e-6))
        return {"opt": {"preprocessing": "vgg"}, "model": self.sequence(*modules)}

    def __call__(self, x):
        mean = torch.tensor([103.939, 116.779, 123.68]).reshape(1, 3, 1, 1)
        every = iter([[torch.from_numpy(v) for v in pair] for pair in self.values])

        def conv(x, stride, pad):
            return norm(functional.conv2d(x, *next(every), stride, pad), *next(every))

        x = reflected(255 * x.flip(1) - mean, 8 * self.blocks)
        for stride, pad in ((1, 4), (2, 1), (2, 1)):
            x = conv(x, stride, pad).relu()
        for _ in range(self.blocks):
            x = x[:, :, 2:-2, 2:-2] + conv(conv(x, 1, 0).relu(), 1, 0)
        for _ in range(2):
            x = functional.conv_transpose2d(x, *next(every), 2, 1, 1)
            x = norm(x, *next(every)).relu()
        x = 150 * functional.conv2d(x, *next(every), 1, 4).tanh() + mean
        return x.flip(1) / 255

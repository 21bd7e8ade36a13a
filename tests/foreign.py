"""Networks with learned styles as other projects run them, in PyTorch, and their files."""

import json

import numpy as np
import torch
from formats import Thing
from torch.nn import functional


def reflected(x, rim):
    return functional.pad(x, (rim,) * 4, mode="reflect")


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
        for inputs, outputs, side, stride in ((3, 32, 9, 1), (32, 64, 3, 2), (64, 128, 3, 2)):
            modules += [self.conv(inputs, outputs, side, stride), self.norm(outputs), relu]
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

        def plain(x, stride, pad):
            kernel, bias = next(every)
            return functional.conv2d(x, kernel, bias, stride, pad)

        def normalized(x):
            scale, shift = next(every)
            return norm(x, scale, shift)

        def conv(x, stride, pad):
            return normalized(plain(x, stride, pad))

        x = reflected(255 * x.flip(1) - mean, 8 * self.blocks)
        for stride, pad in ((1, 4), (2, 1), (2, 1)):
            x = conv(x, stride, pad).relu()
        for _ in range(self.blocks):
            x = x[:, :, 2:-2, 2:-2] + conv(conv(x, 1, 0).relu(), 1, 0)
        for _ in range(2):
            kernel, bias = next(every)
            x = normalized(functional.conv_transpose2d(x, kernel, bias, 2, 1, 1)).relu()
        x = 150 * plain(x, 1, 4).tanh() + mean
        return x.flip(1) / 255

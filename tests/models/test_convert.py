"""Transformers of PyTorch's fast_neural_style layout, as torch itself writes and runs them."""

import numpy as np
import pytest
import tiny
from commands import refusal, run
from PIL import Image

import nst_jax as nst
from nst_jax.cli import cache

torch = pytest.importorskip("torch")
nn = torch.nn


class Conv(nn.Module):
    """A reflected border and a convolution, after upsampling."""

    def __init__(self, inputs, outputs, side, stride=1, double=False):
        super().__init__()
        self.double, self.pad = double, nn.ReflectionPad2d(side // 2)
        self.conv2d = nn.Conv2d(inputs, outputs, side, stride)

    def forward(self, x):
        x = nn.functional.interpolate(x, scale_factor=2) if self.double else x
        return self.conv2d(self.pad(x))


def norm(channels):
    return nn.InstanceNorm2d(channels, affine=True)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = Conv(128, 128, 3), Conv(128, 128, 3)
        self.in1, self.in2 = norm(128), norm(128)

    def forward(self, x):
        return x + self.in2(self.conv2(self.in1(self.conv1(x)).relu()))


class Transformer(nn.Module):
    """The layout whose names those files have."""

    def __init__(self):
        super().__init__()
        self.conv1, self.in1 = Conv(3, 32, 9), norm(32)
        self.conv2, self.in2 = Conv(32, 64, 3, 2), norm(64)
        self.conv3, self.in3 = Conv(64, 128, 3, 2), norm(128)
        for i in range(1, 6):
            setattr(self, f"res{i}", Block())
        self.deconv1, self.in4 = Conv(128, 64, 3, double=True), norm(64)
        self.deconv2, self.in5 = Conv(64, 32, 3, double=True), norm(32)
        self.deconv3 = Conv(32, 3, 9)

    def forward(self, x):
        for i in (1, 2, 3):
            x = getattr(self, f"in{i}")(getattr(self, f"conv{i}")(x)).relu()
        for i in range(1, 6):
            x = getattr(self, f"res{i}")(x)
        x = self.in4(self.deconv1(x)).relu()
        return self.deconv3(self.in5(self.deconv2(x)).relu())


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = Transformer()
    for name, value in made.named_parameters():
        if ".in" in f".{name}":
            value.data += 0.3 * torch.randn_like(value)
    made.deconv3.conv2d.weight.data *= 200
    made.deconv3.conv2d.bias.data += 128
    return made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS_DIR", str(tmp_path / "store"))
    monkeypatch.setattr(cache, "enable", lambda: None)
    return tmp_path


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_torch_draws_what_torch_draws(folder, network, legacy, capfd):
    state = dict(network.state_dict())
    # Files of old versions have running statistics, which instance normalisation does not use.
    state["in1.running_mean"] = torch.zeros(32)
    torch.save(state, "candy.pth", _use_new_zipfile_serialization=not legacy)
    assert run("weights", "convert", "candy.pth") == 0
    assert capfd.readouterr().out.strip() == str(folder / "store" / "candy.safetensors")
    model = nst.load("candy")
    assert model.styles == ("candy",)
    pixels = tiny.picture(24, 32)
    with torch.no_grad():
        theirs = network(torch.from_numpy(np.float32(pixels)).permute(2, 0, 1)[None])
    theirs = theirs[0].permute(1, 2, 0).numpy().clip(0, 255) / 255
    assert theirs.std() > 0.05
    np.testing.assert_allclose(model(pixels).image, theirs, atol=1e-4)


def test_apply_takes_it(folder, network):
    torch.save(network.state_dict(), "candy.pth")
    Image.fromarray(tiny.picture(24, 32)).save("a.png")
    assert run("weights", "convert", "candy.pth", "m.safetensors") == 0
    assert run("apply", "m.safetensors", "a.png", "--output=out", "--quiet") == 0
    assert (folder / "out" / "a.png").exists()


def test_what_does_not_fit_is_listed(folder, network, capfd):
    state = dict(network.state_dict())
    del state["res2.in1.weight"]
    state["conv2.conv2d.weight"] = state["conv2.conv2d.weight"][:, :5]
    torch.save(state, "broken.pth")
    said = refusal(capfd, "weights", "convert", "broken.pth")
    assert "res2.in1.weight (here res2.a.scale) is missing" in said
    assert (
        "conv2.conv2d.weight (here conv2.kernel) is (3, 3, 5, 64), expected (3, 3, 32, 64)" in said
    )
    torch.save({"other": torch.zeros(3)}, "other.pth")
    assert "no convolution" in refusal(capfd, "weights", "convert", "other.pth")
    torch.save(state, "good.pth")
    assert "Model files are .safetensors" in refusal(
        capfd, "weights", "convert", "good.pth", "out.bin"
    )

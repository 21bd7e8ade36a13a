"""The embedded network: its features recomputed from the file, its taps, its file."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from jax.tree_util import Partial
from objectives import aims, gatys, weigh

from nst_jax.errors import InputError
from nst_jax.files import weightfile
from nst_jax.losses import tiling
from nst_jax.losses.objective import objective
from nst_jax.networks.base import Network, Options, keep
from nst_jax.networks.lite import BLOCKS, WIDTHS, Lite
from nst_jax.networks.load import load_network

FILE = Path(__file__).parents[2] / "weights" / "vgg19-lite.safetensors"
LAYERS = tuple(WIDTHS)


@pytest.fixture(scope="module")
def file():
    return weightfile.load(FILE)


@pytest.fixture(scope="module")
def network(file):
    return Lite(file.tensors, file.preprocessing, digest=file.digest)


@pytest.fixture
def picture():
    return np.random.default_rng(0).uniform(-0.2, 1.2, (35, 50, 3)).astype(np.float32)


def plain(tensors, picture):
    """The network in float64, from nothing but the file and the sentences of its module."""
    weights = {k: v.astype(np.float64) for k, v in tensors.items()}
    mean = np.array([123.68, 116.779, 103.939]) / 255
    x, found = 4 * (picture.astype(np.float64) - mean), {}
    for block in BLOCKS:
        if block[0] != "conv1_1":
            h, w, c = x.shape
            x = x[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2, c).max((1, 3))
        for conv in block:
            kernel, (h, w, _) = weights[f"{conv}.kernel"], x.shape
            padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
            x = weights[f"{conv}.bias"] + sum(
                padded[i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3)
            )
            x = np.maximum(x, 0)
            layer = conv.replace("conv", "relu")
            if layer in WIDTHS:
                found[layer] = x @ weights[f"{layer}.head"]
    return found


@pytest.mark.parametrize("layers", [LAYERS, ("relu3_1", "relu5_1")])
def test_features_are_what_the_file_says(file, network, picture, layers):
    found = jax.jit(Lite.__call__, static_argnums=2)(network, picture, layers)
    assert found.keys() == set(layers)
    everything = plain(file.tensors, picture)
    for layer, expected in ((k, everything[k]) for k in layers):
        assert found[layer].shape == expected.shape
        error = np.linalg.norm(found[layer] - expected) / np.linalg.norm(expected)
        assert error < 1e-5, layer


@pytest.mark.parametrize("options", [Options(remat=True), Options(precision="bfloat16")])
def test_options_change_cost_not_meaning(file, network, picture, options):
    other = Lite(file.tensors, file.preprocessing, options)

    def total(net, x):
        return sum(jnp.square(f.astype(jnp.float32)).mean() for f in net(x, LAYERS).values())

    # bfloat16 keeps eight bits, and nine convolutions round.
    tolerance = 0.1 if options.precision == "bfloat16" else 1e-5
    expected, found = (jax.jit(jax.grad(total, argnums=1))(n, picture) for n in (network, other))
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def test_border_differs_at_the_border_only(file, network, picture):
    other = Lite(file.tensors, file.preprocessing, Options(padding="reflect"))
    a, b = (n(picture, ("relu1_1",))["relu1_1"] for n in (network, other))
    np.testing.assert_allclose(a[1:-1, 1:-1], b[1:-1, 1:-1], rtol=1e-5, atol=1e-3)
    assert np.abs(a[0] - b[0]).max() > 1


@pytest.mark.parametrize("layer", LAYERS)
def test_sizes_are_vgg19s(network, picture, layer):
    h, w, _ = picture.shape
    found = network(picture, (layer,))[layer]
    stride = network.strides[layer]
    assert found.shape[:2] == (h // stride, w // stride)
    assert network.widths[layer] >= found.shape[2]


def test_nothing_past_the_last_layer_is_computed(network, picture):
    program = jax.make_jaxpr(lambda n, x: n(x, ("relu1_1",)))(network, picture)
    assert not re.search("reduce_max|conv_general", str(program))
    deep = str(jax.make_jaxpr(lambda n, x: n(x, ("relu3_1",)))(network, picture))
    found = [network.convs[f"conv{b}"] for b in ("1_2", "2_1", "2_2", "3_1")]
    # conv1_1 is a matrix product, and so are convolutions by Winograd.
    assert deep.count("= conv_general_dilated") == sum(not conv.winograd for conv in found)


@jax.tree_util.register_dataclass
@dataclass
class Opened:
    """A network that shows its taps the features themselves, with no heads."""

    network: Lite

    name = property(lambda self: self.network.name)
    digest = property(lambda self: self.network.digest)
    widths = property(lambda self: self.network.widths)
    strides = property(lambda self: self.network.strides)
    margins = property(lambda self: self.network.margins)

    def __call__(self, image, layers, tap=keep):
        def without(layer, x, head):
            return x, tap(layer, x @ head)[1]

        return self.network(image, layers, Partial(without))


SHALLOW = {"content_layers": ("relu2_1",), "style_layers": ("relu1_1", "relu2_1"), "tile": 16}


@pytest.mark.parametrize(
    "spec",
    [
        gatys(),  # Gram matrices have a shorter way with heads of their own
        gatys(statistic="wasserstein"),
        gatys(**SHALLOW),
    ],
    ids=lambda spec: f"{spec.term('style').statistic.name}-{spec.tile}",
)
def test_objective_is_that_of_the_features(network, picture, spec):
    content, style = picture, picture[::-1, :40] ** 2
    tiled = tiling.layout(spec.tile, network, spec.layers, *content.shape[:2])
    assert (tiled is not None) == (spec.tile > 0)

    def found(network):
        directions = spec.term("style").directions(network, 0)
        targets = aims(spec, network, content, style, directions=directions)

        def value(x):
            return objective(spec, x, network, targets, weigh())[0]

        return jax.jit(jax.value_and_grad(value))(content * 0.9)

    (ours, gradient), (expected, expected_gradient) = found(network), found(Opened(network))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    difference = np.linalg.norm(gradient - expected_gradient)
    assert difference < 1e-4 * np.linalg.norm(expected_gradient)


def test_is_a_network(network):
    assert isinstance(network, Network)
    assert list(network.widths) == list(network.strides) == list(LAYERS)


def test_loads_by_name(file):
    network = load_network("vgg19-lite")
    assert network.name == "vgg19-lite"
    assert network.digest == file.digest


def test_file_is_small_and_says_where_it_comes_from(file):
    assert FILE.stat().st_size <= 5e6
    assert file.architecture == "vgg19-lite"
    assert file.metadata["licence"] == "CC-BY-4.0"
    assert "Oxford" in file.metadata["attribution"]
    assert file.metadata["source_digest"].startswith("sha256:")
    assert json.loads(file.metadata["training"])["steps"] > 0


@pytest.mark.parametrize("layer", ["relu3_3", "conv4_2", "pool4", "relu9_1"])
def test_layer_without_a_head_lists_those_with_one(network, picture, layer):
    with pytest.raises(InputError, match=f"no layer '{layer}'") as caught:
        network(picture, (layer,))
    assert all(known in str(caught.value) for known in LAYERS)


def test_other_pooling_is_refused(file):
    with pytest.raises(InputError, match="max pooling"):
        Lite(file.tensors, file.preprocessing, Options(pooling="average"))


def test_misfits_are_reported_together(file):
    tensors = dict(file.tensors)
    del tensors["conv3_1.bias"]
    tensors["relu4_1.head"] = tensors["relu4_1.head"][:-1]
    with pytest.raises(InputError, match=r"conv3_1\.bias.*relu4_1\.head"):
        Lite(tensors, file.preprocessing)


def test_truncated_file(tmp_path):
    path = tmp_path / "vgg19-lite.safetensors"
    path.write_bytes(FILE.read_bytes()[:-1000])
    with pytest.raises(InputError, match=re.escape(str(path))):
        load_network(path)


def test_altered_file(tmp_path):
    path = tmp_path / "vgg19-lite.safetensors"
    content = bytearray(FILE.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{re.escape(str(path))}.*digest"):
        load_network(path)


def test_file_of_another_version(tmp_path, file):
    path = tmp_path / "vgg19-lite.safetensors"
    safetensors.numpy.save_file(file.tensors, path, dict(file.metadata) | {"version": "0"})
    with pytest.raises(InputError, match="version 0"):
        load_network(path)

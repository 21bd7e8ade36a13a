"""VGG's features against PyTorch with the same weights: every layer, pooling, border, odd sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx
from make_goldens import BLOCKS, GOLDEN_LAYERS, NETWORK_CASES, pictures, random_weights
from oracles import GOLDEN, relative_error

from nst_jax import InputError, Options, features
from nst_jax.files.weightfile import CAFFE, TORCHVISION
from nst_jax.networks import strips, winograd
from nst_jax.networks.blocks import with_pool, with_relu
from nst_jax.networks.layers import RIM, FrozenConv, adjoint, conv3x3, conv3x3_of_few, pool2x2
from nst_jax.networks.vgg import VGG


@pytest.mark.parametrize("preprocessing", [CAFFE, TORCHVISION], ids=["caffe", "torchvision"])
@pytest.mark.parametrize(
    ("pooling", "padding"), [("max", "zero"), ("average", "reflect"), ("max", "replicate")]
)
@pytest.mark.parametrize(("architecture", "size"), [("vgg19", (48, 33)), ("vgg16", (51, 64))])
def test_every_layer_matches_torch(rng, architecture, size, pooling, padding, preprocessing):
    torch_peer = pytest.importorskip("torch_peer", reason="parity with PyTorch needs torch")
    weights = random_weights(architecture, 0)
    network = VGG(architecture, weights, preprocessing, Options(pooling, padding))
    peer = torch_peer.Peer(
        weights,
        architecture,
        order=preprocessing.order,
        scale=preprocessing.scale,
        mean=preprocessing.mean,
        std=preprocessing.std,
        pooling=pooling,
        padding=padding,
    )
    image = rng.uniform(size=(*size, 3)).astype(np.float32)
    layers = tuple(network.widths)
    ours = jax.jit(lambda n, x: n(x, layers))(network, image)
    theirs = peer.features(peer.picture(image), layers)
    assert ours.keys() == theirs.keys() == set(layers)
    for layer in layers:
        expected = theirs[layer][0].permute(1, 2, 0).numpy()
        assert ours[layer].shape == expected.shape
        assert relative_error(ours[layer], expected) <= 1e-4, layer


@pytest.mark.parametrize("architecture", BLOCKS)
def test_features_match_the_golden_files_of_torch(architecture):
    golden = np.load(GOLDEN / f"{architecture}.npz")
    weights, image = random_weights(architecture, 1), pictures(2)["image"]
    for pooling, padding in NETWORK_CASES:
        network = VGG(architecture, weights, CAFFE, Options(pooling, padding))
        found = jax.jit(lambda n, x: n(x, GOLDEN_LAYERS))(network, image)
        for layer in GOLDEN_LAYERS:
            assert relative_error(found[layer], golden[f"{pooling}/{padding}/{layer}"]) <= 1e-4


def plain_convolution(kernel):
    def convolve(x):
        return jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]

    return convolve


@pytest.mark.parametrize("size", [(6, 5), (1, 1), (2, 9)])
def test_backward_pass_of_the_convolution_is_xlas_own(rng, size):
    x = jnp.asarray(rng.normal(size=(*size, 4)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 4, 7)), jnp.float32)
    g = jnp.asarray(rng.normal(size=(*size, 7)), jnp.float32)

    plain = plain_convolution(kernel)
    ours, pull = jax.vjp(lambda x: conv3x3(x, kernel, jnp.asarray(adjoint(kernel))), x)
    theirs, pull_plain = jax.vjp(plain, x)
    few, pull_few = jax.vjp(lambda x: conv3x3_of_few(jnp.pad(x, RIM), kernel), x)
    for y, cotangent in ((ours, pull(g)[0]), (few, pull_few(g)[0])):
        np.testing.assert_allclose(y, theirs, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(cotangent, pull_plain(g)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (4, 8), (6, 5), (9, 14)])
def test_winograd_is_the_plain_convolution(rng, size):
    x = jnp.asarray(rng.normal(size=(2, *size, 5)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 5, 7)), jnp.float32)
    g = jnp.asarray(rng.normal(size=(2, *size, 7)), jnp.float32)
    transformed = jnp.asarray(winograd.transformed(kernel))

    def convolve(x):
        return winograd.conv3x3_winograd(x, transformed)

    def pulled(fn):
        """Values, and the gradient for the cotangent `g`."""
        y, pull = jax.vjp(fn, x)
        return y, pull(g)[0]

    @jax.jit
    def found():
        one_by_one = pulled(lambda x: jnp.stack([convolve(x[0]), convolve(x[1])]))
        return pulled(jax.vmap(plain_convolution(kernel))), pulled(jax.vmap(convolve)), one_by_one

    plain, *others = found()
    for ours in others:
        assert relative_error(ours[0], plain[0]) < 3e-6
        assert relative_error(ours[1], plain[1]) < 3e-6


def test_wide_layers_take_winograd_where_it_pays(rng, monkeypatch):
    kernel = rng.normal(size=(3, 3, 128, 256)).astype(np.float32)
    bias = rng.normal(size=256).astype(np.float32)
    x = jnp.asarray(rng.normal(size=(7, 6, 128)), jnp.float32)
    expected = np.asarray(plain_convolution(jnp.asarray(kernel))(x)) + bias
    assert winograd.pays(kernel, 4) == (jax.default_backend() == "cpu")
    assert not winograd.pays(kernel, 2)
    assert not winograd.pays(kernel[:, :, :16], 4)
    for pays in (True, False):
        monkeypatch.setattr(winograd, "pays", lambda kernel, stride, pays=pays: pays)
        conv = FrozenConv(kernel, bias, stride=4)
        assert conv.winograd == pays
        assert relative_error(conv(x), expected) < 3e-6
        assert not FrozenConv(kernel, bias, "bfloat16", stride=4).winograd


def test_pooling_by_hand():
    x = jnp.arange(15.0).reshape(3, 5, 1)
    np.testing.assert_array_equal(pool2x2(x, "max")[..., 0], [[6, 8]])
    np.testing.assert_array_equal(pool2x2(x, "average")[..., 0], [[3, 5]])
    np.testing.assert_array_equal(pool2x2(x, "average-rescaled")[..., 0], [[6, 10]])


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(7, 5), (8, 6), (13, 2)])
def test_large_layers_in_strips_match_torch(rng, monkeypatch, size, channels, padding):
    """Strips of one to three rows, the last of which begins within the one before; and ties."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    monkeypatch.setattr(strips, "_LARGE", 0)
    monkeypatch.setattr(strips, "_VALUES", 3 * size[1] * 5)
    # Small whole numbers, exact in float32: many corners are equal, many values are zero.
    x = rng.integers(-2, 3, size=(*size, channels)).astype(np.float32)
    kernel = rng.integers(-1, 2, size=(3, 3, channels, 5)).astype(np.float32)
    bias = rng.integers(-2, 3, size=5).astype(np.float32)
    conv = FrozenConv(kernel, bias, stride=1)

    def theirs(pooled, mode, g):
        t = torch.tensor(x).permute(2, 0, 1)[None].requires_grad_()
        rim = torch.nn.functional.pad(t, (1, 1, 1, 1), mode=mode)
        y = torch.nn.functional.conv2d(rim, torch.tensor(kernel.transpose(3, 2, 0, 1)))
        y = (y + torch.tensor(bias)[:, None, None]).relu()
        y = torch.nn.functional.max_pool2d(y, 2) if pooled else y
        y.backward(torch.tensor(g).permute(2, 0, 1)[None])
        return (a[0].permute(1, 2, 0).detach().numpy() for a in (y, t.grad))

    runs = [(False, padding, lambda x: with_relu(conv, x, padding, measured=True))]
    if padding == "zero":
        runs.append((True, "zero", lambda x: with_pool(conv, x)))
    for pooled, border, run in runs:
        ours, pull = jax.vjp(run, jnp.asarray(x))
        g = rng.integers(-3, 4, size=ours.shape).astype(np.float32)
        expected, gradient = theirs(pooled, "constant" if border == "zero" else border, g)
        np.testing.assert_array_equal(ours, expected)
        np.testing.assert_array_equal(pull(jnp.asarray(g))[0], gradient)


def test_nothing_past_the_last_layer_is_computed(rng):
    network = VGG("vgg19", random_weights("vgg19", 0), CAFFE)
    image = jnp.zeros((32, 32, 3))

    def convolutions(*layers):
        program = str(jax.make_jaxpr(lambda n, x: n(x, layers))(network, image))
        # The first convolution is a matrix product.
        return program.count("conv_general_dilated[") + program.count("dot_general[")

    assert convolutions("relu1_1") == 1
    assert convolutions("conv1_2", "relu1_1") == 2
    assert convolutions("relu4_2") == 10
    assert convolutions("pool2") == 4
    assert convolutions("relu5_1", "relu1_1") == 13


def test_remat_changes_nothing_but_memory(rng):
    weights, image = random_weights("vgg19", 0), rng.uniform(size=(40, 40, 3)).astype(np.float32)

    def gradient(remat):
        network = VGG("vgg19", weights, CAFFE, Options(remat=remat))
        return jax.jit(jax.grad(lambda x: jnp.sum(network(x, ("relu5_1", "conv2_2"))["relu5_1"])))(
            image
        )

    np.testing.assert_allclose(gradient(True), gradient(False), rtol=1e-4, atol=1e-6)


def test_bfloat16_is_near_and_vmap_gives_batches(rng):
    weights = random_weights("vgg19", 0)
    images = rng.uniform(size=(3, 32, 32, 3)).astype(np.float32)
    exact = VGG("vgg19", weights, CAFFE)
    coarse = VGG("vgg19", weights, CAFFE, Options(precision="bfloat16"))
    one = coarse(images[0], ("relu4_2",))["relu4_2"]
    assert one.dtype == jnp.bfloat16
    assert relative_error(one, exact(images[0], ("relu4_2",))["relu4_2"]) < 0.03
    batch = jax.vmap(lambda x: exact(x, ("relu4_2",))["relu4_2"])(images)
    for image, feature in zip(images, batch, strict=True):
        assert relative_error(feature, exact(image, ("relu4_2",))["relu4_2"]) < 1e-5


def test_bad_layers_and_sizes_get_a_sentence(rng):
    network = VGG("vgg19", random_weights("vgg19", 0), CAFFE, name="tiny")
    image = jnp.zeros((32, 8, 3))
    with pytest.raises(InputError, match=r"no layer 'relu4_5'. Did you mean 'relu4_4'\?"):
        features(network, image, ["relu4_5"])
    with pytest.raises(InputError, match=r"8x32 pixels, too small.*at least 16 pixels"):
        features(network, image, ["relu5_1"])
    assert features(network, image, ["relu4_1"])["relu4_1"].shape == (4, 1, 12)


def test_network_is_a_pytree_of_arrays(rng):
    network = VGG("vgg19", random_weights("vgg19", 0), CAFFE)
    graph, state = nnx.split(network)
    again = nnx.merge(graph, state)
    image = rng.uniform(size=(32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        again(image, ("relu3_1",))["relu3_1"], network(image, ("relu3_1",))["relu3_1"]
    )
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(network))


def test_loops_over_strips_are_for_cpus(monkeypatch):
    assert strips.is_large((512, 512, 64))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not strips.is_large((512, 512, 64))


def test_features_of_one_layer_by_its_name(rng):
    image = rng.uniform(size=(32, 32, 3)).astype(np.float32)
    one, several = (features(tiny.network(), image, given) for given in ("relu2_1", ["relu2_1"]))
    np.testing.assert_array_equal(one["relu2_1"], several["relu2_1"])
    assert list(one) == ["relu2_1"]

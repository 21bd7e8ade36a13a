"""Layers of feed-forward networks, and Johnson's whole network, against PyTorch's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.models import cells, layers, stages, transformer
from nst_jax.models.transformer import Architecture

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def nchw(x):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def nhwc(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def oihw(kernel):
    return torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))


@pytest.fixture
def draw(rng):
    return lambda *shape: rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize(("side", "stride", "size"), [(9, 1, 12), (3, 2, 14), (3, 2, 15)])
def test_convolution_and_its_gradients(draw, monkeypatch, side, stride, size, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # each has its own form
    x, kernel = draw(2, size, size + 3, 3), draw(side, side, 3, 4)
    ours, pull = jax.vjp(lambda x, k: layers.convolve(x, k, stride), x, kernel)
    a, b = nchw(x).requires_grad_(), oihw(kernel).requires_grad_()
    theirs = functional.conv2d(a, b, stride=stride)
    np.testing.assert_allclose(ours, nhwc(theirs), atol=1e-4)
    g = draw(*ours.shape)
    theirs.backward(nchw(g))
    expected = nhwc(a.grad), b.grad.numpy().transpose(2, 3, 1, 0)
    for mine, other in zip(pull(g), expected, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-3, rtol=1e-4)


def test_depthwise_convolution_and_its_gradients(draw):
    x, kernel = draw(2, 7, 9, 5), draw(3, 3, 5)
    ours, pull = jax.vjp(layers.depthwise, x, kernel)
    a = nchw(x).requires_grad_()
    b = torch.from_numpy(kernel.transpose(2, 0, 1)[:, None].copy()).requires_grad_()
    theirs = functional.conv2d(a, b, groups=5)
    np.testing.assert_allclose(ours, nhwc(theirs), atol=1e-5)
    g = draw(*ours.shape)
    theirs.backward(nchw(g))
    np.testing.assert_allclose(pull(g)[0], nhwc(a.grad), atol=1e-5)
    np.testing.assert_allclose(
        pull(g)[1], b.grad.numpy()[:, 0].transpose(1, 2, 0), atol=1e-4, rtol=1e-5
    )


def test_instance_normalisation(draw):
    x, scale, shift = 3 * draw(2, 9, 11, 6) + 5, draw(2, 6), draw(2, 6)
    ours = layers.normalize(x, layers.instance_moments(x), scale, shift)
    for i in range(2):
        theirs = functional.instance_norm(
            nchw(x[i : i + 1]), weight=torch.from_numpy(scale[i]), bias=torch.from_numpy(shift[i])
        )
        np.testing.assert_allclose(ours[i : i + 1], nhwc(theirs), atol=1e-5)
    everywhere = (
        np.broadcast_to(scale[:, None, None], x.shape),
        np.broadcast_to(shift[:, None, None], x.shape),
    )
    np.testing.assert_allclose(
        layers.normalize(x, layers.instance_moments(x), *everywhere), ours, atol=1e-5
    )


def test_padding_and_upsampling(draw):
    x = draw(1, 5, 6, 2)
    theirs = functional.pad(nchw(x), (3, 3, 3, 3), mode="reflect")
    np.testing.assert_array_equal(layers.padded(x, 3), nhwc(theirs))
    theirs = functional.interpolate(nchw(x), scale_factor=2, mode="nearest")
    np.testing.assert_array_equal(layers.doubled(x), nhwc(theirs))


@pytest.mark.parametrize("side", [3, 5, 9])
def test_convolution_of_what_is_upsampled(draw, side):
    x, kernel = draw(2, 9, 10, 3), draw(side, side, 3, 2)
    ours = cells.depth_to_space(cells.convolve_doubled(x, kernel))
    whole = nhwc(functional.conv2d(nchw(np.asarray(layers.doubled(x))), oihw(kernel)))
    # With kernels of side 3, the convolution of the whole upsampled picture is larger by a rim.
    rim = (whole.shape[1] - ours.shape[1]) // 2
    assert rim == (side == 3)
    np.testing.assert_allclose(
        ours, whole[:, rim : rim + ours.shape[1], rim : rim + ours.shape[2]], atol=1e-4
    )


def compare_with_gradients(ours, theirs, x, kernel):
    """A convolution and its gradients, in JAX and in PyTorch."""
    found, pull = jax.vjp(ours, x, kernel)
    a, b = nchw(x).requires_grad_(), oihw(kernel).requires_grad_()
    expected = theirs(a, b)
    np.testing.assert_allclose(found, nhwc(expected.detach()), atol=2e-4)
    g = np.random.default_rng(1).normal(size=found.shape).astype(np.float32)
    expected.backward(nchw(g))
    assert a.grad is not None
    assert b.grad is not None
    for mine, other in zip(pull(g), (nhwc(a.grad), b.grad.permute(2, 3, 1, 0)), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-3, rtol=1e-4)


def test_convolution_in_cells(draw):
    x, kernel = draw(1, 12, 10, 3), draw(9, 9, 3, 20)
    compare_with_gradients(
        lambda x, k: cells.depth_to_space(cells.convolve_cells(x, k)),
        functional.conv2d,
        x,
        kernel,
    )


@pytest.mark.parametrize(("lead", "mode"), [(1, "reflect"), (0, "constant")])
def test_halving_convolution_of_cells(draw, lead, mode):
    x, kernel = draw(2, 12, 8, 3), draw(3, 3, 3, 5)
    edges = (lead, 1 - lead) * 2 if mode == "constant" else (1,) * 4
    compare_with_gradients(
        lambda x, k: cells.convolve_halving(cells.space_to_depth(x), k, lead, mode == "reflect"),
        lambda x, k: functional.conv2d(functional.pad(x, edges, mode=mode), k, stride=2),
        x,
        kernel,
    )


def test_moments_of_pixels_in_cells(draw):
    x = draw(2, 6, 8, 3) + 2
    found = layers.instance_moments(cells.space_to_depth(x), 4)
    for ours, theirs in zip(found, layers.instance_moments(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_depth_to_space_is_the_inverse(draw):
    x = draw(2, 6, 8, 3)
    np.testing.assert_array_equal(cells.depth_to_space(cells.space_to_depth(x)), x)
    packed = functional.pixel_unshuffle(nchw(x), 2).reshape(2, 3, 4, 3, 4).transpose(1, 2)
    np.testing.assert_array_equal(cells.space_to_depth(x), nhwc(packed.reshape(2, 12, 3, 4)))


def johnson(parameters, style, x, blocks):
    """The network as its paper and supplement say, in PyTorch, from our parameters."""
    p = {k: torch.from_numpy(np.array(v)) for k, v in parameters.items()}

    def conv(name, x, stride=1, double=False, normalized=True):
        kernel = p[f"{name}.kernel"].permute(3, 2, 0, 1)
        if double:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        rim = kernel.shape[-1] // 2
        x = functional.conv2d(
            functional.pad(x, (rim,) * 4, mode="reflect"), kernel, p.get(f"{name}.bias"), stride
        )
        if not normalized:
            return x
        scale, shift = p[f"{name}.scale"][style], p[f"{name}.shift"][style]
        return functional.instance_norm(x, weight=scale, bias=shift)

    x = conv("conv1", x).relu()
    x = conv("conv2", x, 2).relu()
    x = conv("conv3", x, 2).relu()
    for i in range(1, blocks + 1):
        x = x + conv(f"res{i}.b", conv(f"res{i}.a", x).relu())
    x = conv("up1", x, double=True).relu()
    x = conv("up2", x, double=True).relu()
    return conv("out", x, normalized=False).sigmoid()


def perturbed(architecture, rng):
    """Parameters with scales and shifts that tell styles apart."""
    begin = stages.initial(architecture.shapes, 1)
    return {
        k: np.asarray(v) + 0.3 * rng.normal(size=v.shape).astype(np.float32)
        if stages.is_conditional(k)
        else np.asarray(v)
        for k, v in begin.items()
    }


def test_johnsons_network_is_pytorchs(rng):
    architecture = Architecture("johnson", styles=2, blocks=2)
    parameters = perturbed(architecture, rng)
    image = rng.uniform(size=(1, 32, 40, 3)).astype(np.float32)
    ours = jax.jit(transformer.transform, static_argnums=0)(
        architecture, parameters, image, np.eye(2, dtype=np.float32)[1:]
    )
    theirs = nhwc(johnson(parameters, 1, nchw(image), 2))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.fixture(scope="module")
def small():
    architecture = Architecture("small", styles=3, blocks=1)
    parameters = perturbed(architecture, np.random.default_rng(3))
    return architecture, parameters, jax.jit(transformer.transform, static_argnums=0)


def test_what_is_black_or_white_still_learns():
    """A logistic function's gradient, but where it is flat and leads back that of its middle."""
    x = np.float32([-30, -1, 0, 2, 30])
    expected = torch.tensor(x, requires_grad=True)
    expected.sigmoid().sum().backward()
    assert expected.grad is not None
    slopes, flat = expected.grad.numpy(), np.abs(x) == 30
    for sign in (-1, 1):
        g = jnp.full((1, 1, 5, 3), sign, jnp.float32)
        y, pull = jax.vjp(
            lambda x: transformer.exit_(Architecture("small"), x),
            jnp.broadcast_to(x[:, None], (1, 1, 5, 3)),
        )
        np.testing.assert_allclose(y[0, 0, :, 0], expected.sigmoid().detach(), rtol=1e-6)
        # A gradient of the picture's sign leads to the middle: steps go against it.
        back = flat & (np.sign(x) == sign)
        np.testing.assert_allclose(
            pull(g)[0][0, 0, :, 0], sign * np.where(back, 0.25, slopes), rtol=1e-5
        )


def test_a_blend_by_position_is_the_blend_where_it_is_even(small, rng):
    architecture, parameters, run = small
    image = rng.uniform(size=(1, 24, 32, 3)).astype(np.float32)
    blend = np.float32([[0.2, 0.5, 0.3]])
    even = run(architecture, parameters, image, blend)
    everywhere = np.broadcast_to(blend[:, None, None], (1, 24, 32, 3))
    np.testing.assert_allclose(run(architecture, parameters, image, everywhere), even, atol=1e-5)
    halves = np.zeros((1, 24, 32, 3), np.float32)
    halves[:, :, :16, 0] = halves[:, :, 16:, 1] = 1
    mixed = run(architecture, parameters, image, halves)
    assert np.abs(mixed - even).max() > 0.01
    assert mixed.shape == image.shape


def test_pictures_of_a_batch_do_not_meet(small, rng):
    architecture, parameters, run = small
    images = rng.uniform(size=(2, 24, 32, 3)).astype(np.float32)
    blend = np.eye(3, dtype=np.float32)[:2]
    both = run(architecture, parameters, images, blend)
    alone = run(architecture, parameters, images[1:], blend[1:])
    np.testing.assert_allclose(both[1:], alone, atol=1e-5)


def test_shapes_are_those_of_the_papers():
    count = {
        v: sum(np.prod(s) for s in Architecture(v).shapes.values()) for v in ("johnson", "small")
    }
    # Johnson et al.'s 1.68 million, of which instance normalisation needs no biases before it.
    assert 1.6e6 < count["johnson"] < 1.7e6
    one, two = (sum(np.prod(s) for s in Architecture("johnson", n).shapes.values()) for n in (1, 2))
    assert 2500 < two - one < 3500, "Dumoulin et al.: about 3000 parameters for a style"

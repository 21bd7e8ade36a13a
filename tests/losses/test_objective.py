"""Losses and objective against PyTorch, closed forms and the equivalences of the conventions."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from make_goldens import pictures, random_weights
from objectives import STYLE_LAYERS, aims, gatys, weigh
from oracles import GOLDEN, relative_error, torch_lbfgs
from scipy.ndimage import gaussian_filter

from nst_jax import (
    VGG,
    Optimizer,
    content_loss,
    gram,
    minimize,
    objective,
    style_loss,
    total_variation,
)
from nst_jax.files.weightfile import CAFFE
from nst_jax.losses import registry
from nst_jax.losses.measuring import _tap
from nst_jax.losses.statistics.base import Given
from nst_jax.losses.style import Style
from nst_jax.networks import strips
from nst_jax.options import Normalization
from nst_jax.stylizing.problem import Arguments, ScaledObjective

NORMALIZATIONS = get_args(Normalization)


@pytest.mark.parametrize("size", [(48, 32), (37, 51)])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_value_and_gradient_match_torch(rng, normalization, size):
    torch_peer = pytest.importorskip("torch_peer", reason="parity with PyTorch needs torch")
    weights = random_weights("vgg19", 0)
    network, peer = VGG("vgg19", weights, CAFFE), torch_peer.Peer(weights)
    content = rng.uniform(size=(*size, 3)).astype(np.float32)
    style = rng.uniform(size=(40, 56, 3)).astype(np.float32)
    image = rng.uniform(size=(*size, 3)).astype(np.float32)
    spec = gatys(normalization=normalization)
    targets = aims(spec, network, content, style)
    scales = weigh(2.0, 300.0, 0.05)

    def ours(x):
        return objective(spec, x, network, targets, scales)

    (total, terms), gradient = jax.jit(jax.value_and_grad(ours, has_aux=True))(image)
    loss = peer.objective(
        content,
        style,
        normalization=normalization,
        content_weight=2.0,
        style_weight=300.0,
        tv_weight=0.05,
    )
    x = peer.picture(image).requires_grad_()
    theirs = loss(x)
    theirs.backward()
    assert total == pytest.approx(theirs.item(), rel=1e-4)
    assert relative_error(gradient, x.grad[0].permute(1, 2, 0)) <= 1e-4
    parts = terms["content"] + terms["style"] + terms["tv"]
    assert parts == pytest.approx(float(total), rel=1e-6)
    layers = sum(float(terms[layer]) for layer in spec.layers)
    assert layers == pytest.approx(float(terms["content"] + terms["style"]), rel=1e-5)


@pytest.mark.parametrize("architecture", ["vgg19", "vgg16"])
def test_value_and_gradient_match_the_golden_files_of_torch(architecture):
    golden, given = np.load(GOLDEN / f"{architecture}.npz"), pictures(2)
    network = VGG(architecture, random_weights(architecture, 1), CAFFE)

    def total(image, spec, targets):
        return objective(spec, image, network, targets, weigh(tv=0.01))[0]

    for normalization in NORMALIZATIONS:
        spec = gatys(normalization=normalization)
        targets = aims(spec, network, given["content"], given["style"])
        value, gradient = jax.jit(jax.value_and_grad(total), static_argnums=1)(
            given["image"], spec, targets
        )
        assert float(value) == pytest.approx(float(golden[f"{normalization}/loss"]), rel=1e-4)
        assert relative_error(gradient, golden[f"{normalization}/gradient"]) <= 1e-4


def test_gram_by_hand(rng):
    features = rng.normal(size=(3, 5, 4)).astype(np.float32)
    expected = sum(np.outer(f, f) for f in features.reshape(-1, 4).astype(np.float64)) / 15
    np.testing.assert_allclose(gram(features), expected, rtol=1e-5)
    assert gram(jnp.asarray(features, jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("statistic", ["gram", "moments", "wasserstein"])
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_statistics_beside_features_have_the_same_gradient(
    rng, monkeypatch, statistic, guided, large
):
    """In strips of two of five rows, too, the last of which begins within the one before."""
    monkeypatch.setattr(strips, "_LARGE", 0 if large else 1000)
    monkeypatch.setattr(strips, "_VALUES", 2 * 4 * 3)
    features, w = (jnp.asarray(rng.normal(size=(5, 4, 3)), jnp.float32) for _ in range(2))
    guides = jnp.asarray(rng.uniform(size=(2, 5, 4)), jnp.float32) if guided else None
    g = None

    def weighted(found):
        return sum(jnp.vdot(a, b) for a, b in zip(g, jax.tree.leaves(found), strict=True))

    def plain(f):
        """By hand, of the mean and of all products of the feature maps."""
        flat = f.reshape(-1, 3)
        shares = jnp.full((1, 20), 1 / 20)
        if guides is not None:
            shares = (guides / guides.sum((1, 2), keepdims=True)).reshape(2, 20)
        mean, products = shares @ flat, jnp.einsum("rp,pi,pj->rij", shares, flat, flat)
        squares = jnp.einsum("rii->ri", products)
        found = {"gram": [products], "moments": [mean, squares], "wasserstein": [mean, products]}
        return [v if guided else v[0] for v in found[statistic]]

    def ours(f):
        terms = (Style(("relu1_1",), registry.statistic(statistic)),)
        f, found = _tap(terms, False, {"relu1_1": {"style": Given(guides)}}, "relu1_1", f)
        return f, found["style"].value

    g = [jnp.asarray(rng.normal(size=v.shape), jnp.float32) for v in plain(features)]
    for a, b in zip(jax.tree.leaves(ours(features)[1]), plain(features), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    def total(f, beside):
        f, found = beside(f)
        return weighted(found) + jnp.sum(w * f**2)

    found = jax.grad(total)(features, ours)
    expected = jax.grad(total)(features, lambda f: (f, plain(f)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    # Where only the statistic is used, the other part of the gradient is zero.
    alone = jax.grad(lambda f: weighted(ours(f)[1]))(features)
    np.testing.assert_allclose(
        alone, jax.grad(lambda f: weighted(plain(f)))(features), rtol=1e-4, atol=1e-6
    )


def test_conventions_are_equivalent_as_documented(rng):
    n, m = 7, 6 * 4
    f, p, s = (rng.normal(size=(6, 4, n)).astype(np.float32) for _ in range(3))
    g, a = gram(f), gram(s)
    # Gatys' style weight 1e3/n^2 on G/(HW) is jcjohnson's 1000 on G/(CHW), content 1 : 1.
    assert float(style_loss(g, a, "gatys")) == pytest.approx(
        float(style_loss(g, a, "neural-style")), rel=1e-5
    )
    assert content_loss(f, p, "gatys") == content_loss(f, p, "neural-style")
    # The paper's E_l is N^2/4 times jcjohnson's; its content is N M / 2 times the mean.
    neural = float(style_loss(g, a, "neural-style"))
    assert style_loss(g, a, "paper") == pytest.approx(n**2 / 4 * neural, rel=1e-5)
    mean = float(content_loss(f, p, "gatys"))
    assert content_loss(f, p, "paper") == pytest.approx(n * m / 2 * mean, rel=1e-5)
    # And the paper's formulas as printed, with unnormalised Gram matrices.
    unnormalised = m * np.asarray(g, np.float64) - m * np.asarray(a, np.float64)
    assert style_loss(g, a, "paper") == pytest.approx(
        np.sum(unnormalised**2) / (4 * n**2 * m**2), rel=1e-5
    )
    assert content_loss(f, p, "paper") == pytest.approx(np.sum((f - p) ** 2) / 2, rel=1e-5)


def test_width_stands_for_unprojected_feature_maps(rng):
    # An orthonormal projection that keeps all energy keeps the loss, if n stays the full number.
    f, s = (np.zeros((4, 4, 6), np.float32) for _ in range(2))
    f[..., :3], s[..., :3] = rng.normal(size=(2, 4, 4, 3))
    for normalization in NORMALIZATIONS:
        full = style_loss(gram(f), gram(s), normalization)
        kept = style_loss(gram(f[..., :3]), gram(s[..., :3]), normalization, width=6)
        assert kept == pytest.approx(float(full), rel=1e-5)
        full = content_loss(f, s, normalization)
        kept = content_loss(f[..., :3], s[..., :3], normalization, width=6)
        assert kept == pytest.approx(float(full), rel=1e-5)


def test_total_variation_of_a_checkerboard_and_of_a_constant():
    board = np.indices((5, 6)).sum(0) % 2
    board = np.repeat(board[..., None], 3, -1).astype(np.float32) / 255
    # Every difference is 1 in units of 0..255.
    assert total_variation(board) == pytest.approx(1.0, rel=1e-5)
    assert total_variation(board, "neural-style") == pytest.approx(4 * 5 * 3, rel=1e-5)
    for normalization in NORMALIZATIONS:
        assert total_variation(np.full((4, 4, 3), 0.3, np.float32), normalization) == 0


def test_a_picture_is_at_its_own_targets(rng):
    network = VGG("vgg19", random_weights("vgg19", 0), CAFFE)
    image = rng.uniform(size=(32, 32, 3)).astype(np.float32)
    spec = gatys()
    targets = aims(spec, network, image, image)
    total, _ = objective(spec, jnp.asarray(image), network, targets, weigh())
    assert float(total) == pytest.approx(0, abs=1e-6)


def test_weights_vmap_and_do_not_recompile(rng):
    network = VGG("vgg19", random_weights("vgg19", 0), CAFFE)
    content, style = rng.uniform(size=(2, 32, 32, 3)).astype(np.float32)
    spec = gatys(style_layers=STYLE_LAYERS[:3])
    targets = aims(spec, network, content, style)
    traces = []

    @jax.jit
    def total(style_weight, image):
        traces.append(None)
        return objective(spec, image, network, targets, weigh(style=style_weight))[0]

    image = rng.uniform(size=(32, 32, 3)).astype(np.float32)
    one, two = (float(total(jnp.float32(w), image)) for w in (10.0, 1000.0))
    assert len(traces) == 1
    both = jax.vmap(total, in_axes=(0, None))(jnp.float32([10, 1000]), image)
    np.testing.assert_allclose(both, [one, two], rtol=1e-5)


def smooth(rng, *size):
    """A picture with soft edges: in white noise, of a million activations one lies so near a ReLU's
    or a pooling's decision that two float32 libraries decide it differently."""
    image = gaussian_filter(rng.uniform(size=(*size, 3)), (1.5, 1.5, 0)) * 4 - 1.5
    return np.clip(image, 0, 1).astype(np.float32)


def test_real_weights_match_torch(vgg19, rng):
    torch_peer = pytest.importorskip("torch_peer", reason="parity with PyTorch needs torch")
    file, network = vgg19
    peer = torch_peer.Peer(file.tensors)
    content, image, style = smooth(rng, 61, 83), smooth(rng, 61, 83), smooth(rng, 64, 64)
    layers = tuple(network.widths)
    ours = jax.jit(lambda n, x: n(x, layers))(network, image)
    theirs = peer.features(peer.picture(image), layers)
    for layer in layers:
        assert relative_error(ours[layer], theirs[layer][0].permute(1, 2, 0)) <= 1e-4, layer

    def total(image, spec, targets):
        return objective(spec, image, network, targets, weigh())[0]

    for normalization in NORMALIZATIONS:
        spec = gatys(normalization=normalization)
        targets = aims(spec, network, content, style)
        value, gradient = jax.jit(jax.value_and_grad(total), static_argnums=1)(image, spec, targets)
        x = peer.picture(image).requires_grad_()
        loss = peer.objective(content, style, normalization=normalization)(x)
        loss.backward()
        assert value == pytest.approx(loss.item(), rel=1e-4)
        assert relative_error(gradient, x.grad[0].permute(1, 2, 0)) <= 1e-4


def lbfgs_beside_torch(network, tensors, rng, layers, evaluations):
    """Losses of the gatys objective from the content picture, ours and torch's."""
    torch = pytest.importorskip("torch", reason="parity with torch.optim.LBFGS needs torch")
    torch_peer = pytest.importorskip("torch_peer")
    content, style = smooth(rng, 64, 48), smooth(rng, 64, 48)
    spec = gatys(style_layers=layers)
    targets = aims(spec, network, content, style)
    _, trace = minimize(
        ScaledObjective(spec, 255.0),
        jnp.asarray(content) * 255,
        Arguments(network, targets, weigh()),
        optimizer=Optimizer("lbfgs", history=100),
        evaluations=evaluations,
    )
    peer = torch_peer.Peer(tensors)
    loss = peer.objective(content, style, style_layers=layers)
    theirs = torch_lbfgs(torch, lambda z: loss(z / 255), peer.picture(content) * 255, evaluations)
    return np.asarray(trace.terms["total"]), theirs


def test_twenty_evaluations_of_lbfgs_follow_torch(vgg19, rng):
    file, network = vgg19
    ours, theirs = lbfgs_beside_torch(network, file.tensors, rng, STYLE_LAYERS, 20)
    assert ours[-1] < 0.1 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-2)


def test_lbfgs_follows_torch_on_a_narrow_network(rng):
    # A random network's losses are so kinked that after ten evaluations rounding decides.
    tensors = random_weights("vgg19", 0)
    network = VGG("vgg19", tensors, CAFFE)
    ours, theirs = lbfgs_beside_torch(network, tensors, rng, STYLE_LAYERS[:3], 6)
    assert ours[-1] < 0.1 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-2)

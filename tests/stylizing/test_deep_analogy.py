"""Deep image analogy: what two pictures with known correspondences give."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from commands import refusal, run
from PIL import Image
from refusals import sentence

import nst_jax as nst
from nst_jax.cli import cache
from nst_jax.pictures import reading, resizing
from nst_jax.stylizing import deep_analogy as module

NETWORK = nst.load_network("vgg19-lite")
FEW = {"evaluations": 2, "size": None}
# Two parts of one photograph, which both show its columns 32 to 95.
WIDE = np.rint(resizing.resize(nst.samples.content("cat"), (96, 128)) * 255).astype(np.uint8)
A, B = WIDE[:, :96], WIDE[:, 32:]


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(module, "load_network", lambda *_, **__: NETWORK)
    monkeypatch.setattr(cache, "enable", lambda: None)


def test_a_picture_is_its_own_analogue():
    for result in nst.deep_analogy(A, A, **FEW):
        np.testing.assert_allclose(result.image, A / 255, atol=1e-5)


def test_parts_of_one_picture_give_back_its_pixels():
    one, other = nst.deep_analogy(A, B, **FEW)
    # Features near an edge see too little.
    for found, wanted in ((one.image[:, 32:], A[:, 32:]), (other.image[:, :64], B[:, :64])):
        apart = np.abs(found - wanted / 255).max(-1)[8:-8, 8:-8]
        assert np.mean(apart < 1e-3) > 0.95


def test_the_way_from_a_layer_to_the_next(rng):
    """It is the network's own, and its gradient that of differences."""
    network, layers = tiny.network(), ("relu3_1", "relu4_1")
    own = network(tiny.picture(32, 32) / np.float32(255), layers)
    away = jax.jit(module._Onward(layers, (32, 32)))
    x, goal = (own[layer] for layer in layers)
    assert away(x, (network, goal)) == 0
    assert away(x, (network, 0 * goal + 1)) > 0.1
    begin, step = (jnp.float32(rng.normal(size=x.shape)) for _ in "xs")
    slope = jnp.vdot(jax.jit(jax.grad(away))(begin, (network, goal)), step)
    ahead, behind = (away(begin + s * step, (network, goal)) for s in (1e-3, -1e-3))
    assert float(slope) == pytest.approx(float(ahead - behind) / 2e-3, rel=0.05)
    assert abs(float(slope)) > 1e-3


def test_bad_input():
    assert "47x96" in sentence(nst.deep_analogy, A[:, :47], B, **FEW)
    assert "weights are (0.5,)" in sentence(nst.deep_analogy, A, B, weights=(0.5,))
    assert "weights are (1.0, 1.0, 1.0, 2.0)" in sentence(
        nst.deep_analogy, A, B, weights=(1.0, 1.0, 1.0, 2.0)
    )
    with pytest.raises(nst.InputError, match="evaluations is 0"):
        nst.deep_analogy(A, B, evaluations=0)


def test_command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name, picture in (("a.png", A), ("b.png", B)):
        Image.fromarray(picture).save(name)
    command = ["deep-analogy", "a.png", "b.png", "-o", "out.png", "--back", "back.png"]
    command += ["--evaluations=2", "--weights=0.8,0.7,0.6,0.1", "--size=96"]
    assert run(*command, "--json") == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["output"], said["back"], said["width"]) == ("out.png", "back.png", 96)
    # Where both show the same, the results are the pictures themselves.
    for name, columns, picture in (("out.png", np.s_[40:-8], A), ("back.png", np.s_[8:56], B)):
        apart = np.abs(reading.read(name).rgb - picture / 255).max(-1)[8:-8, columns]
        assert np.mean(apart < 1 / 250) > 0.95
    assert reading.read_settings("back.png")["evaluations"] == 2
    assert "exists" in refusal(capfd, *command)
    fresh = [*command[:4], "x.png"]
    assert "another" in refusal(capfd, *fresh, "--back=x.png")
    assert "exists" in refusal(capfd, *fresh, "--back=back.png")
    assert "give --back a file" in refusal(capfd, *fresh, "--back=-")
    assert "NUMBER" in refusal(capfd, *fresh, "--weights=much")

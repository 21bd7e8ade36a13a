"""The temporal loss: against numpy and finite differences, and what it does to a run."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny

from nst_jax.losses import Earlier, temporal_loss
from nst_jax.stylizing.inputs import Sources
from nst_jax.stylizing.run import draw, requested


@pytest.fixture
def earlier(rng):
    pictures = rng.uniform(size=(3, 24, 32, 3)).astype(np.float32)
    weights = rng.uniform(size=(3, 24, 32)).astype(np.float32)
    weights[1, :, :10] = 0
    return Earlier(pictures, weights)


def test_it_is_the_weighted_mean_square(rng, earlier):
    x = rng.normal(0.5, 0.4, (24, 32, 3)).astype(np.float32)
    wanted = sum(
        float(w[i, j]) * (255 * (float(x[i, j, k]) - float(p[i, j, k]))) ** 2
        for p, w in zip(*earlier, strict=True)
        for i, j, k in np.ndindex(x.shape)
    )
    assert float(temporal_loss(x, earlier)) == pytest.approx(wanted / x.size, rel=1e-5)


def test_its_gradient_is_that_of_finite_differences(rng, earlier):
    x, direction = (rng.normal(0.5, 0.4, (24, 32, 3)).astype(np.float32) for _ in range(2))
    slope = np.vdot(jax.grad(temporal_loss)(x, earlier), direction)
    # Of a quadratic function, central differences are exact at any step.
    up, down = (float(temporal_loss(x + step * direction, earlier)) for step in (1, -1))
    assert (up - down) / 2 == pytest.approx(slope, rel=1e-4)


def test_what_is_not_trusted_is_free(rng, earlier):
    x = rng.uniform(size=(24, 32, 3)).astype(np.float32)
    only = Earlier(earlier.pictures[1:2], earlier.weights[1:2])
    gradient = np.asarray(jax.grad(temporal_loss)(x, only))
    assert not gradient[:, :10].any()
    assert gradient[:, 10:].all()


def test_a_frame_is_drawn_to_earlier_ones(earlier):
    """Where the weight is high, the frame becomes the earlier one; a picture alone has none."""
    content, style = tiny.picture(24, 32), tiny.picture(32, 24, 2)
    options = {
        "content_layers": "relu1_1",
        "style_layers": "relu1_1",
        "preset": "gatys",
        "size": 32,
    }
    sources = Sources(content, style)
    request = requested(sources, network=tiny.PIXELS, temporal_weight=1e6, **options)
    alone = draw(request)
    assert alone.losses["temporal"].max() == 0
    one = Earlier(earlier.pictures[:1], np.ones_like(earlier.weights[:1]))
    pictures = request.pictures._replace(earlier=one)
    drawn = draw(replace(request, pictures=pictures))
    assert drawn.losses["temporal"].min() > 0
    assert np.abs(drawn.image - one.pictures[0]).mean() < 0.02
    small = pictures.at(12, 16)
    assert small.earlier.pictures.shape == (1, 12, 16, 3)
    assert small.earlier.weights.shape == (1, 12, 16)

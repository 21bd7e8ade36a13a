"""An optimiser of a Laplacian pyramid, against PyTorch's on a pyramid of its own."""

import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.solvers.bands import sizes
from nst_jax.solvers.optimizer import Optimizer
from nst_jax.solvers.solver import minimize


def test_sizes_are_those_of_the_codes():
    """512 pixels and 8 levels end at 2 pixels, and so do 64; likewise 5 levels of STROTSS at 64."""
    assert [side[0] for side in sizes(512, 384, 8)] == [512 >> n for n in range(9)]
    assert sizes(64, 40, 8) == [(64, 40), (32, 20), (16, 10), (8, 5), (4, 2), (2, 1)]
    assert sizes(64, 64, 5) == sizes(64, 64, 8)
    assert sizes(9, 2, 8) == [(9, 2), (4, 1), (2, 1)]
    assert sizes(1, 1, 3) == [(1, 1)]


@pytest.mark.parametrize("method", ["adam", "rmsprop"])
def test_steps_are_those_of_pytorch_on_a_pyramid(rng, method):
    torch = pytest.importorskip("torch")
    start, wanted, weight = rng.uniform(0.2, 0.8, size=(3, 12, 20, 3)).astype(np.float32)

    def enlarged(x, shape):
        return torch.nn.functional.interpolate(x, shape, mode="bilinear", align_corners=False)

    def picture(bands):
        x = bands[-1]
        for band in reversed(bands[:-1]):
            x = band + enlarged(x, band.shape[2:])
        return x[0].permute(1, 2, 0)

    # Whatever pyramid a picture has, steps change it alike; this one has all in its finest band.
    bands = [torch.zeros(1, 3, h, w) for h, w in sizes(12, 20, 3)]
    bands[0] = torch.tensor(start).permute(2, 0, 1)[None].clone()
    bands = [band.requires_grad_() for band in bands]
    kind = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}[method]
    optimizer = kind(bands, lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = (torch.tensor(weight) * (picture(bands) - torch.tensor(wanted)) ** 2).sum()
        loss.backward()
        optimizer.step()

    def bowl(x, _):
        return jnp.sum(weight * jnp.square(x - wanted))

    state, _ = minimize(
        bowl,
        jnp.asarray(start),
        optimizer=Optimizer(method, pyramid=3),
        learning_rate=0.01,
        evaluations=6,
    )
    np.testing.assert_allclose(state.x, picture(bands).detach(), atol=2e-5)

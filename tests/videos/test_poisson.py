"""The screened Poisson solve against scipy's sparse one, and what it does to flicker."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scenes
from scipy import sparse
from scipy.sparse.linalg import spsolve

from nst_jax.motion.warping import warp
from nst_jax.videos.poisson import screened, steadied


def laplacian(h, w):
    """Of a grid with free borders, as a sparse matrix."""

    def path(n):
        steps = np.diff(np.eye(n), axis=0)
        return sparse.csr_matrix(steps.T @ steps)

    return sparse.kron(path(h), sparse.eye(w)) + sparse.kron(sparse.eye(h), path(w))


@pytest.mark.parametrize("hole", [False, True])
def test_a_frame_minimises_the_energy(rng, hole):
    """Of the paper's energy the minimum is where its gradient is zero: a sparse linear system."""
    h, w = 24, 36
    weight = rng.uniform(0.05, 1, (h, w, 1)).astype(np.float32)
    if hole:
        weight[6:14, 10:20] = 0
    drawn, aim = rng.random((2, h, w, 3)).astype(np.float32)
    found = drawn + np.asarray(jax.jit(screened)(weight, weight * (aim - drawn)))
    matrix, screen = laplacian(h, w), weight.ravel()
    for c in range(3):
        right = matrix @ drawn[..., c].ravel() + screen * aim[..., c].ravel()
        expected = spsolve((matrix + sparse.diags(screen)).tocsr(), right)
        assert np.abs(found[..., c].ravel() - expected).max() < 5e-3


def test_the_laplacian_is_that_of_the_matrix(rng):
    from nst_jax.videos.poisson import _laplacian

    x = rng.random((5, 7, 2)).astype(np.float32)
    expected = laplacian(5, 7) @ x.reshape(35, 2)
    np.testing.assert_allclose(_laplacian(jnp.asarray(x)).reshape(35, 2), expected, atol=1e-5)


def test_flicker_goes_and_a_change_of_the_film_stays():
    """The right half of the film changes; there the new drawing comes through."""
    places = scenes.grid(48)
    frame, earlier = scenes.texture(places), scenes.texture(places)
    earlier = earlier.copy()
    earlier[:, 24:] = (earlier[:, 24:] + 0.5) % 1
    last = scenes.texture(places, 1)
    drawn = np.clip(last + 0.1, 0, 1)
    drawn[:, 24:] = scenes.texture(places, 2)[:, 24:]
    still = np.zeros((48, 48, 2), np.float32)
    found = np.asarray(
        steadied(drawn, last, frame, earlier, still, np.ones((48, 48), np.float32), 1.0)
    )
    assert np.abs(found - last)[:, :12].mean() < 0.01
    new, old = (np.diff(x - found, axis=0)[:, 32:] for x in (drawn, last))
    assert np.abs(new).mean() < 0.1 * np.abs(old).mean()


def test_a_known_shift_is_followed():
    places, shift = scenes.grid(48), np.array([3, -1])
    flow = np.full((48, 48, 2), shift, np.float32)
    frame, earlier = scenes.texture(places + shift), scenes.texture(places)
    last, wanted = scenes.texture(places, 1), scenes.texture(places + shift, 1)
    drawn = np.clip(wanted + 0.1, 0, 1)
    _, inside = warp(last, flow)
    found = np.asarray(
        steadied(drawn, last, frame, earlier, flow, np.asarray(inside, np.float32), 4.0)
    )
    assert np.abs(found - wanted)[8:-8, 8:-8].mean() <= 0.02

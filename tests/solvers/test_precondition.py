"""The preconditioner against numpy's Fourier transform, and L-BFGS with it against L-BFGS on z."""

import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.solvers.precondition import spectral
from nst_jax.solvers.solver import Optimizer, minimize


def factors(height, width, exponent):
    """f^-exponent at every frequency, mean 1; from the definition."""
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    found = np.maximum(f, 1 / max(height, width)) ** -exponent
    return found / found.mean()


def filtered(x, by):
    return np.fft.ifft2(np.fft.fft2(x, axes=(0, 1)) * by[..., None], axes=(0, 1)).real


@pytest.mark.parametrize("shape", [(12, 16, 3), (9, 7, 3), (1, 5, 1)])
def test_filter_is_numpys(rng, shape):
    x = rng.normal(size=shape).astype(np.float32)
    expected = filtered(x, factors(*shape[:2], 1.5))
    np.testing.assert_allclose(spectral(x, 1.5), expected, rtol=1e-4, atol=1e-5)


def test_filter_is_symmetric_and_positive(rng):
    a, b = rng.normal(size=(2, 10, 13, 3)).astype(np.float32)
    assert np.vdot(a, spectral(b, 1.0)) == pytest.approx(np.vdot(spectral(a, 1.0), b), rel=1e-4)
    assert np.vdot(a, spectral(a, 1.0)) > 0


def bowl(x, args):
    """A quartic bowl, narrower for finer structure."""
    target, weights = args
    spectrum = jnp.fft.fft2(x - target, axes=(0, 1))
    value = jnp.sum(weights[..., None] * jnp.abs(spectrum) ** 2) / x.size
    value = value + 0.01 * jnp.sum((x - target) ** 4)
    return value, {"total": value}


def test_is_lbfgs_on_the_whitened_unknown(rng):
    target = rng.normal(size=(12, 10, 2)).astype(np.float32)
    weights = jnp.float32(1 / factors(12, 10, 1.0))
    root = jnp.float32(np.sqrt(factors(12, 10, 1.0)))

    def of_z(z, args):
        x = jnp.fft.ifft2(jnp.fft.fft2(z, axes=(0, 1)) * root[..., None], axes=(0, 1)).real
        return bowl(x, args)

    zero, data = jnp.zeros((12, 10, 2)), (target, weights)
    optimizer = Optimizer(history=5)
    _, expected = minimize(of_z, zero, data, optimizer=optimizer, evaluations=12)
    optimizer = Optimizer(history=5, precondition=1.0)
    _, found = minimize(bowl, zero, data, optimizer=optimizer, evaluations=12)
    start, end = np.asarray(expected.terms["total"])[[0, -1]]
    assert end < 0.1 * start
    np.testing.assert_allclose(
        found.terms["total"], expected.terms["total"], rtol=2e-3, atol=1e-8 * start
    )


def test_fitting_filter_needs_fewer_evaluations(rng):
    target = rng.normal(size=(16, 16, 3)).astype(np.float32)
    weights = jnp.float32(1 / factors(16, 16, 2.0))

    def reached(exponent):
        optimizer = Optimizer(history=5, precondition=exponent)
        data = (target, weights)
        state, _ = minimize(bowl, jnp.zeros((16, 16, 3)), data, optimizer=optimizer, evaluations=15)
        return float(state.best)

    assert reached(2.0) < 0.2 * reached(0.0)

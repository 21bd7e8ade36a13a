import numpy as np
import pytest

from nst_jax.pictures import resizing
from nst_jax.pictures.resizing import resize_with_alpha


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (100, 200, 50, (25, 50)),
        (200, 100, 50, (50, 25)),
        (100, 100, 37, (37, 37)),
        (100, 200, 400, (200, 400)),
        (3, 4, 2, (2, 2)),  # 1.5 rounds up
        (1, 1000, 10, (1, 10)),  # never nothing
        (333, 517, 512, (330, 512)),
    ],
)
def test_fit(height, width, size, expected):
    assert resizing.fit(height, width, size) == expected


@pytest.mark.parametrize("shape", [(13, 29), (64, 48), (97, 20), (1, 1)])
def test_a_constant_stays_constant(shape):
    rgb = np.full((31, 23, 3), np.float32([0.2, 0.7, 1.0]))
    for function in (resizing.resize, resizing.cover):
        out = function(rgb, shape)
        assert out.shape == (*shape, 3)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, np.broadcast_to(rgb[0, 0], out.shape), atol=1e-6)


def test_the_mean_is_kept(rng):
    rgb = rng.random((128, 96, 3), np.float32)
    out = resizing.resize(rgb, (32, 24))
    np.testing.assert_allclose(out.mean((0, 1)), rgb.mean((0, 1)), atol=0.01)
    assert out.std() < 0.5 * rgb.std()  # noise averages out; picking pixels would keep it


def test_shrinking_does_not_alias():
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::2] = 1
    out = resizing.resize(stripes, (21, 21))
    np.testing.assert_allclose(out[:, 2:-2], 0.5, atol=0.02)


def test_smooth_gradients_are_followed():
    def ramp(n):
        return np.broadcast_to(((np.arange(n) + 0.5) / n)[None, :, None], (9, n, 3))

    for n in (30, 240):
        out = resizing.resize(ramp(120).astype(np.float32), (9, n))
        inside = slice(n // 10, -n // 10)
        np.testing.assert_allclose(out[:, inside], ramp(n)[:, inside], atol=1e-3)


def test_no_value_leaves_the_range():
    edge = np.zeros((32, 32, 3), np.float32)
    edge[:, 16:] = 1
    for shape in ((20, 20), (90, 90)):
        for function in (resizing.resize, resizing.cover):
            out = function(edge, shape)
            assert out.min() == 0
            assert out.max() == 1
    rgb, alpha = resize_with_alpha(edge, edge[..., 0], (90, 90))
    assert min(rgb.min(), alpha.min()) >= 0
    assert max(rgb.max(), alpha.max()) <= 1


@pytest.mark.parametrize("shape", [(16, 16), (50, 50), (7, 31)])
def test_what_is_transparent_leaves_no_fringe(shape):
    rgb = np.zeros((32, 32, 3), np.float32)
    rgb[...] = [0, 1, 0]
    alpha = np.zeros((32, 32), np.float32)
    alpha[8:24, 8:24] = 1
    rgb[8:24, 8:24] = [1, 0, 0]
    out, opacity = resize_with_alpha(rgb, alpha, shape)
    seen = opacity > 0.01
    np.testing.assert_allclose(out[seen], np.broadcast_to([1, 0, 0], out[seen].shape), atol=1e-3)
    np.testing.assert_allclose(out[0, 0], [0, 1, 0], atol=1e-6)
    assert 0 < seen.mean() < 0.5


def test_cover_cuts_the_middle_out(rng):
    rgb = rng.random((40, 100, 3), np.float32)
    np.testing.assert_allclose(resizing.cover(rgb, (40, 40)), rgb[:, 30:70], atol=1e-6)
    tall = np.swapaxes(rgb, 0, 1)
    np.testing.assert_allclose(resizing.cover(tall, (40, 40)), tall[30:70], atol=1e-6)
    np.testing.assert_allclose(resizing.cover(rgb, (40, 100)), rgb, atol=1e-6)
    half = resizing.resize(rgb, (20, 50))
    np.testing.assert_allclose(resizing.cover(rgb, (20, 20))[:, 3:-3], half[:, 18:32], atol=1e-5)

"""Colour: spaces against scikit-image and published values, matching against numpy and scipy."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy import linalg, stats
from skimage import color as skimage_color
from skimage import exposure

import nst_jax as nst
from nst_jax.options import Color, ColorMatch, ColorSpace
from nst_jax.pictures import color, colorspace

SPACES, METHODS = get_args(ColorSpace), get_args(ColorMatch)
LINEAR = ("symmetric", "pca", "cholesky")
LUMA = np.array([0.299, 0.587, 0.114])


def picture(seed, height=24, width=20, contrast=0.4):
    """Colours that correlate, well within [0, 1]."""
    pixels = tiny.picture(height, width, seed) / np.float32(255)
    return np.float32(0.5 + contrast * (pixels - 0.5))


def grey(seed):
    return np.repeat(picture(seed)[..., :1], 3, axis=-1)


def constant(*rgb):
    return np.broadcast_to(np.float32(rgb), (24, 20, 3))


def moments(pixels):
    flat = np.float64(pixels).reshape(-1, pixels.shape[-1])
    return flat.mean(0), np.cov(flat.T, bias=True)


def test_oklab_against_scikit_image_and_the_published_matrices(rng):
    rgb = rng.uniform(size=(5, 6, 3))
    from_xyz = [
        [0.8189330101, 0.3618667424, -0.1288597137],
        [0.0329845436, 0.9293118715, 0.0361456387],
        [0.0482003018, 0.2643662691, 0.6338517070],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    xyz = skimage_color.rgb2xyz(rgb)
    expected = np.cbrt(xyz @ np.transpose(from_xyz)) @ np.transpose(to_lab)
    # Two publications' white points and rounding lie between.
    np.testing.assert_allclose(colorspace.to_oklab(np.float32(rgb)), expected, atol=5e-4)


def test_oklab_of_known_colours():
    # Red, green and blue as the CSS Color 4 specification lists them; white, grey and black.
    rgb = np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    lab = colorspace.to_oklab(rgb)
    expected = [
        [0.62796, 0.22486, 0.12585],
        [0.86644, -0.23389, 0.17950],
        [0.45201, -0.03246, -0.31153],
        [1, 0, 0],
        [0, 0, 0],
    ]
    np.testing.assert_allclose(lab, expected, atol=2e-5)


def test_oklab_and_back_also_outside_the_gamut(rng):
    rgb = rng.uniform(-0.5, 1.5, (50, 3)).astype(np.float32)
    np.testing.assert_allclose(colorspace.from_oklab(colorspace.to_oklab(rgb)), rgb, atol=2e-5)


@pytest.mark.parametrize("space", SPACES)
def test_split_and_join_are_inverse(space):
    rgb = picture(1, contrast=1)
    lightness, chroma = colorspace.split(rgb, space)
    np.testing.assert_allclose(colorspace.join(lightness, chroma, space), rgb, atol=2e-5)
    np.testing.assert_allclose(colorspace.split(grey(1), space)[1], 0, atol=1e-5)


def test_lightness_of_rgb_is_that_of_yiq_yuv_and_ycbcr():
    colors, light = picture(1), picture(2)
    mixed = color.with_lightness(colors, light)
    for to, back, tolerance in (
        # Rounded matrices; YCbCr in units of 0..255.
        (skimage_color.rgb2yiq, skimage_color.yiq2rgb, 1e-3),
        (skimage_color.rgb2yuv, skimage_color.yuv2rgb, 1e-3),
        (skimage_color.rgb2ycbcr, skimage_color.ycbcr2rgb, 1e-3),
    ):
        expected = to(colors)
        expected[..., 0] = to(light)[..., 0]
        np.testing.assert_allclose(mixed, back(expected), atol=tolerance)


@pytest.mark.parametrize("space", SPACES)
def test_lightness_is_exact_where_chroma_must_give_way(space):
    colors, light = picture(1, contrast=1), picture(2, contrast=1)
    mixed = np.asarray(color.with_lightness(colors, light, space))
    assert mixed.min() >= 0
    assert mixed.max() <= 1
    lightness, chroma = colorspace.split(mixed, space)
    np.testing.assert_allclose(lightness, colorspace.split(light, space)[0], atol=2e-5)
    wanted = np.asarray(colorspace.split(colors, space)[1])
    full = np.asarray(colorspace.join(colorspace.split(light, space)[0], wanted, space))
    inside = ((full >= 0) & (full <= 1)).all(-1)
    assert 0.1 < inside.mean() < 0.9
    np.testing.assert_allclose(np.asarray(chroma)[inside], wanted[inside], atol=5e-5)
    # Elsewhere the hue is kept: chroma is a share of what was wanted, and as large as can be.
    share = (chroma * wanted).sum(-1) / (wanted**2).sum(-1)
    np.testing.assert_allclose(chroma, share[..., None] * wanted, atol=5e-5)
    edge = np.minimum(mixed, 1 - mixed).min(-1)
    np.testing.assert_allclose(edge[~inside], 0, atol=2e-3)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("method", LINEAR)
def test_linear_matching_reproduces_mean_and_covariance(method, space):
    source, target = picture(1), picture(2, 31, 17, contrast=0.2)
    matched = color.match_colors(source, target, method, space)
    if space == "oklab":
        matched, target = colorspace.to_oklab(matched), colorspace.to_oklab(target)
    mean, covariance = moments(matched)
    np.testing.assert_allclose(mean, moments(target)[0], atol=1e-5)
    np.testing.assert_allclose(covariance, moments(target)[1], atol=1e-5)


def test_linear_maps_are_those_of_the_papers():
    source, target = picture(1), picture(2)
    (mean, S), (other, T) = moments(source), moments(target)
    root, inverse = linalg.sqrtm(S), np.linalg.inv(linalg.sqrtm(S))
    maps = {
        # Pitie & Kokaram 2007; A_IA and A_chol of Gatys et al. 2016.
        "symmetric": inverse @ linalg.sqrtm(root @ T @ root) @ inverse,
        "pca": linalg.sqrtm(T) @ inverse,
        "cholesky": np.linalg.cholesky(T) @ np.linalg.inv(np.linalg.cholesky(S)),
    }
    for method, A in maps.items():
        expected = (source - mean) @ A.T + other
        np.testing.assert_allclose(
            color.match_linear(source, target, method), expected, atol=2e-5, err_msg=method
        )


def test_symmetric_moves_colours_least():
    source, target = picture(1), picture(2)
    moved = {m: np.square(color.match_linear(source, target, m) - source).mean() for m in LINEAR}
    assert min(moved, key=lambda m: float(moved[m])) == "symmetric"


@pytest.mark.parametrize("method", LINEAR)
def test_of_a_grey_picture_each_grey_gets_the_reference_typical_colour(method):
    target = picture(2)
    matched = np.float64(color.match_linear(grey(1), target, method))
    mean, covariance = moments(target)
    np.testing.assert_allclose(moments(matched)[0], mean, atol=1e-5)
    # One direction is all there is: colours on a line, and no noise blown up beside it.
    deviations = np.sqrt(np.maximum(np.linalg.eigvalsh(moments(matched)[1]), 0))
    assert deviations[1] < 1e-4 < 0.01 < deviations[2]
    if method == "symmetric":
        # The regression of colours on the projection to grey, in units of its deviation.
        u = np.ones(3) / np.sqrt(3)
        line = covariance @ u / np.sqrt(u @ covariance @ u)
        g = np.float64(grey(1))[..., 0]
        expected = mean + ((g - g.mean()) / g.std())[..., None] * line
        np.testing.assert_allclose(matched, expected, atol=5e-4)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("method", METHODS)
def test_pictures_without_colour_or_contrast(method, space):
    black, white, one = constant(0, 0, 0), constant(1, 1, 1), constant(0.2, 0.4, 0.7)
    for flat in (black, white, one):
        # A constant reference makes a constant picture of its colour, ...
        matched = color.match_colors(picture(1), flat, method, space)
        np.testing.assert_allclose(matched, np.broadcast_to(flat[0, 0], matched.shape), atol=5e-3)
        # ... a constant picture gets a colour from the middle of the reference.
        matched = np.asarray(color.match_colors(flat, picture(1), method, space))
        assert np.ptp(matched.reshape(-1, 3), axis=0).max() < 1e-4
        np.testing.assert_allclose(matched[0, 0], picture(1).mean((0, 1)), atol=0.1)
    matched = np.asarray(color.match_colors(picture(1), grey(2), method, space))
    assert np.isfinite(matched).all()
    if (method, space) != ("histogram", "rgb"):  # where a red keeps more red than others have
        assert np.ptp(matched, axis=-1).max() < (0.06 if method == "sliced" else 2e-3)
    assert np.isfinite(color.match_colors(grey(1), grey(2), method, space)).all()


def test_orthogonal_lines_of_colours_have_nothing_to_match():
    ramp = np.linspace(-0.3, 0.3, 63, dtype=np.float32).reshape(9, 7, 1)
    source = 0.5 + ramp * np.float32([1, -1, 0])
    target = 0.5 + ramp * np.float32([1, 1, 0])
    np.testing.assert_allclose(color.match_linear(source, target), 0.5, atol=1e-4)


def test_histogram_against_numpy_scipy_and_scikit_image():
    source, target = picture(1), picture(2, 31, 17)
    matched = np.asarray(color.match_histogram(source, target))
    for c in range(3):
        ranks = stats.rankdata(source[..., c], axis=None).reshape(source.shape[:2])
        expected = np.quantile(target[..., c], (ranks - 0.5) / ranks.size, method="hazen")
        np.testing.assert_allclose(matched[..., c], expected, atol=1e-5)
    # Pictures of one size, without ties: the same values in another order, as in scikit-image.
    rng = np.random.default_rng(3)
    a, b = (rng.uniform(size=(24, 20, 3)).astype(np.float32) for _ in range(2))
    matched = color.match_histogram(a, b)
    expected = exposure.match_histograms(a, b, channel_axis=-1)
    np.testing.assert_allclose(matched, expected, atol=1e-6)
    np.testing.assert_array_equal(np.sort(matched, axis=None), np.sort(b, axis=None))


def test_sliced_matching_brings_the_joint_distribution():
    source, target = picture(1), picture(2)
    matched = color.match_sliced(source, target)
    np.testing.assert_allclose(moments(matched)[0], moments(target)[0], atol=2e-3)
    np.testing.assert_allclose(moments(matched)[1], moments(target)[1], atol=2e-3)

    def distance(pixels):
        """Mean Wasserstein distance along directions that the matching does not know."""
        axes = np.random.default_rng(4).normal(size=(20, 3))
        a, b = (np.reshape(p, (-1, 3)) for p in (pixels, target))
        return np.mean([stats.wasserstein_distance(a @ v, b @ v) for v in axes])

    assert distance(matched) < 0.1 * distance(source)
    assert distance(matched) < distance(color.match_linear(source, target))
    # More pixels than are looked at.
    tall = np.tile(source, (40, 1, 1))
    assert tall[..., 0].size > color._SAMPLE
    assert distance(color.match_sliced(tall, target)) < 0.1 * distance(source)


@pytest.mark.parametrize("method", METHODS)
def test_equal_colours_stay_equal_and_a_picture_matches_itself(method):
    source = picture(1).copy()
    source[:, :10] = source[0, 0]
    matched = np.asarray(color.match_colors(source, picture(2), method))
    np.testing.assert_allclose(matched[:, :10], matched[:1, :1].repeat(10, 1).repeat(24, 0))
    same = color.match_colors(source, source, method)
    np.testing.assert_allclose(same, source, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_matching_under_jit_and_vmap(method):
    sources = jnp.stack([picture(1), picture(2), grey(3)])
    target = picture(4)

    @jax.jit
    def match(source):
        return color.match_colors(source, target, method)

    each = [match(source) for source in sources]
    # Rounding moves whole ranks where only few colours are there to be ranked, and a grey
    # picture's covariance is all but singular: up to 1e-4 in Cholesky's factor of it.
    tolerance = 0.05 if method == "sliced" else 2e-4
    np.testing.assert_allclose(jax.vmap(match)(sources), each, atol=tolerance)
    plain = color.match_colors(sources[0], target, method)
    np.testing.assert_allclose(each[0], plain, atol=tolerance)


@pytest.mark.parametrize("space", SPACES)
def test_luminance_before(space):
    content, style = picture(1), picture(2)
    seen = np.asarray(color.prepared_content(content, "luminance", space))
    other = np.asarray(color.prepared_style(style, content, "luminance", space))
    for pixels in (seen, other):
        np.testing.assert_array_equal(np.ptp(pixels, axis=-1), 0)
    l_content, l_seen = (np.asarray(colorspace.split(p, space)[0]) for p in (content, seen))
    np.testing.assert_allclose(l_seen, l_content, atol=1e-5)
    # sigma_C / sigma_S (L_S - mu_S) + mu_C: Gatys et al. 2016.
    l_style, l_other = (np.asarray(colorspace.split(p, space)[0]) for p in (style, other))
    expected = l_content.std() / l_style.std() * (l_style - l_style.mean()) + l_content.mean()
    np.testing.assert_allclose(l_other, expected, atol=1e-4)
    # Nothing stylized: the content comes back.
    shown = color.restored(seen, content, "luminance", space)
    np.testing.assert_allclose(shown, content, atol=5e-4)


def test_each_way_of_matching_is_a_choice():
    assert [c for c in get_args(Color) if c.startswith("match-")] == [f"match-{m}" for m in METHODS]


def stylize(content, style, **options):
    wanted = {
        "size": None,
        "iterations": 6,
        "optimizer": "adam",
        "learning_rate": 0.003,
        "progress": False,
        **tiny.SHALLOW,
    }
    return nst.stylize(content, style, **{"network": tiny.network(), **wanted, **options})


def test_luminance_of_a_result_alone():
    content, style = picture(1), picture(2)
    plain = stylize(content, style).image
    for space in SPACES:
        shown = stylize(content, style, color="luminance-after", color_space=space).image
        expected = color.with_lightness(content, plain, space)
        np.testing.assert_allclose(shown, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["cholesky", "histogram"])
def test_styles_are_matched_before_they_are_looked_at(method):
    content, styles = picture(1), [picture(2), picture(3)]
    matched = [np.asarray(color.match_colors(s, content, method, "oklab")) for s in styles]
    # As seen in the very first loss, before a step can enlarge what rounding makes.
    how = {"init": "style", "iterations": 1}
    choice = f"match-{method}"
    shown = stylize(content, styles, color=choice, color_space="oklab", **how)
    expected = stylize(content, matched, **how)
    np.testing.assert_allclose(shown.losses["style"], expected.losses["style"], rtol=1e-3)
    np.testing.assert_allclose(shown.losses["content"], expected.losses["content"], rtol=1e-3)
    other = stylize(content, styles, **how)
    assert abs(other.losses["style"] / shown.losses["style"] - 1) > 0.1


@pytest.mark.parametrize(
    ("init", "space"), [("content", "rgb"), ("noise", "oklab"), ("style", "rgb")]
)
def test_luminance_alone_is_stylized(init, space):
    content, style = picture(1), picture(2)
    seen = []
    shown = stylize(
        content,
        style,
        color="luminance",
        color_space=space,
        init=init,
        callback=lambda now: seen.append(now.x),
    )
    if init != "style":  # whose style loss is nil
        assert shown.losses["total"].min() < shown.losses["total"][0]
    np.testing.assert_array_equal(seen[-1], shown.image)
    # The unknown is one channel, its losses those of a grey picture.
    settings = nst.Settings(color="luminance", color_space=space, init=init, **tiny.SHALLOW)
    problem = nst.prepare(settings, tiny.network(), content, style)
    assert problem.x.shape == (*content.shape[:2], 1)
    assert problem.fn(problem.x, problem.args)[0] == pytest.approx(shown.losses["total"][0])
    # Hues are the content's; lightness, here, is not.
    (light, chroma), (was, wanted) = (colorspace.split(p, space) for p in (shown.image, content))
    share = (chroma * wanted).sum(-1, keepdims=True) / (wanted**2).sum(-1, keepdims=True)
    np.testing.assert_allclose(chroma, share * wanted, atol=1e-4)
    assert np.abs(light - was).max() > 0.005


@pytest.mark.parametrize("choice", ["luminance", "luminance-after", "match-symmetric"])
def test_pictures_without_colour_are_stylized(choice):
    for content, style in (
        (grey(1), picture(2)),
        (picture(1), grey(2)),
        (grey(1), constant(0, 0, 0)),
    ):
        result = stylize(content, style, color=choice)
        assert result.status == "finished"
        assert np.isfinite(result.image).all()
        assert np.isfinite(result.losses["total"]).all()
        if choice.startswith("luminance") and (content == content[..., :1]).all():
            np.testing.assert_allclose(np.ptp(result.image, axis=-1), 0, atol=1e-5)


@pytest.mark.parametrize("choice", ["luminance", "luminance-after"])
def test_kept_pixels_stay_and_the_others_have_the_contents_hues(choice):
    content, style = picture(1), picture(2)
    keep = np.zeros(content.shape[:2], np.float32)
    keep[:, :10] = 1
    image = stylize(content, style, color=choice, keep=keep).image
    np.testing.assert_allclose(image[:, :10], content[:, :10], atol=1e-6)
    assert np.abs(image[:, 10:] - content[:, 10:]).max() > 0.005
    chroma, wanted = (colorspace.split(p, "rgb")[1] for p in (image, content))
    share = (chroma * wanted).sum(-1, keepdims=True) / (wanted**2).sum(-1, keepdims=True)
    np.testing.assert_allclose(chroma, share * wanted, atol=1e-4)

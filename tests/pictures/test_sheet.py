"""Contact sheets: every picture in its place, whole; text outside of the pictures."""

import numpy as np

from nst_jax.pictures.sheet import contact_sheet

BLACK, GREY = np.zeros((4, 6, 3), np.float32), np.full((5, 3, 3), 0.5, np.float32)


def pixels(*args, **options):
    return np.asarray(contact_sheet(*args, **options))


def test_pictures_of_unequal_sizes_lie_in_columns():
    found = pixels([[BLACK, GREY], [GREY, None]])
    gap = found.shape[1] - 6 - 3
    assert found.shape == (5 + gap + 5, 6 + gap + 3, 3)
    assert (found[:4, :6] == 0).all()
    assert (found[:5, -3:] == 128).all()
    assert (found[-5:, :3] == 128).all()
    for empty in (found[4, :6], found[:5, 6:-3], found[5:-5], found[-5:, 3:]):
        assert (empty == 255).all()


def test_values_beyond_the_range_are_clipped():
    found = pixels([[BLACK - 1, BLACK + 2]])
    assert (found[:, :6] == 0).all()
    assert (found[:, -6:] == 255).all()


def test_size_keeps_proportions():
    assert pixels([[np.zeros((20, 40, 3), np.float32)]], size=10).shape == (5, 10, 3)


def test_text_is_drawn_beside_the_pictures():
    picture = np.full((30, 60, 3), 0.5, np.float32)
    plain = pixels([[picture]])
    for options in ({"columns": ["above"]}, {"beside": ["beside"]}, {"below": [["below"]]}):
        found = pixels([[picture]], **options)
        assert (found < 100).any(), "some ink"
        assert (found == 128).all(-1).sum() >= plain[..., 0].size, "the picture is whole"
        assert found.size > plain.size


def test_long_names_are_broken():
    picture = np.full((30, 60, 3), 0.5, np.float32)
    short, long = (
        pixels([[picture]], columns=[name]) for name in ("a", "style_weight=1e5, seed=3")
    )
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0]

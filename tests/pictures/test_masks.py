"""Label maps and masks: what pictures and arrays mean, and sentences for those that mean none."""

import numpy as np
import pytest
from PIL import Image

from nst_jax import InputError
from nst_jax.pictures import masks


def refusal(function, *args) -> str:
    with pytest.raises(InputError) as caught:
        function(*args)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


LABELS = np.array([[0, 0, 1, 1, 2], [0, 0, 1, 2, 2]])
GREYS = np.uint8([0, 128, 255])[LABELS]
COLOURS = np.uint8([[0, 0, 0], [255, 0, 0], [255, 255, 255]])[LABELS]


@pytest.mark.parametrize(
    ("source", "labels"),
    [
        (LABELS, ["0", "1", "2"]),
        (LABELS.astype(np.uint16), ["0", "1", "2"]),
        (GREYS, ["0", "128", "255"]),
        (Image.fromarray(GREYS), ["0", "128", "255"]),
        (np.float32(GREYS) / 255, ["0", "128", "255"]),
        (COLOURS, ["0", "#ff0000", "255"]),
        (Image.fromarray(COLOURS).quantize(3), ["0", "#ff0000", "255"]),
        (LABELS * 1000, ["0", "1000", "2000"]),
    ],
    ids=["ints", "uint16", "uint8", "L", "float", "RGB", "P", "large"],
)
def test_each_colour_or_number_is_a_label(source, labels):
    found = masks.read(source, "map")
    assert sorted(found) == sorted(labels)
    for n, label in enumerate(labels):
        np.testing.assert_array_equal(found[label], n == LABELS)
        assert found[label].dtype == np.float32


def test_booleans_are_two_labels():
    found = masks.read(LABELS == 1, "map")
    np.testing.assert_array_equal(found["1"], LABELS == 1)
    np.testing.assert_array_equal(found["0"], LABELS != 1)


def test_many_greys_are_soft_edges():
    ramp = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (8, 1))
    found = masks.read(ramp, "map")
    np.testing.assert_allclose(found["255"], ramp, atol=1e-6)
    np.testing.assert_allclose(found["0"], 1 - ramp, atol=1e-6)


def test_rare_colours_go_to_the_nearest_label():
    drawn = np.zeros((80, 80, 3), np.uint8)
    drawn[:, 40:] = 250, 10, 10
    drawn[3, 39] = 200, 30, 20
    drawn[4, 39] = 40, 5, 5
    found = masks.read(drawn, "map")
    assert sorted(found) == ["#fa0a0a", "0"]
    assert found["#fa0a0a"].sum() == 80 * 40 + 1
    np.testing.assert_array_equal(found["0"] + found["#fa0a0a"], 1)


def test_a_list_is_a_mask_for_each_region():
    soft = np.float32([[0, 0.25], [0.5, 1]])
    found = masks.read([soft, GREYS], "map")
    np.testing.assert_allclose(found["1"], soft)
    np.testing.assert_allclose(found["2"], GREYS / 255, atol=1e-6)


def test_masks_at_other_sizes_keep_their_sum_and_range(rng):
    shares = rng.dirichlet((0.1, 0.1, 0.1), (12, 17)).astype(np.float32)
    three = np.moveaxis(shares, -1, 0)
    for size in [(6, 9), (30, 41), (1, 1)]:
        other = masks.resized(three, size)
        assert other.shape == (3, *size)
        assert other.min() >= 0
        np.testing.assert_allclose(other.sum(0), 1, atol=1e-5)
    assert masks.resized(three, (12, 17)) is three


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("white", "255"),
        ("Black", "0"),
        ("#FFF", "255"),
        ("#808080", "128"),
        (" #F80", "#ff8800"),
        ("#ff8800", "#ff8800"),
        (7, "7"),
        ("7", "7"),
    ],
)
def test_labels_may_be_written_in_several_ways(text, label):
    assert masks.parse_label(text) == label


def test_bad_maps_get_a_sentence(rng, tmp_path):
    photo = rng.uniform(size=(40, 40, 3)).astype(np.float32)
    assert "different colours or numbers, so it is no label map" in refusal(
        masks.read, photo, "region map"
    )
    many = np.arange(1600).reshape(40, 40)
    assert "has 1600 different" in refusal(masks.read, many, "region map")
    assert "region map is an empty list" in refusal(masks.read, [], "region map")
    assert "has colours; expected a mask of greys" in refusal(masks.read_mask, COLOURS, "mask")
    black = np.zeros((4, 4), np.uint8)
    assert "mask 2 of the region map is black" in refusal(masks.read, [GREYS, black], "region map")
    missing = tmp_path / "none.png"
    assert "does not exist" in refusal(masks.read, missing, "region map")
    assert "shape (3,)" in refusal(masks.read, np.zeros(3), "region map")


MASK = np.zeros((6, 8), np.uint8)
MASK[:, 3:] = 1


@pytest.mark.parametrize(
    "given",
    [
        *(MASK.astype(kind) for kind in ("uint8", "int8", "int32", "int64", "uint16", bool)),
        *(MASK.astype(kind) * 255 for kind in ("uint8", "int16", "int64", "uint32")),
        MASK.astype(np.float32),
        MASK[..., None],
        np.repeat(MASK[..., None], 3, -1),
        Image.fromarray(MASK),
        Image.fromarray(MASK * 255),
        Image.fromarray(MASK == 1),
        Image.fromarray(MASK.astype(np.int32)),
        Image.fromarray(MASK.astype(np.uint16)),
        Image.fromarray(MASK * 255).convert("I"),
    ],
    ids=lambda given: f"{getattr(given, 'dtype', getattr(given, 'mode', None))}",
)
def test_masks_as_segmentation_code_makes_them(given, tmp_path):
    np.testing.assert_array_equal(masks.read_mask(given, "mask"), MASK)
    if isinstance(given, Image.Image):
        file = tmp_path / ("mask.tif" if given.mode == "I" else "mask.png")
        given.save(file)
        np.testing.assert_array_equal(masks.read_mask(file, "mask"), MASK)
    for mask in masks.read([given, given], "map").values():
        np.testing.assert_array_equal(mask, MASK)


def test_a_label_map_in_a_16_bit_file(tmp_path):
    labels = np.repeat([[7, 300]], 4, 0).repeat(5, 1).astype(np.uint16)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    found = masks.read(tmp_path / "labels.png", "map")
    assert sorted(found) == ["300", "7"]
    np.testing.assert_array_equal(found["300"], labels == 300)


def test_numbers_that_are_no_mask():
    for wrong in (MASK.astype(int) * 256, MASK.astype(int) - 1):
        assert "a mask has 0 and 1, or 0 to 255" in refusal(masks.read_mask, wrong, "mask")

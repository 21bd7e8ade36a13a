"""The reader of Torch7's files: what was written comes back, and no file does harm."""

import struct

import formats
import numpy as np
import pytest
import refusals

from nst_jax.files import t7file


def read(folder, data):
    path = folder / "a.t7"
    path.write_bytes(data)
    return t7file.read(path)


def test_what_was_written_comes_back(tmp_path, rng):
    values = np.float32(rng.normal(size=(2, 3)))
    thing = formats.Thing("nn.Layer", weight=values, on=True, name="one")
    written = {"a": thing, "n": 2.5, 1: None, "turned": values.T, "none": {}}
    found = read(tmp_path, formats.T7Writer().write(written).data)
    assert found["a"].kind == "nn.Layer"
    np.testing.assert_array_equal(found["a"].fields["weight"], values)
    assert (found["a"].fields["on"], found["a"].fields["name"]) == (True, "one")
    assert (found["n"], found[1.0], found["none"]) == (2.5, None, {})
    assert found["turned"].shape == (3, 2)


def test_functions_are_skipped_and_names_of_what_was_read_are_known(tmp_path):
    writer = formats.T7Writer()
    writer.head(3)
    writer.number("i", 2)
    writer.write("f")
    writer.number("i", 8, 7, 4)  # a function of four bytes, and what it closes over
    writer.data += b"code"
    writer.write({"up": 1})
    writer.write("self")
    writer.number("i", 3, 1)
    found = read(tmp_path, writer.data)
    assert found["f"] is None
    assert found["self"] is found


def _tensor(shape, strides, offset, count):
    writer = formats.T7Writer()
    writer.head(4)
    writer.text("V 1")
    writer.text("torch.FloatTensor")
    writer.number("i", len(shape))
    writer.number("q", *shape, *strides, offset)
    writer.head(4)
    writer.text("V 1")
    writer.text("torch.FloatStorage")
    writer.number("q", count)
    return writer.data + bytes(4 * 6)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut short"),
        (struct.pack("<ii", 3, 1), "cut short"),
        (struct.pack("<iii", 3, 1, 2**31 - 1), "cut short"),
        (struct.pack("<i", 77) * 2, "unknown type 77"),
        (struct.pack("<ii", 2, -5), "cut short"),
        (b"".join(struct.pack("<iii", 3, n, 1) for n in range(1, 200)), "too deeply"),
        (struct.pack("<iii", 3, 1, 9) + struct.pack("<i", 0) * 18, "not plain"),
        (struct.pack("<iii", 3, 1, 600) + struct.pack("<iii", 5, 1, 0) * 600, "too many"),
        (_tensor((2, 3), (3, 1), 1, 2**40), "cut short"),
        (_tensor((2, 3), (3, 1), 2, 6), "incomplete"),
        (_tensor((2, 3), (3, 1), 0, 6), "impossible shape"),
        (_tensor((2, -3), (3, 1), 1, 6), "impossible shape"),
        (_tensor((2**40, 2**20), (0, 0), 1, 6), "asks for"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_files_of_strangers(tmp_path, data, said, monkeypatch):
    monkeypatch.setattr(t7file, "_MOST_VALUES", 1000)
    text = refusals.sentence(read, tmp_path, data)
    assert "cannot be read as a file of Torch7" in text
    assert said in text

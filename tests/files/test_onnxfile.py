"""The reader of ONNX files: what was written comes back, and no file does harm."""

import formats
import numpy as np
import pytest
import refusals

from nst_jax.files import onnxfile


def graph(folder, tensors, nodes=()):
    path = folder / "a.onnx"
    path.write_bytes(formats.onnx(tensors, nodes) if isinstance(tensors, list) else tensors)
    return onnxfile.Graph(path)


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("kind", ["float32", "int8", "uint8", "int32", "int64"])
def test_what_was_written_comes_back(tmp_path, rng, kind, raw):
    values = (rng.normal(size=(2, 3, 4)) * 40).astype(kind)
    found = graph(tmp_path, [formats.tensor("a", values, raw=raw)])
    assert found.names == {"a"}
    np.testing.assert_array_equal(found["a"], values.astype(np.float32))


def test_half_precision_and_single_numbers(tmp_path):
    halves = np.array([1.5, -2.25, 0.1], np.float16)
    bits = formats.field(5, b"".join(formats.varint(int(n)) for n in halves.view(np.uint16)))
    packed = (
        formats.field(1, formats.varint(3)) + formats.field(2, 10) + bits + formats.field(8, "b")
    )
    one = np.float32(7).reshape(())
    found = graph(tmp_path, [formats.tensor("a", halves), packed, formats.tensor("c", one)])
    np.testing.assert_array_equal(found["a"], halves)
    np.testing.assert_array_equal(found["b"], halves)
    assert found["c"] == 7
    assert found["c"].shape == ()


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_quantised_tensors_are_scaled_along_their_axis(tmp_path, rng, axis):
    whole = rng.integers(-127, 128, (2, 3)).astype(np.int8)
    length = whole.shape[axis]
    scale, zero = np.float32(rng.uniform(1, 2, length)), np.int8(rng.integers(-9, 9, length))
    tensors = [formats.tensor(*one) for one in (("a", whole), ("s", scale), ("z", zero))]
    found = graph(tmp_path, tensors, [("DequantizeLinear", ["a", "s", "z"], "real", axis)])
    expected = np.moveaxis((np.moveaxis(whole, axis, -1) - np.float64(zero)) * scale, -1, axis)
    np.testing.assert_allclose(found["real"], expected, rtol=1e-6)
    np.testing.assert_array_equal(found["a"], whole)
    misfit = [tensors[0], formats.tensor("s", np.ones(7, np.float32))]
    found = graph(tmp_path, misfit, [("DequantizeLinear", ["a", "s"], "real", axis)])
    assert "real of" in refusals.sentence(found.__getitem__, "real")


def _tensor(*fields):
    """A file with one tensor of the name `a`, of other fields."""
    return [b"".join(formats.field(*one) for one in (*fields, (8, "a")))]


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (_tensor((1, 2), (2, 1), (9, b"1234567")), "damaged"),
        (_tensor((1, 2**62), (1, 2**62), (2, 1), (9, b"1234")), "damaged"),
        (_tensor((1, -1), (1, -1), (2, 1), (9, b"1234")), "damaged"),
        (_tensor((1, 1), (2, 99), (9, b"1234")), "unknown type 99"),
        (_tensor((1, 1), (2, 7), (7, b"\xff" * 4)), "number without end"),
        (_tensor((1, 1), (2, 7), (7, b"\xff" * 11 + b"\x01")), "number without end"),
        (_tensor((1, 1), (2, 1), (14, 1)), "in another file"),
        (_tensor((1, 1), (2, b"1"), (9, b"1234")), "damaged"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_tensors_of_strangers(tmp_path, tensors, said):
    assert said in refusals.sentence(graph(tmp_path, tensors).__getitem__, "a")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x08", "number without end"),
        (b"\x08\x08\x3a\xff\xff\xff\xff\x0f", "cut short"),
        (b"\x08\x08\x3b\x3c", "unknown kind"),
        (b"\x08\x08" * 600, "too many parts"),
        (b"\x08\x08", "not enough values"),
        (formats.field(7, b"") * 2, "too many values"),
        (formats.field(7, formats.field(5, 7)), "a number where bytes belong"),
        (formats.field(7, formats.field(5, formats.field(8, b"\xff\xfe"))), "decode"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_files_of_strangers(tmp_path, data, said, monkeypatch):
    monkeypatch.setattr(onnxfile, "_MOST_FIELDS", 500)
    text = refusals.sentence(graph, tmp_path, data)
    assert "cannot be read as an ONNX file" in text
    assert said in text

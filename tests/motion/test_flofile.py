"""`.flo` files are those of the Middlebury benchmark; damaged ones get a sentence."""

import struct

import numpy as np
import pytest
from refusals import sentence

from nst_jax.motion.flofile import read_flow, write_flow

VALUES = [1.5, -2.25, 0.0, 3.0, 1e10, 1e10]
FILE = struct.pack("<f2i6f", 202021.25, 3, 1, *VALUES)


def test_files_are_middleburys(tmp_path):
    (tmp_path / "in.flo").write_bytes(FILE)
    found = read_flow(tmp_path / "in.flo")
    np.testing.assert_array_equal(found, np.float32([[[1.5, -2.25], [0, 3], [np.nan, np.nan]]]))
    write_flow(tmp_path / "out.flo", found)
    assert (tmp_path / "out.flo").read_bytes() == FILE


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is no .flo file"),
        (FILE[:10], "it is no .flo file"),
        (b"JUNK" + FILE[4:], "it is no .flo file"),
        (FILE[:-1], "take 24 bytes, it has 23"),
        (FILE + b"\0", "take 24 bytes, it has 25"),
        (b"PIEH" + struct.pack("<2i", -3, 1) + FILE[12:], "a size of -3x1"),
        (b"PIEH" + struct.pack("<2i", 2**31 - 1, 2**31 - 1), "it asks for"),
    ],
    ids=["empty", "header", "tag", "short", "long", "negative", "huge"],
)
def test_damaged_files_are_refused(tmp_path, data, said):
    (tmp_path / "in.flo").write_bytes(data)
    assert said in sentence(read_flow, tmp_path / "in.flo")


def test_other_refusals(tmp_path):
    assert "No such file" in sentence(read_flow, tmp_path / "none.flo")
    assert "directory" in sentence(read_flow, tmp_path)
    flow = np.zeros((2, 3, 2), np.float32)
    assert "none" in sentence(write_flow, tmp_path / "none" / "out.flo", flow)

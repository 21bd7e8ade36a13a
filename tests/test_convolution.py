"""XLA's convolution in both of its CPU libraries, against PyTorch's."""

import numpy as np
import pytest
import torch

from nst_jax.convolution import convolution

CASES = {  # height, width, inputs, outputs, side, stride, padding
    "wide and small": (9, 11, 16, 40, 3, 1, ((1, 1), (1, 1))),
    "wide and one-sided": (8, 7, 16, 32, 2, 1, ((1, 0), (1, 0))),
    "wide, without padding": (9, 8, 16, 32, 3, 1, ((0, 0), (0, 0))),
    "wide, with a stride": (8, 8, 16, 32, 3, 2, ((0, 1), (0, 1))),
    "narrow": (9, 11, 16, 8, 5, 1, ((2, 2), (2, 2))),
    "large": (130, 131, 64, 64, 3, 1, ((1, 1), (1, 1))),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(name):
    height, width, inputs, outputs, side, stride, padding = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, inputs)).astype(np.float32)
    kernel = rng.normal(size=(side, side, inputs, outputs)).astype(np.float32)
    wide = np.pad(x, ((0, 0), *padding, (0, 0)))
    theirs = torch.nn.functional.conv2d(
        torch.from_numpy(wide).permute(0, 3, 1, 2),
        torch.from_numpy(kernel).permute(3, 2, 0, 1),
        stride=stride,
    )
    ours = convolution(x, kernel, stride, padding)
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1), atol=2e-4)

"""Fixtures; checks every annotated shape and dtype with beartype while the tests run."""

import os
from pathlib import Path

import jaxtyping

jaxtyping.install_import_hook("nst_jax", "beartype.beartype")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "warn")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def pytest_report_header() -> str:
    folder = os.environ.get("NST_JAX_WEIGHTS_DIR")
    has = bool(folder) and (Path(folder) / "vgg19.safetensors").exists()
    return f"jax {jax.__version__}; VGG19 weights: {folder if has else 'absent, some tests skip'}"

"""Fixtures; checks every annotated shape and dtype with beartype while the tests run."""

import os
import signal
from pathlib import Path

import jaxtyping

# Without LLVM's optimisations the suite takes a quarter less time; convolutions and products come
# from libraries all the same. Commands that tests start inherit it.
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 {os.environ.get('XLA_FLAGS', '')}"

# Settings and outputs check their own values, whatever these are: before the hook.
import nst_jax.stylizing.outputs
import nst_jax.stylizing.presets
import nst_jax.training.recipe  # noqa: F401

jaxtyping.install_import_hook("nst_jax", "beartype.beartype")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "warn")

# Shells start what runs in their background with Ctrl-C ignored, which all its commands inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def pytest_report_header() -> str:
    folder = os.environ.get("NST_JAX_WEIGHTS_DIR")
    has = bool(folder) and (Path(folder) / "vgg19.safetensors").exists()
    return f"jax {jax.__version__}; VGG19 weights: {folder if has else 'absent, some tests skip'}"


@pytest.fixture(scope="session")
def vgg19():
    """VGG19's converted weight file and network, where NST_JAX_WEIGHTS_DIR has them."""
    from nst_jax.files import weightfile
    from nst_jax.networks.load import build

    path = Path(os.environ.get("NST_JAX_WEIGHTS_DIR", "")) / "vgg19.safetensors"
    if not path.is_file():
        pytest.skip("needs VGG19: set NST_JAX_WEIGHTS_DIR to a folder with vgg19.safetensors")
    file = weightfile.load(path)
    return file, build(file)

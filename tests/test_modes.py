"""JAX's own modes: with each of them on, results stay what they are without."""

from pathlib import Path

import golden_runs
import jax
import numpy as np
import pytest
import tiny
from PIL import Image

from nst_jax.models import modelfile
from nst_jax.training import api

MODES = {
    "x64": lambda: jax.enable_x64(True),
    "strict": lambda: jax.numpy_dtype_promotion("strict"),
    "nans": lambda: jax.debug_nans(True),
    "leaks": jax.checking_leaks,
}
# Compiling takes longest, so each mode has the runs that differ most.
RUNS = {
    "x64": ["default", "lanes", "lbfgs-zoom", "sliced", "schedule", "regions in tiles", "match"],
    "strict": ["default"],
    "nans": ["gatys"],
    "leaks": ["gatys"],
}


@pytest.fixture(scope="module")
def kept():
    with np.load(Path(__file__).parent / "golden" / "results.npz") as file:
        return dict(file)


@pytest.mark.parametrize(
    ("mode", "name"), [(mode, name) for mode, names in RUNS.items() for name in names]
)
def test_pictures_stay(mode, name, kept):
    with MODES[mode]():
        found = golden_runs.RUNS[name]()
    golden_runs.alike(found, kept[name])
    assert found.dtype == np.float32


# Under strict promotion, optax's own Adam does not run.
@pytest.mark.parametrize(("mode", "kind"), [("x64", "transformer"), ("x64", "adain")])
def test_training_stays(mode, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "load_network", lambda *_, **__: tiny.network())
    Path("photos").mkdir()
    for n in range(3):
        Image.fromarray(tiny.picture(40, 40, n)).save(f"photos/{n}.png")
    options = {"crop": 32, "batch": 2, "style_size": 32, "steps": 2, "licence": "CC0-1.0"}
    options |= {"network": "vgg19-lite", "progress": False, "kind": kind}
    if kind == "transformer":
        options |= {"blocks": 0, **tiny.SHALLOW}

    def trained(output: str) -> dict[str, np.ndarray]:
        style = ["photos/0.png"] if kind == "transformer" else "photos"
        return modelfile.load(api.train_model("photos", style, output, **options)).tensors

    plain = trained("plain.safetensors")
    with MODES[mode]():
        found = trained("mode.safetensors")
    for name, tensor in plain.items():
        np.testing.assert_allclose(found[name], tensor, atol=1e-3, err_msg=name)

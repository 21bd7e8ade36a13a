"""What a stylization gives back: the picture written and read again, its record, its plot."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from nst_jax import InputError, Settings, Stylization
from nst_jax.pictures import reading


def result(**changes) -> Stylization:
    rng = np.random.default_rng(0)
    nan = np.nan
    made = Stylization(
        image=rng.uniform(size=(6, 9, 3)).astype(np.float32),
        losses={
            "total": np.float32([9, 4, nan, 2, 3]),
            "content": np.float32([0, 1, nan, 1, 2]),
            "tv": np.zeros(5, np.float32),
        },
        evaluations=np.arange(1, 6),
        status="finished",
        restarts=1,
        compile_seconds=1.23456,
        run_seconds=2.0,
        settings=Settings(network="/home/me/net.safetensors", init="../me.jpg"),
        network="net",
        network_digest="sha256:1",
        sources={"content": "me.jpg"},
    )
    return dataclasses.replace(made, **changes)


def test_record_is_of_the_picture_and_names_no_folder():
    record = result().record()
    assert record["losses"] == {"total": 2.0, "content": 1.0, "tv": 0.0}
    assert record["evaluations"] == 5
    assert record["settings"]["network"] == "net.safetensors"
    assert record["settings"]["init"] == "me.jpg"
    assert record["settings"]["style_weight"] == 1e3
    assert record["sources"] == {"content": "me.jpg"}
    assert (record["network"], record["network_digest"]) == ("net", "sha256:1")
    assert "/home" not in json.dumps(record)


def test_record_of_a_failure_is_plain_json():
    failed = result(losses={"total": np.float32([np.nan, np.inf])}, evaluations=np.arange(1, 3))
    assert failed.record()["losses"] == {"total": None}
    json.dumps(failed.record(), allow_nan=False)
    assert "loss nan" in repr(failed)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_saved_pictures_carry_the_record(tmp_path, suffix):
    made = result()
    path = made.save(tmp_path / f"out.{suffix}")
    assert path == tmp_path / f"out.{suffix}"
    assert reading.read_settings(path) == made.record()
    if suffix == "png":
        np.testing.assert_allclose(reading.read(path).rgb, made.image, atol=0.502 / 255)
    with pytest.raises(InputError, match="exists already"):
        made.save(path, overwrite=False)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_alpha_is_carried():
    alpha = np.linspace(0, 1, 54, dtype=np.float32).reshape(6, 9)
    shown = Image.open(io.BytesIO(result(alpha=alpha)._repr_png_()))
    assert (shown.mode, shown.size) == ("RGBA", (9, 6))
    np.testing.assert_allclose(np.asarray(shown)[..., 3] / 255, alpha, atol=0.502 / 255)
    assert Image.open(io.BytesIO(result()._repr_png_())).mode == "RGB"


def test_repr_is_one_line():
    assert repr(result()) == (
        "Stylization(9x6, finished after 5 evaluations, loss 2, network net, 2.0 s)"
    )


def test_plot_draws_every_term_that_is_positive():
    pytest.importorskip("matplotlib", reason="plot() needs matplotlib").use("Agg")
    from matplotlib import pyplot

    ax = result().plot()
    assert [line.get_label() for line in ax.get_lines()] == ["total", "content"]
    assert result().plot(ax) is ax
    pyplot.close("all")


def test_plot_without_matplotlib_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match="pip install matplotlib"):
        result().plot()

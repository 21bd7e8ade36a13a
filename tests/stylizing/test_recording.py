"""What is written while a run goes: pictures, films, the trace; none of it changes the result."""

import errno
import json
import os
import sys
import warnings

import clips
import numpy as np
import pytest
import tiny
from PIL import Image

import nst_jax as nst
import nst_jax.films
from nst_jax.films import animation, extra
from nst_jax.pictures import reading

CONTENT, STYLE, NETWORK = tiny.picture(17, 20), tiny.picture(16, 16, seed=2), tiny.network()


def stylize(content=CONTENT, **options):
    # Adam's pictures differ from step to step, L-BFGS's first ones on so small a picture do not.
    wanted = {"size": None, "iterations": 24, "network": NETWORK, "optimizer": "adam"}
    return nst.stylize(content, STYLE, progress=False, **wanted | tiny.SHALLOW | options)


@pytest.fixture(scope="module")
def plain():
    return stylize()


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_everything_at_once_changes_nothing(plain, tmp_path):
    result = stylize(
        frames=tmp_path / "frames",
        frames_every=10,
        animation=tmp_path / "film.gif",
        trace=tmp_path / "trace.jsonl",
        checkpoint=tmp_path / "run",
        checkpoint_every=7,
    )
    np.testing.assert_array_equal(result.image, plain.image)
    np.testing.assert_array_equal(result.losses["total"], plain.losses["total"])
    assert names(tmp_path) == ["film.gif", "frames", "run", "trace.jsonl"]
    assert names(tmp_path / "frames") == ["000001.png", "000010.png", "000020.png"]


def test_pictures_are_the_best_so_far_with_the_contents_transparency(plain, tmp_path):
    alpha = np.tile(np.linspace(0, 255, 20).astype(np.uint8), (17, 1))
    stylize(np.dstack([CONTENT, alpha]), frames=tmp_path, frames_every=10)
    for n in (1, 10, 20):
        picture = reading.read(tmp_path / f"{n:06}.png")
        np.testing.assert_allclose(picture.alpha, alpha / 255, atol=1e-6)
        short = stylize(iterations=n)
        np.testing.assert_allclose(picture.rgb, short.image, atol=0.51 / 255)


def test_a_trace_has_every_term_at_every_evaluation(plain, tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text("something older")
    stylize(trace=path)
    rows = lines(path)
    assert [row.pop("evaluation") for row in rows] == list(range(1, 25))
    for i, row in enumerate(rows):
        assert row == {name: float(values[i]) for name, values in plain.losses.items()}
    assert list(rows[0])[:4] == ["total", "content", "style", "tv"]


def test_what_is_written_goes_on_after_a_resumption(tmp_path):
    def outputs(folder, **more):
        return {
            "frames": folder / "frames",
            "frames_every": 5,
            "animation": folder / "film.webp",
            "trace": folder / "trace.jsonl",
            "checkpoint": folder / "run",
            "checkpoint_every": 10,
            **more,
        }

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    stylize(**outputs(whole))

    def callback(now):
        if now.evaluations > 12:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        stylize(**outputs(parts), callback=callback)
    assert len(lines(parts / "trace.jsonl")) > 10
    stylize(**outputs(parts, resume=True))
    assert (parts / "trace.jsonl").read_text() == (whole / "trace.jsonl").read_text()
    assert (parts / "film.webp").read_bytes() == (whole / "film.webp").read_bytes()
    assert names(parts / "frames") == names(whole / "frames")


def test_blow_ups_and_what_is_not_finite(tmp_path):
    path = tmp_path / "trace.jsonl"
    with pytest.warns(RuntimeWarning, match="became non-finite"):
        stylize(trace=path, optimizer="lbfgs", learning_rate=1e30, iterations=4)
    rows = lines(path)
    assert any(row.get("restarted") and row["total"] is None for row in rows)
    assert "NaN" not in path.read_text()


def test_coarse_pictures_are_enlarged(tmp_path):
    result = stylize(
        min_size=14,
        coarse_iterations=8,
        frames=tmp_path / "f",
        frames_every=8,
        animation=tmp_path / "film.gif",
    )
    assert [scale[:2] for scale in result.scales] == [(12, 14), (17, 20)]
    shapes = {reading.read(path).rgb.shape for path in (tmp_path / "f").iterdir()}
    assert shapes == {(17, 20, 3)}


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_films_hold_the_frames_and_end_with_the_result(plain, tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    stylize(animation=path, frames_every=8)
    with Image.open(path) as image:
        assert image.n_frames == 4  # 1, 8, 16, and 24, which is the result
        assert image.size == (20, 17)
        times, last = [], image
        for i in range(image.n_frames):
            image.seek(i)
            last = np.asarray(image.convert("RGB"), float)
            times.append(image.info["duration"])
    assert times == [100] * 3 + [2000]
    # Both formats lose something: GIF colours, WebP detail, of which so noisy a picture is full.
    assert np.corrcoef(last.ravel(), plain.image.ravel())[0, 1] > 0.9


def test_frames_of_films_are_of_moderate_size(rng):
    picture = rng.uniform(size=(50, 1000, 3)).astype(np.float32)
    assert animation.frame(picture).shape == (32, 640, 3)
    assert animation.frame(picture[:, :300]).shape == (50, 300, 3)


def test_mp4_needs_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, extra.__name__)
    monkeypatch.delattr(nst_jax.films, "extra")
    with pytest.raises(nst.InputError, match=r'not installed: pip install "nst-jax\[video\]"\.'):
        stylize(animation=tmp_path / "film.mp4")


def test_mp4_holds_the_frames_and_ends_with_the_result(plain, tmp_path):
    stylize(animation=tmp_path / "film.mp4", frames_every=8)
    frames = clips.read(tmp_path / "film.mp4")
    assert [float(frame.time) for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert (frames[0].height, frames[0].width) == (18, 20), "H.264 takes even sides"
    last = clips.rgb(frames[-1], 6)[:17]
    assert np.corrcoef(last.ravel(), plain.image.ravel())[0, 1] > 0.9
    assert names(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"animation": "film.avi"}, "must end in one of .gif, .webp, .mp4"),
        ({"animation": "nowhere/film.gif"}, "folder 'nowhere' for the output does not exist"),
        ({"trace": "nowhere/trace.jsonl"}, "folder 'nowhere' for the output does not exist"),
        ({"frames": "nowhere/frames"}, "folder 'nowhere' for the output does not exist"),
        ({"frames": "file"}, "The output 'file' exists already"),
        ({"trace": "."}, "'.' is a folder"),
    ],
    ids=str,
)
def test_bad_places_are_refused_before_anything_is_computed(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("something")
    monkeypatch.setattr("nst_jax.solvers.loop.run", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(nst.InputError) as caught:
        stylize(**options)
    assert said in str(caught.value)
    assert names(tmp_path) == ["file"]


def test_a_full_disk_ends_no_run(plain, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space.")

    monkeypatch.setattr(os, "replace", full)
    with warnings.catch_warnings(record=True, action="always") as caught:
        result = stylize(frames=tmp_path / "f", animation=tmp_path / "film.gif", frames_every=5)
    np.testing.assert_array_equal(result.image, plain.image)
    said = [str(w.message) for w in caught]
    assert len(said) == 2, "once for each"
    assert "The frames" in said[0]
    assert "The animation" in said[1]
    assert all("cannot be written (No space.): the run goes on without." in text for text in said)


def test_interpolation_writes_none_of_it():
    with pytest.raises(nst.InputError, match="leave out trace"):
        nst.interpolate(CONTENT, [STYLE, CONTENT], steps=2, trace="trace.jsonl")

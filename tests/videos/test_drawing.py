"""Films drawn by a model: coherent and frame by frame, killed and resumed, and bad input."""

import sys
from fractions import Fraction
from typing import Any

import av
import clips
import numpy as np
import pytest
import tiny
from commands import refusal, run
from PIL import Image

import nst_jax as nst
import nst_jax.films
from nst_jax.cli import cache
from nst_jax.videos import drawing


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tiny.stylizer(tmp_path_factory.mktemp("models") / "styles.safetensors")


@pytest.fixture(scope="module")
def model(file):
    return nst.load(file)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "enable", lambda: None)
    return tmp_path


@pytest.fixture
def film(folder):
    """The frames of a folder `shots`; `in.mkv` has them too, with sound and wide pixels."""
    (folder / "shots").mkdir()
    frames = clips.frames(5, 24, 32)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / "shots" / f"{number}.png")
    clips.write(folder / "in.mkv", frames, shape=Fraction(3, 2), sound="aac")
    return frames


def test_a_film_is_drawn_frame_by_frame(film, folder, file, model, capfd):
    more = ["--style=ink", "--each-frame", "--quiet"]
    assert run("apply", file, "--video", "shots", "out", *more) == 0
    assert capfd.readouterr() == ("", "")
    drawn = [np.asarray(Image.open(path)) for path in sorted((folder / "out").iterdir())]
    expected = model.painter("ink", 24, 32)(np.float32(film) / 255)
    np.testing.assert_allclose(np.stack(drawn) / 255, expected, atol=0.51 / 255)


@pytest.mark.parametrize(
    ("name", "size", "shape"), [("o.mp4", (64, 48), 1.5), ("o.webm", (64, 32), 1)]
)
def test_films_keep_their_sound_and_shape(film, folder, file, name, size, shape):
    """At twice the size; where pixels must be square, frames become wider."""
    more = ["--style=ink", "--size=64", "--each-frame", "--quiet"]
    assert run("apply", file, "--video", "in.mkv", name, *more) == 0
    with av.open(name) as found:
        video, sound = found.streams
        assert (video.width, video.height) == size
        assert (video.sample_aspect_ratio or 1) == shape
        assert sound.type == "audio"
        assert len(list(found.decode(video))) == 5


@pytest.mark.parametrize("coherent", [False, True])
def test_a_killed_film_goes_on_and_is_the_same(film, folder, model, monkeypatch, coherent):
    monkeypatch.setattr(drawing, "_TOGETHER", 2 * 24 * 32)
    options: dict[str, Any] = {"style": "ink", "progress": False, "coherent": coherent}
    drawing.draw_video(model, "shots", "whole.mp4", **options)
    batches = []

    def painter(*args, **kwargs):
        paint = type(model).painter(model, *args, **kwargs)

        def counted(frames):
            batches.append(len(frames))
            if len(batches) == 3:
                raise RuntimeError("killed")
            return paint(frames)

        return counted

    monkeypatch.setattr(model, "painter", painter)
    with pytest.raises(RuntimeError, match="killed"):
        drawing.draw_video(model, "shots", "out.mp4", **options)
    assert not (folder / "out.mp4").exists()
    with Image.open("out.mp4.preview.png") as preview:
        assert preview.size == (32, 24)
    other: dict[str, Any] = options | {"style": "night"}
    with pytest.raises(nst.InputError, match="frames of this film with other settings"):
        drawing.draw_video(model, "shots", "out.mp4", **other)
    drawing.draw_video(model, "shots", "out.mp4", **options)
    assert batches == [2, 2, 1, 1], "the frames that were there are not drawn again"
    assert (folder / "out.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()
    assert not list(folder.glob("*.preview.png"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.mp4", "out.mp4"], "The film 'no.mp4' does not exist"),
        (["in.mkv", "out.avi"], "must end in one of .mp4"),
        (["bad.mp4", "out.mp4"], "The film 'bad.mp4' cannot be read (Invalid data"),
        (["in.mkv", "in.mkv"], "exists already"),
        (["in.mkv", "out.mp4", "in"], "takes one style and no pictures"),
        (["in.mkv", "out.mp4", "--rate=10"], "has its own frame rate"),
    ],
)
def test_bad_films_get_one_sentence(film, folder, file, capfd, arguments, said):
    (folder / "bad.mp4").write_bytes(b"none")
    pair, more = arguments[:2], arguments[2:]
    assert said in refusal(capfd, "apply", file, *more, "--style=ink", "--video", *pair, "--quiet")
    assert not (folder / "out.mp4").exists()


def test_films_need_pyav(folder, file, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    for name in [name for name in sys.modules if name.startswith("nst_jax.films.")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(nst_jax.films, name.rpartition(".")[2])
    monkeypatch.delitem(sys.modules, "nst_jax.videos.drawing")
    said = refusal(capfd, "apply", file, "--style=ink", "--video", "in.mp4", "out.mp4", "--quiet")
    assert 'Films need PyAV, which is not installed: pip install "nst-jax[video]".' in said

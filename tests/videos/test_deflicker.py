"""`deflicker`: less flicker, killed and resumed, the original's sound, and bad input."""

import av
import clips
import numpy as np
import pytest
import tiny
from commands import refusal, run
from PIL import Image

import nst_jax as nst
from nst_jax.cli import cache
from nst_jax.films import reading, writing
from nst_jax.videos.measures import measure

ROWS, COLUMNS = 48, 64


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A film `in.mkv` with sound, and frames of it in `drawn` whose brightness flickers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "enable", lambda: None)
    frames = clips.frames(5, ROWS, COLUMNS)
    clips.write("in.mkv", frames, sound="aac")
    (tmp_path / "drawn").mkdir()
    for number, frame in enumerate(frames):
        light = 255 - np.uint8(frame * (0.8 + 0.1 * (number % 2)))
        Image.fromarray(light).save(tmp_path / "drawn" / f"{number}.png")
    return tmp_path


def test_flicker_goes_and_the_sound_stays(folder, capfd):
    assert run("deflicker", "in.mkv", "drawn", "out.mp4", "--quiet") == 0
    assert capfd.readouterr() == ("", "")
    with av.open("out.mp4") as found:
        video, sound = found.streams
        assert (video.width, video.height, sound.type) == (COLUMNS, ROWS, "audio")
    report = measure("in.mkv", "out.mp4", per_frame="drawn", network=tiny.network())
    assert report.films["styled"].warping <= 0.6 * report.films["each frame"].warping


class Killed(BaseException):
    """Nothing catches it."""


def test_a_killed_film_goes_on_and_is_the_same(folder, monkeypatch):
    nst.deflicker("in.mkv", "drawn", "whole", progress=False)
    write, count = writing.Writer.write, 0

    def killed(self, *args):
        nonlocal count
        count += 1
        if count == 4:
            raise Killed
        write(self, *args)

    monkeypatch.setattr(writing.Writer, "write", killed)
    with pytest.raises(Killed):
        nst.deflicker("in.mkv", "drawn", "out", progress=False)
    assert len(list((folder / "out.unfinished").glob("*.png"))) == 3
    with pytest.raises(nst.InputError, match="other settings"):
        nst.deflicker("in.mkv", "drawn", "out", strength=2.0, progress=False)
    nst.deflicker("in.mkv", "drawn", "out", progress=False)
    for one, other in zip(*(sorted((folder / n).iterdir()) for n in ("whole", "out")), strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.mp4", "drawn", "out"], "The film 'no.mp4' does not exist"),
        (["in.mkv", "no", "out"], "The film 'no' does not exist"),
        (["in.mkv", "empty", "out"], "holds no pictures"),
        (["in.mkv", "wide", "out"], "is 64x30 pixels and 'in.mkv' 64x48, which is another shape"),
        (["in.mkv", "drawn", "out.avi"], "must end in one of .mp4"),
        (["in.mkv", "drawn", "in.mkv"], "exists already"),
        (["in.mkv", "drawn", "out", "--strength=-1"], "strength"),
        (["drawn", "few", "out"], "has 5 frames and 'few' has 2"),
        (["in.mkv", "few", "out"], "'in.mkv' has more frames and 'few' has 2"),
    ],
)
def test_bad_input_gets_one_sentence(folder, capfd, arguments, said):
    for name, count, rows in (("empty", 0, 0), ("wide", 5, 30), ("few", 2, ROWS)):
        (folder / name).mkdir()
        for number in range(count):
            with Image.open(folder / "drawn" / f"{number}.png") as picture:
                picture.crop((0, 0, COLUMNS, rows)).save(folder / name / f"{number}.png")
    assert said in refusal(capfd, "deflicker", *arguments, "--quiet")
    assert not (folder / "out").exists()


def test_a_full_disk_keeps_what_is_drawn(folder, monkeypatch):
    put, count = writing.States.put, 0

    def full(self, *args):
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        put(self, *args)

    monkeypatch.setattr(writing.States, "put", full)
    with pytest.raises(nst.InputError, match=r"No space left on device.*make room"):
        nst.deflicker("in.mkv", "drawn", "out", progress=False)
    nst.deflicker("in.mkv", "drawn", "out", progress=False)
    found = reading.probe("out")
    assert (found.count, found.height, found.width) == (5, ROWS, COLUMNS)

"""Key frames carried over a film: along known motion, between keys, by name, after a kill."""

import clips
import numpy as np
import pytest
from commands import refusal, run
from PIL import Image
from refusals import sentence

import nst_jax as nst
from nst_jax.cli import cache
from nst_jax.films import reading
from nst_jax.patches.guided import matched, painted_at, places_in
from nst_jax.videos import keyed
from nst_jax.videos.coherent import crossed
from nst_jax.videos.keys import read_keys

HEIGHT, WIDTH, SHIFT, COUNT = 48, 64, 4, 4


def wide(seed):
    """A picture with structure of all sizes, wider than a frame; uint8."""
    rng = np.random.default_rng(seed)
    found = np.zeros((HEIGHT, 96, 3))
    for size in (3, 6, 12):
        small = rng.uniform(0, 255, (HEIGHT // size, 96 // size, 3)).astype(np.uint8)
        found += np.asarray(Image.fromarray(small).resize((96, HEIGHT), Image.Resampling.BICUBIC))
    return np.uint8(found / 3)


def window(picture, number):
    return np.ascontiguousarray(picture[:, SHIFT * number : SHIFT * number + WIDTH])


SEEN, PAINTED = wide(4), wide(9)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Frames that a window sees as it moves, named frame_0007 and so on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "enable", lambda: None)
    (tmp_path / "in").mkdir()
    for number in range(COUNT):
        Image.fromarray(window(SEEN, number)).save(f"in/frame_{number + 7:04}.png")
    return tmp_path


def keys(folder, **named):
    (folder / "keys").mkdir()
    for name, number in named.items():
        Image.fromarray(window(PAINTED, number)).save(folder / "keys" / f"{name}.png")


def test_a_painting_is_found_again_without_motion():
    key, painted, frame = (
        picture / np.float32(255)
        for picture in (window(SEEN, 0), window(PAINTED, 0), window(SEEN, 1))
    )
    nowhere = places_in(HEIGHT, WIDTH), np.zeros((HEIGHT, WIDTH), np.float32)
    places = matched(key, painted, frame, *nowhere)
    inner = np.s_[6:-6, 6 : -6 - SHIFT]
    wanted = places_in(HEIGHT, WIDTH) + np.array([SHIFT, 0], np.float32)
    assert (np.abs(places - wanted).max(-1) < 0.5)[inner].mean() > 0.95
    found = np.asarray(painted_at(painted, places))
    assert np.abs(found - window(PAINTED, 1) / np.float32(255))[inner].mean() < 0.01


def test_places_between_pixels_are_looked_up_there():
    ramp = np.tile(np.linspace(0, 1, WIDTH, dtype=np.float32)[None, :, None], (HEIGHT, 1, 3))
    found = painted_at(ramp, places_in(HEIGHT, WIDTH) + np.array([0.25, 0], np.float32))
    np.testing.assert_allclose(found[:, 6:-6] - ramp[:, 6:-6], 0.25 / (WIDTH - 1), atol=5e-4)


@pytest.mark.parametrize("named", [{"0008": 1}, {"frame_0007": 0, "10": 3}])
def test_a_painting_moves_with_the_film(folder, named):
    keys(folder, **named)
    assert run("video", "in", "out", "--keys=keys", "--flow=dis", "--quiet") == 0
    for number in range(COUNT):
        found = np.asarray(Image.open(f"out/{number + 1:06}.png"))
        wanted = window(PAINTED, number)
        if number in named.values():
            np.testing.assert_array_equal(found, wanted)
        else:
            # What no key shows lies within three shifts of the edges.
            inner = np.s_[3:-3, 3 * SHIFT : -3 * SHIFT]
            assert np.abs(found[inner] / 255 - wanted[inner] / 255).mean() < 0.02
    assert sorted(p.name for p in folder.iterdir()) == ["in", "keys", "out"]


def test_places_change_from_one_drawing_to_the_other_at_once(rng):
    one, other = (rng.uniform(size=(HEIGHT, WIDTH, 3)).astype(np.float32) for _ in range(2))
    none = np.zeros((HEIGHT, WIDTH), np.float32)
    np.testing.assert_allclose(crossed(one, other, 0.0, none), one, atol=1e-6)
    half = crossed(one, other, 0.5, none)
    near = [(np.abs(half - x).mean(-1) < 0.15).mean() for x in (one, other)]
    assert min(near) > 0.2
    known = crossed(one, other, 0.5, none + 1)
    assert np.abs(known - other).mean() < np.abs(half - other).mean() / 2


def test_a_killed_film_goes_on_to_the_same_bits(folder, monkeypatch):
    keys(folder, **{"0007": 0, "0010": 3})
    given = {"keys": "keys", "method": "dis", "progress": False}
    nst.video("in", "whole", **given)
    usual, count = keyed.matched, []

    def killed(*args):
        count.append(1)
        if len(count) == 3:
            raise RuntimeError("killed")
        return usual(*args)

    monkeypatch.setattr(keyed, "matched", killed)
    with pytest.raises(RuntimeError, match="killed"):
        nst.video("in", "out", **given)
    nst.video("in", "out", **given)
    assert len(count) == 5, "frames that were there are not painted again"
    for number in range(COUNT):
        name = f"{number + 1:06}.png"
        assert (folder / "out" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def test_keys_of_a_film_are_named_by_number(folder):
    clips.write("in.mkv", [window(SEEN, number) for number in range(COUNT)])
    keys(folder, **{"key_003": 2, "1": 0})
    found = read_keys("keys", reading.probe("in.mkv"), (HEIGHT, WIDTH))
    assert list(found) == [0, 2]
    np.testing.assert_array_equal(np.rint(255 * found[2]), window(PAINTED, 2))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "There is no key frame"),
        ({"0003": 0}, "'0003' is no frame of 'in': name keys as their frames are, such as 'frame_"),
        ({"face": 0}, "The key frame 'face' is no frame of 'in'"),
        ({"7": 0, "07": 0}, "There are two key frames for frame 1"),
    ],
)
def test_keys_that_are_no_frames_get_a_sentence(folder, capfd, named, said):
    keys(folder, **named)
    assert said in refusal(capfd, "video", "in", "out", "--keys=keys", "--quiet")
    assert not list(folder.glob("out*"))


def test_other_bad_keys_get_a_sentence(folder, capfd):
    clips.write("in.mkv", [window(SEEN, number) for number in range(COUNT)])
    keys(folder, **{"5": 0})
    command = ["video", "in.mkv", "out.mp4", "--keys=keys", "--quiet"]
    assert "The key frame 5 is no frame of 'in.mkv', which has 4" in refusal(capfd, *command)
    assert "leave out the other one" in refusal(capfd, *command, "--style=a.png")
    assert "leave out the model, or the keys" in refusal(capfd, *command, "--model=styles")
    assert "--iterations is of no use to the engine 'keys'" in refusal(
        capfd, *command, "--iterations=5"
    )
    assert "needs key frames" in refusal(capfd, "video", "in", "out", "--engine=keys", "--quiet")
    Image.fromarray(window(PAINTED, 0)[:20]).save("keys/5.png")
    assert "another shape" in sentence(nst.video, "in.mkv", "out", keys={1: "keys/5.png"})
    assert "must be a folder" in sentence(nst.video, "in.mkv", "out", keys="none")
    assert not list(folder.glob("out*"))

"""Films by optimisation: what stands still and what moves, cuts, kills, and limits."""

from itertools import pairwise

import numpy as np
import pytest
import tiny
from PIL import Image

import nst_jax as nst
from nst_jax.losses import Earlier
from nst_jax.stylizing.inputs import Sources
from nst_jax.stylizing.run import draw, requested
from nst_jax.videos import earlier, minimum
from nst_jax.videos.optimised import Optimised, Past, Plan
from nst_jax.videos.passes import in_passes

HEIGHT, WIDTH = 48, 64
STYLE = tiny.picture(48, 48, 2)
OPTIONS = {
    "network": tiny.PIXELS,
    "content_layers": "relu1_1",
    "style_layers": "relu1_1",
    "preset": "gatys",
    "iterations": 30,
    "precondition": 1.0,
}
PLAN = Plan(evaluations=6, method="dis")


def wide(width=120, seed=4):
    """A picture with structure of all sizes, to look at through a moving window."""
    rng = np.random.default_rng(seed)
    found = np.zeros((HEIGHT, width, 3), np.float32)
    for size in (3, 6, 12):
        small = rng.uniform(0, 255, (HEIGHT // size, width // size, 3)).astype(np.uint8)
        found += np.asarray(
            Image.fromarray(small).resize((width, HEIGHT), Image.Resampling.BICUBIC)
        )
    return found / 3 / 255


def frames(shift, count=4):
    picture = wide()
    return [np.ascontiguousarray(picture[:, shift * n : shift * n + WIDTH]) for n in range(count)]


def request(frame, **options):
    options = OPTIONS | {"temporal_weight": 1e6, "size": WIDTH} | options
    return requested(Sources(frame, STYLE), **options)


def drawn(film, **options):
    artist = Optimised(request(film[0], **options), PLAN)
    return [artist.draw(frame) for frame in film]


def test_nearer_frames_count_first(rng):
    reliable = rng.uniform(size=(3, 5, 6)).astype(np.float32)
    found = earlier.closest_first(reliable)
    one, two, three = reliable
    np.testing.assert_array_equal(found[0], one)
    np.testing.assert_allclose(found[1], np.maximum(two - one, 0), atol=1e-6)
    np.testing.assert_allclose(found[2], np.maximum(three - one - two, 0), atol=1e-6)


def test_what_comes_into_sight_is_seen_but_thin_lines_are_not():
    weights = np.ones((1, 40, 60), np.float32)
    weights[:, :, 20], weights[:, 10:30, 40:] = 0, 0
    hole = earlier.hole_of(Earlier(np.zeros((1, 40, 60, 3), np.float32), weights))
    assert hole[:, :30].max() < 0.01
    assert hole[15:25, 45:].min() > 0.99


def test_a_still_film_stands_still():
    film = drawn(frames(0))
    changes = [np.abs(b - a).max() for a, b in pairwise(film)]
    assert max(changes) < 1 / 255
    assert np.abs(film[0] - frames(0)[0]).mean() > 0.02, "it is drawn"


def test_a_moving_film_moves_with_its_content():
    film = drawn(frames(4))
    for before, after in pairwise(film):
        assert np.abs(after[:, :-8] - before[:, 4:-4]).mean() < 0.02
        assert np.abs(after - before).mean() > 0.05, "strokes do not stick to the screen"


def test_a_cut_begins_a_new_shot():
    other = wide(seed=9)[:, :WIDTH]
    film = drawn([*frames(2, 2), other])
    np.testing.assert_array_equal(film[2], draw(request(other)).image)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for n, frame in enumerate(frames(3)):
        Image.fromarray(np.rint(frame * 255).astype(np.uint8)).save(f"in/{n}.png")
    return tmp_path


def make(target, **options):
    options = OPTIONS | {"evaluations": 6, "method": "dis"} | options
    return nst.video("in", target, STYLE, progress=False, **options)


def test_a_killed_film_goes_on_to_the_same_bits(folder, monkeypatch):
    make("whole")
    usual, count = Optimised.draw, []

    def killed(self, *args):
        count.append(1)
        if len(count) == 4:
            raise RuntimeError("killed")
        return usual(self, *args)

    monkeypatch.setattr(Optimised, "draw", killed)
    with pytest.raises(RuntimeError, match="killed"):
        make("out")
    assert (folder / "out.preview.png").is_file()
    make("out")
    assert len(count) == 5, "frames that were there are not drawn again"
    for n in range(1, 5):
        name = f"{n:06}.png"
        assert (folder / "out" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert {p.name for p in folder.iterdir()} == {"in", "out", "whole"}


def test_a_frame_takes_no_longer_than_it_may(folder, monkeypatch):
    seen = []
    usual = minimum.loop.run

    def watched(*args, limits, **options):
        seen.append(limits.seconds)
        return usual(*args, limits=limits, **options)

    monkeypatch.setattr(minimum.loop, "run", watched)
    make("out", seconds_per_frame=60.0)
    for_parts = [s for s in seen if s == 15]
    whole = [s for s in seen if s not in (15, None)]
    assert len(whole) == 3
    assert all(10 < s <= 60 for s in whole)
    assert len(for_parts) in (0, 2, 4, 6)
    assert len(seen) == len(whole) + len(for_parts) + 1, "the first frame has no limit"


def test_bad_plans_are_refused(folder):
    assert "evaluations is 0" in str(refused(evaluations=0))
    assert "seconds_per_frame is -1.0" in str(refused(seconds_per_frame=-1.0))
    assert "lags is (2, 1)" in str(refused(lags=(2, 1)))
    assert "There is no style" in str(refused(style=None))
    assert "needs a model" in str(refused(engine="model"))
    assert not list(folder.glob("out*"))


def refused(**options):
    options = {"style": STYLE, "progress": False, **options}
    with pytest.raises(nst.InputError) as caught:
        nst.video("in", "out", **options)
    return caught.value


def test_a_frame_is_drawn_again_towards_its_neighbour(rng):
    frame = frames(0)[0]
    own, other = (rng.uniform(0.2, 0.8, frame.shape).astype(np.float32) for _ in range(2))
    found = Optimised(request(frame), PLAN).again(frame, own, [Past(frame, other)])
    assert np.abs(found - other).mean() < np.abs(own - other).mean() / 2
    alone = Optimised(request(frame), PLAN).again(frame, own, [])
    assert np.abs(alone - other).mean() > np.abs(own - other).mean() / 2


class Recorder:
    """Draws nothing, and tells which frames it is asked for, each with those before it."""

    reach = 2

    def __init__(self):
        self.seen = []

    def resume(self, past, since):
        self.past = past
        assert len(past) == since

    def draw(self, frame, _):
        self.seen.append([numbered(frame), *(numbered(one.drawn) for one in self.past)])
        return frame

    def again(self, frame, drawn, past, _):
        assert numbered(drawn) % 10 == numbered(frame)
        self.seen.append([numbered(frame), *(numbered(one.drawn) for one in past)])
        return drawn + np.float32(10 / 255)


def numbered(picture):
    return round(float(picture[0, 0, 0]) * 255)


def test_passes_go_there_and_back_and_a_loop_around(tmp_path):
    film = [np.full((4, 4, 3), n, np.uint8) for n in range(4)]
    artist = Recorder()
    last = in_passes(artist, film, tmp_path, 3, loop=True, told=lambda _: None)
    assert artist.seen[:4] == [[0], [1, 0], [2, 0, 1], [3, 1, 2]]
    # Tens tell how often a frame was drawn again.
    assert artist.seen[4:8] == [[3, 1, 0], [2, 0, 13], [1, 13, 12], [0, 12, 11]]
    assert artist.seen[8:] == [[0, 12, 13], [1, 13, 20], [2, 20, 21], [3, 21, 22]]
    assert [int(last.get(n)[0, 0, 0]) for n in range(4)] == [20, 21, 22, 23]


def test_passes_go_on_after_a_kill(folder, monkeypatch):
    make("once")
    usual, count = Optimised.again, []

    def killed(self, *args):
        count.append(1)
        if len(count) == 3:
            raise RuntimeError("killed")
        return usual(self, *args)

    make("whole", loop=True)
    monkeypatch.setattr(Optimised, "again", killed)
    with pytest.raises(RuntimeError, match="killed"):
        make("out", loop=True)
    make("out", loop=True)
    assert len(count) == 5, "frames that were there are not drawn again"
    for n in range(1, 5):
        name = f"{n:06}.png"
        assert (folder / "out" / name).read_bytes() == (folder / "whole" / name).read_bytes()
        assert (folder / "out" / name).read_bytes() != (folder / "once" / name).read_bytes()
    assert {p.name for p in (folder / "out").iterdir()} == {f"{n:06}.png" for n in range(1, 5)}


def test_what_looks_alike_after_motion_is_nothing_new():
    before, frame = frames(4, 2)
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = 4
    seen = earlier.strange_in(before, frame, flow)
    assert seen[:-14, :-14].max() < 0.01
    assert seen[:, -4:].min() == 1, "it comes from outside"
    assert earlier.strange_in(before, frame, 0 * flow).mean() > 0.5
    weights = np.zeros((1, HEIGHT, WIDTH), np.float32)
    hole = earlier.hole_of(Earlier(np.zeros((1, HEIGHT, WIDTH, 3), np.float32), weights), seen)
    assert hole[:-14, :-14].max() < 0.01

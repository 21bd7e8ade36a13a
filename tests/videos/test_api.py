"""video() and `nst-jax video`: which engine draws, what is written, and what is refused."""

import errno
import json
from pathlib import Path

import av
import clips
import pytest
import tiny
from commands import refusal, run
from PIL import Image

import nst_jax as nst
from nst_jax.cli import cache
from nst_jax.films import pieces
from nst_jax.videos import optimised, passes
from nst_jax.videos.measures import Report

FAST = [
    "--content-layers=relu1_1",
    "--style-layers=relu1_1",
    "--preset=gatys",
    "--iterations=30",
    "--evaluations=6",
    "--precondition=1",
    "--flow=dis",
    "--quiet",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nst_jax.stylizing.run.load_network", lambda *_, **__: tiny.PIXELS)
    monkeypatch.setattr(cache, "enable", lambda: None)
    clips.write("in.mkv", clips.frames(3), sound="aac")
    Image.fromarray(tiny.picture(32, 32, 2)).save("style.png")
    return tmp_path


def video(*options, source="in.mkv", target="out.mp4"):
    return ["video", source, target, "--style", "style.png", *FAST, *options]


def test_a_film_is_drawn_with_its_sound(folder, capfd):
    assert run(*video("--json")) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert json.loads(out)["results"] == [{"input": "in.mkv", "output": "out.mp4"}]
    with av.open("out.mp4") as film:
        assert [stream.type for stream in film.streams] == ["video", "audio"]
        assert len(list(film.decode(video=0))) == 3
    assert sorted(p.name for p in folder.iterdir()) == ["in.mkv", "out.mp4", "style.png"]


def test_a_report_has_the_ceiling(folder, monkeypatch, capfd):
    seen = []

    def measured(original, styled, *, per_frame, style, rate):
        seen.append((original, styled, Path(per_frame).read_bytes(), style, rate))
        return Report({}, 3, 0)

    monkeypatch.setattr("nst_jax.videos.measures.measure", measured)
    file = tiny.stylizer(folder / "styles.safetensors")
    more = [f"--model={file}", "--style=ink", "--quiet"]
    assert run("video", "in.mkv", "out.mp4", *more, "--report", "--json") == 0
    report = json.loads(capfd.readouterr().out)["results"][0]["report"]
    assert report == {"films": {}, "frames": 3, "cuts": 0}
    assert run("video", "in.mkv", "each.mp4", *more, "--each-frame") == 0
    each = (folder / "each.mp4").read_bytes()
    assert seen == [("in.mkv", "out.mp4", each, None, None)]
    assert (folder / "out.mp4").read_bytes() != each
    names = {"in.mkv", "out.mp4", "each.mp4", "style.png", "styles.safetensors"}
    assert {p.name for p in folder.iterdir()} == names


def test_frames_by_optimisation_are_drawn_on_their_own(folder, capfd):
    (folder / "film").mkdir()
    first, second, _ = clips.frames(3)
    for number, frame in enumerate([first, second, first]):
        Image.fromarray(frame).save(folder / "film" / f"{number}.png")
    assert run(*video("--each-frame", source="film", target="out")) == 0
    one, two, again = (p.read_bytes() for p in sorted((folder / "out").iterdir()))
    assert one == again != two
    said = refusal(capfd, *video("--each-frame", "--loop", target="none"))
    assert "leave out one of them" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["none.mkv", "out.mp4"], "none.mkv' does not exist"),
        (["empty", "out.mp4"], "holds no pictures to make a film of"),
        (["in.mkv", "out.avi"], "must end in one of"),
        (["in.mkv", "out.mp4", "--engine", "modle"], "Did you mean 'model'"),
        (["in.mkv", "out.mp4", "--engine", "model"], "needs a model"),
        (["in.mkv", "out.mp4", "--strength", "0.5"], "--strength is of no use"),
        (["in.mkv", "out.mp4", "--model", "styles", "--tv-weight", "1"], "--tv-weight is of no"),
        (["in.mkv", "out.mp4", "--evaluations", "0"], "evaluations is 0"),
    ],
)
def test_what_cannot_be_is_refused(folder, capfd, options, said):
    (folder / "empty").mkdir()
    assert said in refusal(capfd, "video", *options, "--style", "style.png", "--quiet")
    assert sorted(p.name for p in folder.iterdir()) == ["empty", "in.mkv", "style.png"]


def test_nothing_is_lost_when_the_disk_is_full(folder, capfd, monkeypatch):
    usual = pieces.save_file

    def full(tensors, path, metadata):
        if path.name.startswith("00000002"):
            raise OSError(errno.ENOSPC, "No space left on device")
        usual(tensors, path, metadata)

    monkeypatch.setattr(pieces, "save_file", full)
    said = refusal(capfd, *video())
    assert "(No space left on device): make room, and the same command goes on" in said
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("nst_jax.stylizing.run.load_network", lambda *_, **__: tiny.PIXELS)
    monkeypatch.setattr(cache, "enable", lambda: None)
    drawn = []
    usual_draw = optimised.Optimised.draw

    def draw(self, *args):
        drawn.append(1)
        return usual_draw(self, *args)

    monkeypatch.setattr(optimised.Optimised, "draw", draw)
    assert run(*video()) == 0
    assert len(drawn) == 1, "two frames were there"


def test_a_model_draws_where_there_is_one(folder, monkeypatch):
    seen = {}

    def draw_video(model, source, target, style, **options):
        seen.update(options, model=model, style=style)
        return Path(target)

    monkeypatch.setattr("nst_jax.videos.api.draw_video", draw_video)
    monkeypatch.setattr("nst_jax.videos.api.load", lambda name: name)
    assert run("video", "in.mkv", "out.mp4", "--model=styles", "--style=ink", "--size=32") == 0
    wanted = {"model": "styles", "style": "ink", "size": 32, "progress": True}
    assert {k: seen[k] for k in wanted} == wanted
    assert callable(nst.video), "the room has another name than the function"


def test_nothing_is_lost_when_the_disk_is_full_between_passes(folder, capfd, monkeypatch):
    usual = passes.Store.put

    def full(self, number, rgb):
        if number == 1 and self._folder.name == "pass2":
            raise OSError(errno.ENOSPC, "No space left on device")
        usual(self, number, rgb)

    monkeypatch.setattr(passes.Store, "put", full)
    said = refusal(capfd, *video("--passes=2"))
    assert "(No space left on device): make room, and the same command goes on" in said
    kept = list((folder / "out.mp4.unfinished" / "passes").glob("*/*.png"))
    assert len(kept) == 3 + 3 + 1, "the film, its first pass, and what there is of the second"
    monkeypatch.setattr(passes.Store, "put", usual)
    assert run(*video("--passes=2")) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["in.mkv", "out.mp4", "style.png"]

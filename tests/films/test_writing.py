"""Films are written with their colours, times, sound and shape, and a killed run goes on."""

import contextlib
import errno
import os
import resource
import signal
import sys
from dataclasses import replace
from fractions import Fraction

import av
import clips
import numpy as np
import pytest
from PIL import Image
from refusals import sentence

from nst_jax.errors import InputError
from nst_jax.films import pieces, reading, writing
from nst_jax.films.film import Film, Frame

RATE = Fraction(25)
FILM = Film(48, 64, RATE, 1 / RATE)
TIMES = [0, 512, 1000, 3000, 3512, 4024]


def write(path, pictures, film=FILM, **options):
    height, width = pictures[0].shape[:2]
    with writing.opened(path, replace(film, height=height, width=width), **options) as out:
        for n, rgb in enumerate(pictures):
            out.write(Frame(rgb, n * film.unit, film.unit))


def copy(source, target, **options):
    """What a model that changes nothing makes of a film."""
    film = reading.probe(source)
    with writing.opened(target, film, **options) as out:
        for frame in reading.frames(film, film.height, film.width):
            out.write(frame)


class Killed(BaseException):
    """Nothing catches it."""


def killed(path, pictures, settings, **options):
    """Write pictures after those that are there, and end without finishing the film."""
    with writing.opened(path, FILM, settings=settings, **options) as out:
        for n, rgb in enumerate(pictures, out.done):
            out.write(Frame(rgb, n / RATE, 1 / RATE))
        raise Killed


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("size", "matrix"), [((720, 1280), 1), ((48, 64), 6)], ids=["hd", "sd"])
def test_colours_are_those_of_the_matrix_that_the_film_names(tmp_path, size, matrix):
    colours = [(255, 0, 0), (0, 192, 0), (0, 0, 255)]
    write(tmp_path / "a.mp4", [np.broadcast_to(np.uint8(c), (*size, 3)) for c in colours])
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    for name in ("a.mp4", "b.mp4"):
        with av.open(str(tmp_path / name)) as film:  # the container tells the same
            assert film.streams.video[0].codec_context.colorspace == matrix
        for colour, frame in zip(colours, clips.read(tmp_path / name), strict=True):
            assert (frame.colorspace, frame.color_range) == (matrix, 1)
            assert (frame.color_primaries, frame.color_trc) == (1, 1)
            assert np.abs(clips.rgb(frame, matrix)[::8, ::8] - colour).max() < 3


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_pictures_and_times_are_kept(tmp_path, name):
    pictures = clips.frames(6)
    clips.write(tmp_path / "in.mkv", pictures, TIMES, options={"crf": "1"}, sound="aac")
    copy(tmp_path / "in.mkv", tmp_path / name)
    assert names(tmp_path) == sorted(["in.mkv", name])
    with av.open(str(tmp_path / name)) as film:
        video, sound = film.streams
        unit = max(video.time_base, Fraction(1, 1000))  # Matroska counts milliseconds
        frames = list(film.decode(video))
    if name != "out.webm":
        assert video.average_rate == pytest.approx(16, abs=9), "not one frame in a tick"
    assert sound.codec_context.name == ("opus" if name == "out.webm" else "aac")
    for time, picture, frame in zip(TIMES, pictures, frames, strict=True):
        assert abs(frame.pts * frame.time_base - time * clips.TICK) <= unit
        assert np.abs(clips.rgb(frame, 6) - picture).mean() < 4


def test_sound_is_copied_byte_by_byte_with_its_times(tmp_path):
    clips.write(tmp_path / "in.mp4", clips.frames(3), [25600, 26112, 26624], sound="aac")
    copy(tmp_path / "in.mp4", tmp_path / "out.mkv")
    found = []
    for name in ("in.mp4", "out.mkv"):
        with av.open(str(tmp_path / name)) as film:
            first = next(film.demux(video=0))
            start = float(first.pts * first.time_base)
        with av.open(str(tmp_path / name)) as film:
            packets = [p for p in film.demux(audio=0) if p.size]
            times = [float(p.pts * p.time_base) for p in packets]
            found.append((start, times, [bytes(p) for p in packets]))
    (one, times, data), (other, shifted, same) = found
    assert data == same
    assert len(data) > 10
    # Matroska has no times before 0, so all moves by what AAC needs before the first sample.
    np.testing.assert_allclose(np.subtract(shifted, times), other - one, atol=0.0011)
    assert one == pytest.approx(2)


@pytest.mark.parametrize(
    ("source", "codec", "name", "wanted"),
    [
        ("in.mov", "pcm_u8", "out.mp4", "aac"),
        ("in.wmv", "wmav2", "out.mp4", "aac"),
        ("in.mov", "pcm_s16le", "out.webm", "opus"),
        ("in.mov", "pcm_u8", "out.mkv", "pcm_u8"),
    ],
)
def test_sound_that_the_container_cannot_hold_is_encoded(tmp_path, source, codec, name, wanted):
    video = {"codec": "wmv2", "options": {"b": "2000000"}} if source == "in.wmv" else {}
    tick = Fraction(1, 25) if video else clips.TICK
    clips.write(tmp_path / source, clips.frames(10), sound=codec, tick=tick, **video)
    copy(tmp_path / source, tmp_path / name)
    with av.open(str(tmp_path / name)) as film:
        stream = film.streams.audio[0]
        assert stream.codec_context.name == wanted
        sound = np.concatenate([f.to_ndarray().mean(0) for f in film.decode(stream)])
    rate = stream.codec_context.sample_rate
    seconds = len(sound) / rate
    assert seconds == pytest.approx(0.5, abs=0.06)
    spectrum = np.abs(np.fft.rfft(sound - sound.mean()))
    assert spectrum.argmax() / seconds == pytest.approx(440, abs=4)


TEXT = "1\n00:00:00,000 --> 00:00:00,200\nhello\n\n2\n00:00:00,240 --> 00:00:00,400\nyou\n"


@pytest.mark.parametrize(
    ("road", "codec"),
    [
        (["out.mkv"], "srt"),
        (["out.mp4"], "mov_text"),
        (["out.webm"], "webvtt"),
        (["out.mov", "out.mkv"], "ssa"),
    ],
)
def test_subtitles_are_kept(tmp_path, road, codec):
    (tmp_path / "in.srt").write_text(TEXT)
    clips.write(tmp_path / "in.mkv", clips.frames(10), subtitles=[tmp_path / "in.srt"])
    name = "in.mkv"
    for target in road:
        copy(tmp_path / name, tmp_path / target)
        name = target
    with av.open(str(tmp_path / name)) as film:
        stream = film.streams.subtitles[0]
        assert stream.codec_context.name == codec
        found = [(p.pts * p.time_base, bytes(p)) for p in film.demux(stream) if p.size > 2]
    times, texts = zip(*found, strict=True)
    assert [float(t) for t in times] == pytest.approx([0, 0.24], abs=0.002)
    assert b"hello" in texts[0]
    assert b"you" in texts[1]


def test_subtitles_that_are_pictures_are_refused_with_the_suffix_that_holds_them(tmp_path):
    clips.write(tmp_path / "in.mkv", clips.frames(2))
    film = reading.probe(tmp_path / "in.mkv")
    with (
        av.open(str(tmp_path / "in.mkv")) as source,
        av.open(str(tmp_path / "dvd.mkv"), "w") as out,
    ):
        video = out.add_stream_from_template(source.streams.video[0], opaque=True)
        out.add_mux_stream("hdmv_pgs_subtitle")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
    film = replace(film, source=tmp_path / "dvd.mkv")
    with pytest.raises(InputError, match=r"hold the subtitles .*: choose a name .* in \.mkv\."):
        writing.opened(tmp_path / "out.mp4", film).__enter__()
    assert names(tmp_path) == ["dvd.mkv", "in.mkv"]


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_the_shape_of_pixels_is_kept(tmp_path, name):
    clips.write(tmp_path / "in.mp4", clips.frames(2), shape=Fraction(16, 11))
    copy(tmp_path / "in.mp4", tmp_path / name)
    with av.open(str(tmp_path / name)) as film:
        stream = film.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 11)
        assert (stream.width, stream.height) == (64, 48)


@pytest.mark.parametrize("name", ["out.mp4", "out.webm"])
def test_odd_sides_are_kept_or_made_even(tmp_path, name):
    pictures = clips.frames(2, 33, 47)
    write(tmp_path / name, pictures)
    frame = reading.probe(tmp_path / name)
    assert (frame.height, frame.width) == ((34, 48) if name == "out.mp4" else (33, 47))
    found = next(reading.frames(frame, frame.height, frame.width)).rgb[:33, :47]
    assert np.abs(found.astype(float) - pictures[0]).mean() < 4


@pytest.mark.parametrize("name", ["out.webm", "out.mov", "out.gif", "frames"])
def test_transparency_is_kept(tmp_path, name):
    opaque = np.zeros((48, 64), np.uint8)
    opaque[8:40, 8:56] = 255
    film = replace(FILM, alpha=True)
    with writing.opened(tmp_path / name, film) as out:
        for n, rgb in enumerate(clips.frames(3)):
            out.write(Frame(rgb, n / RATE, 1 / RATE, opaque))
    film = reading.probe(tmp_path / name)
    assert film.alpha
    frames = list(reading.frames(film, 48, 64))
    assert len(frames) == 3
    for frame, rgb in zip(frames, clips.frames(3), strict=True):
        assert np.abs(frame.alpha.astype(float) - opaque).mean() < 2
        inside = np.abs(frame.rgb.astype(float) - rgb)[12:36, 12:52]
        assert inside.mean() < 6


def test_where_it_cannot_be_kept_frames_are_laid_on_white(tmp_path):
    half = np.full((48, 64), 128, np.uint8)

    def go():
        with writing.opened(tmp_path / "out.mp4", replace(FILM, alpha=True)) as out:
            for n in range(3):
                out.write(Frame(np.zeros((48, 64, 3), np.uint8), n / RATE, 1 / RATE, half))

    with pytest.warns(UserWarning, match="cannot hold transparency, so frames are laid on white"):
        go()
    assert np.abs(clips.rgb(clips.read(tmp_path / "out.mp4")[0], 6) - 127).max() < 3


def test_gifs_keep_times_and_most_colours(tmp_path):
    pictures = clips.frames(4)
    times = [Fraction(t, 100) for t in (0, 4, 14, 39)]
    with writing.opened(tmp_path / "out.gif", FILM) as out:
        for time, rgb in zip(times, pictures, strict=True):
            out.write(Frame(rgb, time, Fraction(7, 100)))
    with Image.open(tmp_path / "out.gif") as image:
        assert image.n_frames == 4
        found = []
        for n, rgb in enumerate(pictures):
            image.seek(n)
            found.append(image.info["duration"])
            assert np.abs(np.asarray(image.convert("RGB"), float) - rgb).mean() < 6
    assert found == [40, 100, 250, 70]


def test_frames_go_into_a_folder(tmp_path):
    pictures = clips.frames(3, 33, 47)
    write(tmp_path / "frames", pictures)
    assert names(tmp_path) == ["frames"]
    assert names(tmp_path / "frames") == ["000001.png", "000002.png", "000003.png"]
    found = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "frames").iterdir())]
    np.testing.assert_array_equal(found, pictures)
    assert "has files already" in sentence(write, tmp_path / "frames", pictures)
    write(tmp_path / "frames", pictures[::-1], overwrite=True)
    np.testing.assert_array_equal(Image.open(tmp_path / "frames" / "000001.png"), pictures[2])


@pytest.mark.parametrize(
    ("name", "at"),
    [("out.mp4", at) for at in (0, 3, 4, 10)]
    + [("out.webm", 5), ("out.mov", 4), ("out.gif", 7), ("frames", 3)],
)
def test_a_killed_film_goes_on_at_the_frame_and_is_the_same(tmp_path, monkeypatch, name, at):
    monkeypatch.setattr(pieces, "_LENGTH", 4)
    pictures, settings, target = clips.frames(10), {"style": "ink"}, tmp_path / name
    whole = tmp_path / name.replace("out", "whole").replace("frames", "whole")
    write(whole, pictures)
    with pytest.raises(Killed):
        killed(target, pictures[:at], settings)
    folder = tmp_path / f"{name}.unfinished"
    assert folder.is_dir()
    assert not target.exists()
    with writing.opened(target, FILM, settings=settings) as out:
        assert out.done == at
        for n in range(at, 10):
            out.write(Frame(pictures[n], n / RATE, 1 / RATE))
    assert names(tmp_path) == sorted([name, whole.name])
    if name == "frames":
        assert [p.read_bytes() for p in sorted(target.iterdir())] == [
            p.read_bytes() for p in sorted(whole.iterdir())
        ]
    else:
        assert target.read_bytes() == whole.read_bytes()


def test_transparency_outlives_a_kill(tmp_path):
    film = replace(FILM, alpha=True)
    half = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    pictures = [np.dstack([rgb, half])[::-1] for rgb in clips.frames(3)]  # strided views of these

    def go(name, count):
        with writing.opened(tmp_path / name, film, settings={}) as out:
            for n in range(out.done, count):
                picture = pictures[n]
                out.write(Frame(picture[..., :3], n / RATE, 1 / RATE, picture[..., 3]))
            if count < 3:
                raise Killed

    go("whole.mov", 3)
    with pytest.raises(Killed):
        go("a.mov", 2)
    go("a.mov", 3)
    assert (tmp_path / "a.mov").read_bytes() == (tmp_path / "whole.mov").read_bytes()


def test_frames_that_were_written_by_halves_are_written_again(tmp_path):
    pictures = clips.frames(5)
    with pytest.raises(Killed):
        killed(tmp_path / "a.mp4", pictures, {})
    single = sorted((tmp_path / "a.mp4.unfinished").glob("*.safetensors"))[3]
    single.write_bytes(single.read_bytes()[:100])
    with writing.opened(tmp_path / "a.mp4", FILM, settings={}) as out:
        assert out.done == 3
        for n in (3, 4):
            out.write(Frame(pictures[n], n / RATE, 1 / RATE))
    assert len(clips.read(tmp_path / "a.mp4")) == 5


def test_frames_of_other_settings_are_not_gone_on_with(tmp_path):
    path, picture = tmp_path / "a.mp4", clips.frames(1)
    with pytest.raises(Killed):
        killed(path, picture, {"style": "ink"})
    said = sentence(killed, path, picture, {"style": "night"})
    assert "frames of this film with other settings: ask for the same again" in said
    for _ in range(2):  # anew, and then on
        with pytest.raises(Killed):
            killed(path, picture, {"style": "night"}, overwrite=True)
    with writing.opened(path, FILM, settings={"style": "night"}) as out:
        assert out.done == 2
    assert len(clips.read(path)) == 2


def test_a_film_is_drawn_by_one_at_a_time(tmp_path):
    pictures = clips.frames(2)
    with writing.opened(tmp_path / "a.mp4", FILM, settings={}) as out:
        said = sentence(killed, tmp_path / "a.mp4", pictures, {})
        assert "is being drawn already: wait until that ends" in said
        for n, rgb in enumerate(pictures):
            out.write(Frame(rgb, n / RATE, 1 / RATE))
    assert names(tmp_path) == ["a.mp4"]


def test_folders_of_others_are_left_alone(tmp_path):
    folder = tmp_path / "a.mp4.unfinished"
    folder.mkdir()
    (folder / "thesis.txt").write_text("all my work")
    assert "is not of this film" in sentence(write, tmp_path / "a.mp4", clips.frames(1))
    assert names(folder) == ["thesis.txt"]


@pytest.mark.parametrize("error", [FileNotFoundError, KeyboardInterrupt])
def test_errors_between_two_frames_are_not_taken_for_the_films(tmp_path, error):
    def go():
        with writing.opened(tmp_path / "a.mp4", FILM) as out:
            out.write(Frame(clips.frames(1)[0], Fraction(0), 1 / RATE))
            raise error("mine")

    with pytest.raises(error, match="mine"):
        go()
    assert names(tmp_path) == []


def test_ctrl_c_tells_what_is_kept(tmp_path):
    def go():
        with contextlib.suppress(KeyboardInterrupt), writing.opened(path, FILM, settings={}):
            raise KeyboardInterrupt

    path = tmp_path / "a.mp4"
    with pytest.warns(UserWarning, match=r"stays in .*a.mp4.unfinished': the same command goes on"):
        go()


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.gif", "frames"])
def test_a_full_disk_in_the_middle_loses_nothing(tmp_path, rng, monkeypatch, name):
    monkeypatch.setattr(pieces, "_LENGTH", 4)
    pictures = list(rng.integers(0, 255, (10, 48, 64, 3)).astype(np.uint8))

    def go(settings):
        with writing.opened(tmp_path / name, FILM, settings=settings) as out:
            for n in range(out.done, 10):
                out.write(Frame(pictures[n], n / RATE, 1 / RATE))

    real = os.replace

    def full(source, target):
        full.left -= 1
        if full.left == -1:  # once; then there is room again
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    for left in (0, 3, 2, 4):  # later each time
        full.left = left
        said = sentence(go, {"a": 1})
        assert "cannot be written (No space left on device): make room" in said
        assert not (tmp_path / name).exists()
    full.left = -2
    go({"a": 1})
    frames = list(reading.frames(reading.probe(tmp_path / name), 48, 64))
    for frame, picture in zip(frames, pictures, strict=True):
        likeness = np.corrcoef(frame.rgb.ravel(), picture.ravel())[0, 1]
        assert likeness > 0.3, "every frame at its place"


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_what_ffmpeg_cannot_write_is_told(tmp_path, rng):
    pictures = list(rng.integers(0, 255, (20, 48, 64, 3)).astype(np.uint8))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        said = sentence(write, tmp_path / "out.mp4", pictures)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written (File too large)" in said
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.avi", "must end in one of .mp4, .mov, .mkv, .webm, .gif, or have no suffix"),
        ("nowhere/out.mp4", "folder 'nowhere' for the output does not exist"),
        ("there.mp4", "exists already"),
        ("file", "exists already"),
        ("empty.mp4", "would have no frames"),
        ("a" * 300 + ".mp4", "(File name too long)"),
        ("a" * 250 + ".mp4", "(File name too long)"),
    ],
)
def test_bad_places_get_one_sentence(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    for file in ("there.mp4", "file"):
        (tmp_path / file).write_text("something")

    def go():
        with writing.opened(name, FILM):
            pass

    assert said in sentence(go)
    assert names(tmp_path) == ["file", "there.mp4"]


@pytest.mark.parametrize("name", ["in.mkv", "in.ts"])
def test_films_cut_short_or_late_keep_sound_beside_the_picture(tmp_path, name):
    """Half of a file; and a transport stream, whose times begin at 1.4 seconds."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (32, 48, 3)).astype(np.uint8) for _ in range(25)]
    clips.write(tmp_path / name, pictures, sound="aac")
    data = (tmp_path / name).read_bytes()
    if name == "in.mkv":
        (tmp_path / name).write_bytes(data[: len(data) // 3])
        with pytest.warns(UserWarning, match="is cut short"):
            copy(tmp_path / name, tmp_path / "out.mp4")
    else:
        copy(tmp_path / name, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as film:
        starts = [float(stream.start_time * stream.time_base) for stream in film.streams]
        kinds = [stream.type for stream in film.streams]
    assert kinds == ["video", "audio"]
    assert starts == pytest.approx([0, 0], abs=0.03)

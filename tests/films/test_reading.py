"""Films are read upright, with their colours and times; what cannot be read is told."""

import warnings
from fractions import Fraction

import av
import clips
import numpy as np
import pytest
from PIL import Image
from refusals import sentence

from nst_jax.films import color, reading

EXACT = {"crf": "1", "bf": "0"}


def read(path, **options):
    film = reading.probe(path, **options)
    return film, list(reading.frames(film, film.height, film.width))


def flat(levels, height=32, width=48):
    """Raw 4:2:0 planes of one colour."""
    y, u, v = levels
    planes = np.empty((height * 3 // 2, width), np.uint16 if max(levels) > 255 else np.uint8)
    planes[:height], planes[height : height * 5 // 4], planes[height * 5 // 4 :] = y, u, v
    return planes


def test_frames_have_the_films_colours_and_times(tmp_path):
    pictures, times = clips.frames(6), [0, 512, 1000, 3000, 3512, 4024]
    clips.write(tmp_path / "in.mp4", pictures, times, options=EXACT)
    film, frames = read(tmp_path / "in.mp4")
    assert (film.height, film.width, film.count, film.alpha, film.hdr) == (48, 64, 6, False, False)
    assert [frame.time for frame in frames] == [t * clips.TICK for t in times]
    assert all(frame.duration > 0 for frame in frames)
    for picture, frame in zip(pictures, frames, strict=True):
        assert np.abs(frame.rgb.astype(float) - picture).mean() < 1.5
    skipped = list(reading.frames(film, 24, 32, skip=4))
    assert [frame.time for frame in skipped] == [t * clips.TICK for t in times[4:]]
    small = np.asarray(Image.fromarray(pictures[4]).resize((32, 24), Image.Resampling.BICUBIC))
    assert np.abs(skipped[0].rgb.astype(float) - small).mean() < 2


@pytest.mark.parametrize(
    ("turn", "upright"),
    [
        ((90,), lambda p: np.rot90(p)),
        ((180,), lambda p: np.rot90(p, 2)),
        ((-90,), lambda p: np.rot90(p, -1)),
        ((0, True), lambda p: p[:, ::-1]),
    ],
    ids=["90", "180", "270", "mirrored"],
)
def test_rotated_films_stand_upright(tmp_path, turn, upright):
    pictures = clips.frames(1)
    clips.write(tmp_path / "in.mp4", pictures, turn=turn, shape=Fraction(4, 3), options=EXACT)
    film, (frame,) = read(tmp_path / "in.mp4")
    wanted = upright(pictures[0])
    assert (film.height, film.width) == wanted.shape[:2]
    assert film.pixel == (Fraction(3, 4) if wanted.shape[0] > wanted.shape[1] else Fraction(4, 3))
    assert np.abs(frame.rgb.astype(float) - wanted).mean() < 2


@pytest.mark.parametrize(
    ("height", "tags", "pixels", "levels", "wanted"),
    [
        # Red: the numbers of BT.601 and BT.709 for limited and full range.
        (32, (2, 2, 2, 0), "yuv420p", (81, 90, 240), (255, 0, 0)),
        (580, (2, 2, 2, 0), "yuv420p", (63, 102, 240), (255, 0, 0)),
        (32, (1, 1, 1, 1), "yuv420p", (63, 102, 240), (255, 0, 0)),
        (32, (1, 1, 1, 2), "yuv420p", (54, 99, 255), (255, 0, 0)),
        (32, (6, 6, 6, 1), "yuv420p", (81, 90, 240), (255, 0, 0)),
        (32, (1, 1, 1, 1), "yuv420p10le", (252, 408, 960), (255, 0, 0)),
    ],
    ids=["sd", "hd", "709", "full", "601", "10 bits"],
)
def test_the_matrix_is_the_tags_or_what_players_assume(
    tmp_path, height, tags, pixels, levels, wanted
):
    planes = flat(levels, height)
    planes = planes.astype(np.uint16 if "10" in pixels else np.uint8)
    clips.write(tmp_path / "in.mkv", [planes], tags=tags, pixels=pixels, raw=True)
    _, (frame,) = read(tmp_path / "in.mkv")
    assert np.abs(frame.rgb.astype(int) - wanted).max() <= 3


@pytest.mark.parametrize(
    ("transfer", "signal", "wanted"),
    [
        # cd/m2 by SMPTE ST 2084, and what BT.1886 encodes them to with white at 203.
        (16, 0.4401, (50 / 203) ** (1 / 2.4)),
        (16, 0.7518, 1.0),  # 1,000 cd/m2, the peak
        (18, 0.5, (1000 * (1 / 12) ** 1.2 / 203) ** (1 / 2.4)),
        (18, 1.0, 1.0),
    ],
)
def test_hdr_is_told_and_mapped(tmp_path, transfer, signal, wanted):
    levels = (round(64 + 876 * signal), 512, 512)
    path, tags = tmp_path / "in.mkv", (9, 9, transfer, 1)
    clips.write(path, [flat(levels)], tags=tags, pixels="yuv420p10le", raw=True)
    with pytest.warns(UserWarning, match=r"is HDR \((PQ|HLG)\): it is mapped"):
        film, (frame,) = read(path)
    assert film.hdr
    assert (film.primaries, film.transfer) == (1, 1)
    np.testing.assert_allclose(frame.rgb[::8, ::8] / 255, wanted, atol=0.012)


def test_the_curve_of_hdr_is_smooth_and_keeps_order():
    light = np.geomspace(0.1, 2000, 400)
    signal = np.rint(color.to_pq(light) * 65535).astype(np.uint16)
    np.testing.assert_allclose(color.from_pq(color.to_pq(light)), light, rtol=1e-9)
    grey = color.to_sdr(np.repeat(signal[None, :, None], 3, 2), color.PQ)[0].astype(int)
    assert (np.diff(grey, axis=0) >= 0).all()
    assert np.abs(np.diff(grey, axis=0)).max() <= 5
    assert np.ptp(grey, axis=1).max() <= 1, "grey stays grey"


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("in.webm", "libvpx-vp9", "yuva420p"), ("in.mov", "prores_ks", "yuva444p10le")],
)
def test_transparency_is_read(tmp_path, name, codec, pixels):
    pictures = [
        np.dstack([p, np.full(p.shape[:2], 30 + 90 * n, np.uint8)])
        for n, p in enumerate(clips.frames(3))
    ]
    options = {"auto-alt-ref": "0"} if name == "in.webm" else {"profile": "4444"}
    clips.write(tmp_path / name, pictures, codec=codec, pixels=pixels, options=options)
    film, frames = read(tmp_path / name)
    assert film.alpha
    for wanted, frame in zip(pictures, frames, strict=True):
        np.testing.assert_allclose(frame.alpha, wanted[..., 3], atol=3)
        assert np.abs(frame.rgb.astype(float) - wanted[..., :3]).mean() < 6


@pytest.mark.parametrize("pixels", ["gray", "rgb24", "pal8"])
def test_pictures_in_films_have_their_full_range(tmp_path, pixels):
    grey = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    frame = av.VideoFrame.from_ndarray(np.dstack([grey] * 3), format="rgb24")
    if pixels == "pal8":
        table = np.array([[255, n, n, n] for n in range(256)], np.uint8)
        frame = av.VideoFrame.from_ndarray((grey, table), format="pal8")
    elif pixels == "gray":
        frame = av.VideoFrame.from_ndarray(grey, format="gray")
    with av.open(str(tmp_path / "in.mov"), "w") as out:
        stream = out.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    film, (found,) = read(tmp_path / "in.mov")
    assert not film.alpha
    assert np.abs(found.rgb.astype(int) - grey[..., None]).max() <= 1


def test_gifs_are_read_with_their_times(tmp_path):
    pictures = [Image.fromarray(p).quantize(64) for p in clips.frames(4)]
    pictures[0].save(
        tmp_path / "in.gif", save_all=True, append_images=pictures[1:], duration=[40, 100, 250, 70]
    )
    film, frames = read(tmp_path / "in.gif")
    assert not film.alpha
    assert [float(frame.time) for frame in frames] == pytest.approx([0, 0.04, 0.14, 0.39])
    assert float(frames[-1].duration) == pytest.approx(0.07)
    for wanted, frame in zip(pictures, frames, strict=True):
        np.testing.assert_array_equal(frame.rgb, np.asarray(wanted.convert("RGB")))


def test_folders_are_read_in_the_order_of_their_numbers(tmp_path):
    pictures = clips.frames(11, 20, 30)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"shot{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    film, frames = read(tmp_path, rate=12.5)
    assert film.rate == Fraction(25, 2)
    assert film.count == 11
    assert [frame.time for frame in frames] == [Fraction(2 * n, 25) for n in range(11)]
    np.testing.assert_array_equal([frame.rgb for frame in frames], pictures)
    half = np.full((20, 30, 1), 128, np.uint8)
    Image.fromarray(np.dstack([pictures[5], half])).save(tmp_path / "shot5.png")
    film, frames = read(tmp_path)
    assert film.alpha, "one of them has it"
    assert [int(frame.alpha.mean()) for frame in frames] == [255] * 5 + [128] + [255] * 5
    Image.fromarray(pictures[0][:10]).save(tmp_path / "shot3.png")
    assert "30x10 pixels, but the film's first one is 30x20" in sentence(read, tmp_path)


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4"])
def test_films_cut_short_are_read_as_far_as_they_go_with_a_warning(tmp_path, name):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (32, 48, 3)).astype(np.uint8) for _ in range(50)]
    clips.write(tmp_path / "whole.mkv", pictures)
    if name == "in.mp4":  # the index at the start, as films on the web have it
        _remuxed(tmp_path / "whole.mkv", tmp_path / "whole.mp4")
    data = (tmp_path / "whole").with_suffix(name[2:]).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match=r"is cut short: [01]\.\d of 2\.0 seconds can be read"):
        _, frames = read(tmp_path / name)
    assert 20 <= len(frames) <= 30
    with warnings.catch_warnings(action="error"):
        assert len(read((tmp_path / "whole").with_suffix(name[2:]))[1]) == 50


def _remuxed(source, target):
    with (
        av.open(str(source)) as film,
        av.open(str(target), "w", options={"movflags": "+faststart"}) as out,
    ):
        stream = out.add_stream_from_template(film.streams.video[0], opaque=True)
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)


def test_damaged_films_are_read_around_the_damage(tmp_path):
    clips.write(tmp_path / "in.mov", clips.frames(10), codec="png", pixels="rgb24")
    data = bytearray((tmp_path / "in.mov").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    (tmp_path / "in.mov").write_bytes(data)
    with pytest.warns(UserWarning, match="is damaged: some frames are missing or wrong"):
        assert len(read(tmp_path / "in.mov")[1]) >= 5


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a\0b.mp4", {}, "does not exist: check the path"),
        ("a" * 300 + ".mp4", {}, "does not exist: check the path"),
        ("no.mp4", {}, "The film 'no.mp4' does not exist: check the path"),
        ("text.mp4", {}, "The film 'text.mp4' cannot be read (Invalid data"),
        ("sound.wav", {}, "The file 'sound.wav' holds no film"),
        ("empty", {}, "The folder 'empty' holds no pictures"),
        ("film.mkv", {"rate": 12.0}, "'film.mkv' has its own frame rate"),
        ("shots", {"rate": -1.0}, "The rate is -1.0, but must be frames per second"),
    ],
)
def test_what_is_no_film_gets_one_sentence(tmp_path, monkeypatch, name, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "shots").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "shots" / "1.png")
    (tmp_path / "text.mp4").write_text("no film at all, only words")
    clips.write(tmp_path / "film.mkv", clips.frames(1))
    with av.open("sound.wav", "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
    assert said in sentence(reading.probe, name, **options)

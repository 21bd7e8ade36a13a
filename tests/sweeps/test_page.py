"""The page of a sweep, and the command line of each lane."""

import base64
import dataclasses
import html.parser
import io
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

import nst_jax as nst
from nst_jax.cli import flags, main
from nst_jax.pictures import reading
from nst_jax.stylizing.command import command
from nst_jax.stylizing.presets import resolve
from nst_jax.stylizing.result import Stylization
from nst_jax.sweeps import page
from nst_jax.sweeps.result import Sweep

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
EVIL = '<b id="evil">&amp;</script><script>document.title="evil"</script>{{script}}'


def result(seed=0, *, sources=None, shape=(24, 32), **options) -> Stylization:
    """A result as a run would leave it, without the run."""
    settings = nst.Settings(network="vgg19-lite", size=shape[1], seed=seed, **options)
    rows = dict.fromkeys(("total", "content", "style", "tv"), np.array([3.0, 2 + seed], np.float32))
    return Stylization(
        image=tiny.picture(*shape, seed + 1) / np.float32(255),
        losses=rows,
        evaluations=np.array([1, 2], np.int32),
        status="finished",
        restarts=0,
        compile_seconds=0.0,
        run_seconds=0.5,
        settings=settings,
        network="vgg19-lite",
        network_digest="sha256:0",
        sources=sources or {"content": "cat.png", "style": "ink.png"},
    )


def made(names=("a.png", EVIL), missing=()) -> Sweep:
    """A sweep of 2 styles, 2 weights and 2 seeds."""
    points = [
        {"style": name, "style_weight": weight, "seed": seed}
        for name in names
        for weight in (1e2, 1e4)
        for seed in (0, 1)
    ]
    found = {
        i: result(
            point["seed"],
            style_weight=point["style_weight"],
            sources={"content": "a cat's.png", "style": point["style"]},
        )
        for i, point in enumerate(points)
        if i not in missing
    }
    return dataclasses.replace(Sweep.of(points, "product"), results=found)


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, and the text of scripts and other elements."""

    def __init__(self, text: str):
        super().__init__()
        self.found, self.texts, self.open = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "link", "br", "hr"):
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        key = self.open[-1] if self.open else None
        self.texts[key] = self.texts.get(key, "") + data


def read(folder: Path) -> tuple[Elements, dict]:
    elements = Elements((folder / "index.html").read_text("utf-8"))
    return elements, json.loads(elements.texts["script", "data"])


def test_the_page_holds_the_table_the_pictures_and_needs_nothing_else(tmp_path):
    sweep = made()
    elements, data = read(sweep.save(tmp_path / "out"))
    assert [lane["row"] for lane in data["lanes"]] == sweep.table()
    assert [row["style_axis"] for row in sweep.table()[::4]] == ["a.png", EVIL]
    assert data["axes"] == [
        {"name": "style", "values": ["a.png", EVIL]},
        {"name": "style_weight", "values": ["100", "10000"]},
        {"name": "seed", "values": ["0", "1"]},
    ]
    for number, (lane, kept) in enumerate(zip(data["lanes"], sweep, strict=True)):
        assert lane["values"] == [number // 4, number // 2 % 2, number % 2]
        where = tmp_path / "out" / lane["picture"]
        np.testing.assert_allclose(reading.read(where).rgb, kept.image, atol=0.51 / 255)
        encoded = lane["preview"].removeprefix("data:image/jpeg;base64,")
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as preview:
            assert (preview.format, preview.size) == ("JPEG", (lane["width"], lane["height"]))
            assert np.abs(np.asarray(preview) / 255 - kept.image).mean() < 0.05
        assert data["settings"] | lane["settings"] == kept.settings.to_dict()
    assert [dict(a).get("id") for tag, a in elements.found if tag == "script"] == ["data", None]
    assert not any(tag in ("link", "iframe", "object", "base") for tag, _ in elements.found)
    for _, attributes in elements.found:
        assert not {"src", "href", "srcset", "onclick", "onload"} & attributes.keys()
    policy = next(a["content"] for _, a in elements.found if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy


def test_names_do_not_become_html(tmp_path):
    text = (made().save(tmp_path / "out") / "index.html").read_text("utf-8")
    assert "evil" in text
    assert not any("evil" in str(attributes) for _, attributes in Elements(text).found)
    assert 'document.title="evil"' not in text
    assert text.count("</script>") == 2


def test_missing_lanes_are_kept_as_places(tmp_path):
    sweep = made(missing=(0, 5))
    _, data = read(sweep.save(tmp_path / "out"))
    assert [i for i, lane in enumerate(data["lanes"]) if "picture" not in lane] == [0, 5]
    assert data["lanes"][5] == {"values": [1, 0, 1]}
    assert [lane["row"] for lane in data["lanes"] if "row" in lane] == sweep.table()


def test_previews_stay_below_the_limit(rng):
    pictures = {i: rng.random((100, 150, 3), np.float32) for i in range(6)}
    sides = []
    for limit in (10**6, 60_000, 20_000):
        found = page.previews(pictures, limit)
        assert sum(map(len, found.values())) <= limit
        with Image.open(io.BytesIO(base64.b64decode(found[0].partition(",")[2]))) as preview:
            sides.append(preview.width)
    assert sides[0] == 150 > sides[1] > sides[2]
    large = {0: np.zeros((600, 1200, 3), np.float32)}
    with Image.open(io.BytesIO(base64.b64decode(page.previews(large)[0].partition(",")[2]))) as one:
        assert one.size == (512, 256)


def test_transparent_parts_are_white_in_the_preview():
    clear = dataclasses.replace(result(), alpha=np.zeros((24, 32), np.float32))
    np.testing.assert_array_equal(page._on_white(clear), np.ones((24, 32, 3), np.float32))


def given(line: str):
    """What the command's own parser reads in a line."""
    return main.parse(["nst-jax", *shlex.split(line)[1:]])


def test_the_command_of_a_lane_gives_its_settings_and_files(tmp_path):
    sweep = made()
    _, data = read(sweep.save(tmp_path / "out"))
    for lane, kept in zip(data["lanes"], sweep, strict=True):
        args = given(lane["command"])
        assert (args.content, [*args.style]) == ("a cat's.png", [kept.sources["style"]])
        assert args.output == lane["picture"]
        assert resolve(**flags.given_settings(args)) == kept.settings
        assert lane["missing"] == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        *({"preset": preset} for preset in nst.PRESETS),
        {"size": None, "min_size": None, "draft": False, "iterations": 1_234_567, "seconds": 0.1},
        {"style_weight": 1 / 3, "tv_weight": 1e-30, "learning_rate": 1e-12, "terms": "range:2"},
        {
            "content_layers": "",
            "content_weight": 0,
            "style_layers": {"relu1_1": 1 / 7, "relu2_1": 1},
        },
        {"style_blend": (1 / 3, 2.0), "style_scale": (0.5,), "region_styles": {"-a b:": 2, "1": 0}},
        {"init": "noise", "remat": True, "normalize_gradients": True, "statistic": "moments"},
        {"optimizer": "sgd", "learning_rate_schedule": "linear:1:0.1", "seed": 2**32 - 1},
        {"init": "-start it's.png", "network": "-my.safetensors"},
    ],
    ids=str,
)
def test_any_settings_can_be_said(options):
    settings = resolve(**{"network": "vgg19-lite"} | options)
    line, missing = command(settings, "vgg19-lite", {"content": "c.png", "style": "s.png"})
    again = resolve(**flags.given_settings(given(line)))
    names = {
        k: v.replace("./-", "-") for k, v in (("init", again.init), ("network", again.network))
    }
    assert dataclasses.replace(again, **names) == settings
    assert missing == ()


def test_a_preset_of_another_version_is_spelled_out():
    settings = nst.Settings(preset="of-old", network="vgg19-lite", size=64)
    line, missing = command(settings, "vgg19-lite", {"content": "c.png", "style": "s.png"})
    again = resolve(**flags.given_settings(given(line)))
    assert dataclasses.replace(again, preset="of-old") == settings
    assert missing == ()


def test_the_command_names_pictures_and_maps():
    sources = {
        "content": "-c.png",
        "style": ["none", "b c.png"],
        "content_regions": ["sky.png", "sea.png"],
        "style_regions": [None, "map.png"],
        "keep": "face.png",
    }
    args = given(command(nst.Settings(), "vgg19", sources, "-o.png").line)
    assert (args.content, args.style, args.output) == (
        "./-c.png",
        ["./none", "b c.png"],
        "./-o.png",
    )
    assert (args.content_regions, args.style_regions) == ("sky.png,sea.png", "none,map.png")
    assert (args.keep, args.network) == ("face.png", "vgg19")
    args = given(command(nst.Settings(), "vgg19", {"content_regions": "m.png"}).line)
    assert (args.content, args.style) == ("none", ["STYLE"])


class Peaks(nst.Statistic):
    name = "peaks"

    def of(self, features, weights, directions):
        return features.max((0, 1))

    def loss(self, found, target, normalization, width):
        return ((found - target) ** 2).sum() / width


def test_what_a_command_cannot_say_is_told():
    settings = resolve(statistic=Peaks(), init="picture", network="my own", style_weight=7)
    sources = {"style": "s.png", "keep": "a,b.png"}
    line, missing = command(settings, "my own", sources)
    assert missing == ("content", "keep", "network", "statistic", "init")
    args = given(line)
    assert flags.given_settings(args) == {"style_weight": 7}
    assert args.content == "CONTENT"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")
@pytest.mark.parametrize("there", [True, False], ids=["with-files", "alone"])
def test_chromium_shows_two_lanes_side_by_side(tmp_path, there):
    folder = made(missing=(1,)).save(tmp_path / "out")
    if not there:
        folder = (tmp_path / "mailed").absolute()
        folder.mkdir()
        shutil.copy(tmp_path / "out" / "index.html", folder)
    show = "pick.style=1&columns=style_weight&rows=seed&lane=6&with=4&mode=side"
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000")
    user, address = f"--user-data-dir={tmp_path}/user", (folder / "index.html").as_uri()
    run = subprocess.run(
        [str(CHROMIUM), *options, user, "--dump-dom", f"{address}#{show}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    seen = Elements(run.stdout)
    assert ("dialog", "open") in [(tag, *({"open"} & a.keys())) for tag, a in seen.found]
    assert seen.texts["h1", "title"] == "Sweep: 8 lanes"
    assert seen.texts["h2", "viewer-title"] == f"Lane 6: style {EVIL}, style_weight 10000, seed 0"
    assert not any(a.get("id") == "evil" for _, a in seen.found)
    alts = [a.get("alt") for tag, a in seen.found if tag == "img" and "data-lane" in a]
    assert alts == [
        f"Lane {n}: style {EVIL}, style_weight {w}, seed 0" for n, w in ((6, 10000), (4, 100))
    ]
    origins = {a["data-from"] for _, a in seen.found if "data-from" in a}
    assert origins == ({"file"} if there else {"lost"})
    points = [a for tag, a in seen.found if "data-lane" in a and tag == "g"]
    assert len(points) == 7
    assert sum("pale" in a["class"] for a in points) == 3

"""Sweeps: lanes are the stylizations that they would be alone; axes, folders, bad input."""

import csv
import dataclasses
import errno
import json
import re
import signal
import threading
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from PIL import Image

import nst_jax as nst
from nst_jax import devices
from nst_jax.pictures import reading
from nst_jax.solvers import lanes
from nst_jax.stylizing import memory
from nst_jax.stylizing.settings import TRACED
from nst_jax.sweeps import batches, together
from nst_jax.sweeps.result import Sweep

NETWORK = tiny.network()
CONTENT, STYLE = tiny.picture(24, 32), tiny.picture(32, 32, 2)
FAST = {
    "content_layers": "relu1_1",
    "style_layers": "relu1_1",
    "iterations": 6,
    "size": None,
    "optimizer": "adam",
    "history": 4,
    "progress": False,
}


def sweep(*, content=CONTENT, style=STYLE, **options):
    content = {} if "contents" in options else {"content": content}
    style = {} if "styles" in options else {"style": style}
    return nst.sweep(**content, **style, **{"network": NETWORK} | FAST | options)


def stylize(content=CONTENT, style=STYLE, **options):
    return nst.stylize(content, style, **{"network": NETWORK} | FAST | options)


@pytest.fixture
def programs(monkeypatch):
    """The widths of the batches that run, and how often a program was traced."""
    seen, traced = [], []
    advance = lanes.solver.advance

    def counting(*args, **options):
        traced.append(None)
        return advance(*args, **options)

    def run_lanes(*args, **options):
        seen.append(len(args[2]))
        return run(*args, **options)

    run = together.loop.run_lanes
    monkeypatch.setattr(together.loop, "run_lanes", run_lanes)
    monkeypatch.setattr(lanes.solver, "advance", counting)
    lanes.advance.clear_cache()
    return seen, traced


def test_lanes_are_the_stylizations_that_they_would_be_alone(programs):
    found = sweep(style_weight=[1e2, 1e3, 1e4], seed=[0, 1], init="noise", in_flight=4)
    assert programs == ([3, 3], [None])
    assert [(p["style_weight"], p["seed"]) for p in found.points] == [
        (w, s) for w in (1e2, 1e3, 1e4) for s in (0, 1)
    ]
    for point, result in zip(found.points, found, strict=True):
        alone = stylize(init="noise", **point)
        assert result.settings == alone.settings
        assert (result.status, result.network_digest) == ("finished", alone.network_digest)
        np.testing.assert_array_equal(result.evaluations, alone.evaluations)
        for term, values in alone.losses.items():
            np.testing.assert_allclose(result.losses[term], values, rtol=1e-3)
        np.testing.assert_allclose(result.image, alone.image, atol=2e-3)


def test_one_lane_in_flight_is_stylize_itself_to_the_bit(programs):
    found = sweep(content_weight=[1, 2], in_flight=1)
    assert programs[0] == []
    for point, result in zip(found.points, found, strict=True):
        np.testing.assert_array_equal(result.image, stylize(**point).image)


def test_contents_styles_layers_and_starts_are_data(programs):
    other = tiny.picture(24, 32, 5)
    found = sweep(
        contents={"one": CONTENT, "other": other},
        styles={"a": STYLE, "b": tiny.picture(28, 36, 3)},
        style_layers=[{"relu1_1": 1, "relu2_1": 2}, {"relu1_1": 3, "relu2_1": 1}],
        in_flight=8,
    )
    assert programs == ([8], [None])
    alone = stylize(other, tiny.picture(28, 36, 3), style_layers="relu1_1:3,relu2_1")
    np.testing.assert_allclose(found[7].image, alone.image, atol=2e-3)
    one = found.at(content="one", style="a", style_layers={"relu1_1": 1, "relu2_1": 2})
    np.testing.assert_allclose(
        one.image, stylize(style_layers="relu1_1,relu2_1:2").image, atol=2e-3
    )


def test_blends_are_data(programs):
    two = [STYLE, tiny.picture(28, 36, 3)]
    found = sweep(style=two, style_blend=[[1, 0], [0.5, 0.5]], in_flight=2)
    assert programs == ([2], [None])
    alone = stylize(style=two, style_blend=(0.5, 0.5))
    np.testing.assert_allclose(found[1].losses["total"], alone.losses["total"], rtol=1e-3)


def test_static_options_part_the_sweep_into_groups(programs):
    found = sweep(optimizer=["adam", "sgd"], style_weight=[1, 2], learning_rate=1e-3, in_flight=2)
    assert programs == ([2, 2], [None, None])
    assert [r.settings.optimizer for r in found] == ["adam", "adam", "sgd", "sgd"]


class Whole(nst.Term):
    name = "whole"

    def loss(self, seen, target):
        return seen.picture.mean()


def test_every_traced_option_leaves_the_program_alone():
    values = {
        "preset": "gatys",
        "content_weight": 2,
        "content_layers": {"relu4_2": 3.0},
        "style_layers": dict.fromkeys(nst.PRESETS["default"].style_layers, 0.5),
        "style_blend": (0.3, 0.7),
        "init": "noise",
    }
    term = Whole()
    values |= {"terms": {term: 3}, "range_weight": 3}
    values |= {"temporal_weight": 3, "similarity_weight": 3}
    plain = nst.Settings(range_weight=2, temporal_weight=2, similarity_weight=2, terms={term: 2})
    for name in TRACED:
        changed = dataclasses.replace(plain, **{name: values.get(name, 1)})
        assert changed != plain
        assert changed.program() == plain.program(), name
    left_out = dataclasses.replace(plain, style_layers={**plain.style_layers, "relu1_1": 0})
    assert left_out.program() != plain.program()
    assert dataclasses.replace(plain, pooling="average").program() != plain.program()


def test_a_lane_that_diverges_is_told_and_changes_no_other():
    options = {"optimizer": "lbfgs", "iterations": 40, "in_flight": 3}
    with pytest.warns(RuntimeWarning, match=r"^Lane 1 \(learning_rate 1e\+20\): at evaluation"):
        found = sweep(learning_rate=[1e-4, 1e20, 1e-3], **options)
    assert [r.status for r in found] == ["finished", "diverged", "finished"]
    calm = sweep(learning_rate=[1e-4, 1e-5, 1e-3], **options)
    for i in (0, 2):
        np.testing.assert_array_equal(found[i].image, calm[i].image)
    assert np.isfinite(found[1].image).all()


def test_zip_goes_side_by_side():
    found = sweep(style_weight=[1, 2, 2], seed=[3, 3, 4], init="noise", how="zip", in_flight=3)
    assert [tuple(p.values()) for p in found.points] == [(1, 3), (2, 3), (2, 4)]
    assert found.axes == {"style_weight": (1, 2), "seed": (3, 4)}


def test_lanes_in_flight_follow_memory_and_pixels(monkeypatch):
    def chosen(pixels, free):
        monkeypatch.setattr(devices, "available", lambda: free)
        size = memory.Size(pixels, pixels)
        return memory.lanes_in_flight(nst.Settings(), NETWORK, ("relu5_1",), size)

    assert chosen(512, 10**12) == 1
    assert chosen(32, 10**12) > 4
    assert chosen(32, 10**12) > chosen(48, 10**12) >= 1
    assert chosen(16, 10**6) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert chosen(512, 10**12) == 16
    one = memory.estimate(nst.Settings(), NETWORK, ("relu5_1",), memory.Size(512, 512))
    assert chosen(512, 6 * one) == 4


@pytest.mark.parametrize(("count", "in_flight", "devices"), [(64, 24, 1), (7, 2, 3), (5, 8, 2)])
def test_batches_are_alike_with_little_padding(count, in_flight, devices):
    width = batches._width(count, in_flight, devices)
    rounds = -(-count // width)
    assert width % devices == 0
    assert width <= in_flight * devices
    assert rounds == -(-count // (in_flight * devices))
    assert rounds * width - count < rounds * devices


def test_out_of_memory_goes_on_with_fewer(monkeypatch):
    run = together.loop.run_lanes

    def run_lanes(*args, **options):
        if len(args[2]) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return run(*args, **options)

    monkeypatch.setattr(together.loop, "run_lanes", run_lanes)
    with pytest.warns(RuntimeWarning, match="going on with 2 lanes at once"):
        found = sweep(style_weight=[1, 2, 3, 4], in_flight=4)
    assert len(found) == 4


@pytest.fixture(scope="module")
def found():
    return sweep(style_weight=[10, 100, 1000], tv_weight=[0, 1], in_flight=6)


def test_a_sweep_is_a_sequence_indexed_by_setting(found):
    assert len(found) == 6
    assert found[3] is found.at(style_weight=100, tv_weight=1)
    assert [r.settings.tv_weight for r in found.where(style_weight=1000)] == [0, 1]
    assert repr(found) == "Sweep(style_weight: 3, tv_weight: 2; 6 of 6 lanes)"
    for wrong, said in (
        ({"style_wait": 1}, "There is no axis 'style_wait'. Did you mean 'style_weight'?"),
        ({"style_weight": 5}, "The axis style_weight has no value 5: it has 10, 100, 1000."),
        ({"style_weight": 10}, "2 lanes have style_weight 10: say which tv_weight too"),
    ):
        with pytest.raises(nst.InputError, match=re.escape(said)):
            found.at(**wrong)


def test_the_table_has_every_lane_and_compares_across_weights(found):
    table = found.table()
    assert [row["style_weight"] for row in table] == [10, 10, 100, 100, 1000, 1000]
    for row, result in zip(table, found, strict=True):
        assert row["total"] == pytest.approx(row["content"] + row["style"] + row["tv"], rel=1e-5)
        assert row["style_unweighted"] == pytest.approx(row["style"] / row["style_weight"])
        assert row["total"] == result.losses["total"].min()


def test_the_plot_is_the_trade_off_curve(found):
    import matplotlib as mpl

    mpl.use("Agg")
    axes = found.plot()
    assert [line.get_label() for line in axes.lines] == ["_child0"]
    x, y = axes.lines[0].get_data()
    assert len(x) == 6
    assert set(y) == {row["style_unweighted"] for row in found.table()}


def test_the_sheet_shows_every_picture_in_its_place(found):
    sheet = np.asarray(found.grid(size=None), np.float32) / 255
    for result in found:
        exact = np.rint(result.image * 255).astype(np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(
            np.rint(sheet * 255).astype(np.uint8)[..., 0], exact.shape[:2]
        )
        assert (windows == exact[..., 0]).all((2, 3)).any()
    assert found._repr_png_().startswith(b"\x89PNG")


def test_a_folder_holds_everything_and_comes_back(found, tmp_path):
    where = found.save(tmp_path / "out")
    names = sorted(p.name for p in where.iterdir())
    assert names == [
        *(
            f"{i:03}_style_weight-{w}_tv_weight-{t}.png"
            for i, (w, t) in enumerate((w, t) for w in (10, 100, 1000) for t in (0, 1))
        ),
        "index.html",
        "lanes",
        "sheet.png",
        "sweep.json",
        "table.csv",
    ]
    index = json.loads((where / "sweep.json").read_text())
    assert (index["status"], index["how"]) == ("finished", "product")
    assert index["axes"] == {"style_weight": [10, 100, 1000], "tv_weight": [0, 1]}
    assert index["lanes"][3]["losses"]["total"] == found[3].losses["total"].min()
    assert reading.read_settings(where / names[5])["settings"]["style_weight"] == 1000
    with (where / "table.csv").open() as file:
        assert [float(row["total"]) for row in csv.DictReader(file)] == [
            row["total"] for row in found.table()
        ]
    again = nst.load_sweep(where)
    assert again.points == found.points
    for kept, made in zip(again, found, strict=True):
        np.testing.assert_allclose(kept.image, made.image, atol=0.5 / 255 + 1e-6)
        assert kept.settings.style_weight == made.settings.style_weight
        for term, values in made.losses.items():
            np.testing.assert_array_equal(kept.losses[term], values)
    assert again.table() == found.table()


def test_an_interrupted_sweep_resumes(tmp_path, monkeypatch):
    options = {"style_weight": [1, 2, 3], "output": tmp_path / "out", "in_flight": 1}
    whole = sweep(style_weight=[1, 2, 3], in_flight=1)
    run = batches.draw

    def interrupted(*args, **given):
        if len(started) == 1:
            raise KeyboardInterrupt
        started.append(None)
        return run(*args, **given)

    started = []
    with monkeypatch.context() as patch:
        patch.setattr(batches, "draw", interrupted)
        part = sweep(**options)
    assert (len(part), part.missing) == (1, (1, 2))
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["status"] == "incomplete"
    assert (tmp_path / "out" / "index.html").read_text("utf-8").count('"preview": "data:') == 1
    with pytest.raises(nst.InputError, match="1 of 3 lanes done: go on with --resume"):
        sweep(**options)

    def counted(*args, **given):
        started.append(None)
        return run(*args, **given)

    monkeypatch.setattr(batches, "draw", counted)
    resumed = sweep(**options, resume=True)
    assert len(started) == 1 + 2
    np.testing.assert_array_equal(resumed[2].image, whole[2].image)
    np.testing.assert_allclose(resumed[0].image, whole[0].image, atol=0.5 / 255 + 1e-6)
    assert resumed.table()[0]["total"] == whole.table()[0]["total"]
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["status"] == "finished"
    assert (tmp_path / "out" / "index.html").read_text("utf-8").count('"preview": "data:') == 3
    with pytest.raises(nst.InputError, match="holds another sweep, with other axes"):
        sweep(**options | {"style_weight": [1, 2]}, resume=True)
    with pytest.raises(nst.InputError, match="holds another sweep, with other pictures"):
        sweep(content=tiny.picture(24, 32, 9), **options, resume=True)
    with pytest.raises(nst.InputError, match="holds another sweep, with other settings"):
        sweep(**options, tv_weight=1, resume=True)


def test_ctrl_c_keeps_what_runs(tmp_path):
    timer = threading.Timer(3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    found = sweep(style_weight=[1, 2], iterations=10**7, in_flight=2, output=tmp_path / "out")
    assert [r.status for r in found] == ["interrupted"] * 2
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"style_weight": []}, "The axis style_weight is empty"),
        ({"style_weight": [1, 2], "seed": [1], "how": "zip"}, "style_weight has 2, seed has 1"),
        ({"style_weight": [1, 2, 1.0]}, r"Lanes 0 and 2 of the sweep are the same \(style_weight"),
        ({"style_weight": [1, -2]}, "style_weight is -2, but must be a number"),
        ({"stile_weight": [1, 2]}, "no option 'stile_weight'. Did you mean 'style_weight'"),
        ({"how": "zipp"}, "no way to combine axes 'zipp'. Did you mean 'zip'"),
        ({"styles": []}, "styles is empty: give at least one picture"),
        ({"styles": "style.png"}, "styles must be a list of pictures"),
        ({"in_flight": 0}, "in_flight is 0"),
        ({"resume": True}, "resume goes on with a folder: give output"),
        ({"style_layers": [["relu1_1"], ["relu9_1"]]}, "has no layer 'relu9_1'"),
        (
            {"styles": [STYLE, STYLE[:1, :1]], "style_layers": "relu2_1"},
            "style picture is 1x1 pixels, too small",
        ),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else "",
)
def test_bad_input_is_one_sentence_before_anything_runs(options, said, monkeypatch):
    monkeypatch.setattr("nst_jax.sweeps.run.run", lambda *_: pytest.fail("ran"))
    with pytest.raises(nst.InputError, match=said) as caught:
        sweep(**options)
    assert "\n" not in str(caught.value)


def test_an_axis_may_be_a_generator():
    assert sweep(style_weight=(w for w in (1e2, 1e3)), iterations=1).axes == {
        "style_weight": (1e2, 1e3)
    }


def test_content_must_be_given_once():
    with pytest.raises(nst.InputError, match="Give one content or contents, a list of them: nei"):
        nst.sweep(style=STYLE, network=NETWORK)
    with pytest.raises(nst.InputError, match="Give one style or styles, a list of them: both"):
        nst.sweep(CONTENT, STYLE, styles=[STYLE], network=NETWORK)


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("precious")
    with pytest.raises(nst.InputError, match="is not empty and holds no sweep"):
        sweep(style_weight=[1, 2], output=tmp_path / "full")
    with pytest.raises(nst.InputError, match="cannot be used"):
        sweep(style_weight=[1, 2], output=tmp_path / "full" / "letter.txt")
    with pytest.raises(nst.InputError, match="holds no sweep: there is no"):
        nst.load_sweep(tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["letter.txt"]


def saved(found, folder):
    """Save, and return the bytes of every file by its name."""
    found.save(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_saving_over_an_earlier_sweep_replaces_its_files_alone(found, tmp_path):
    folder = tmp_path / "out"
    fewer = found.where(tv_weight=1)
    expected = saved(fewer, tmp_path / "expected")
    assert len(saved(found, folder)) > len(expected)
    (folder / "letter.txt").write_text("precious")
    (folder / "000_mine.png").write_text("mine")
    kept = {"letter.txt": b"precious", "000_mine.png": b"mine"}
    with pytest.raises(nst.InputError, match="holds a sweep already"):
        fewer.save(folder, overwrite=False)
    assert saved(fewer, folder) == expected | kept
    assert saved(fewer, folder) == expected | kept


def test_saving_a_sweep_overwrites_nothing_but_a_sweep(found, tmp_path):
    folder, part = tmp_path / "out", found.where(tv_weight=1)
    before = saved(part, folder)
    name = next(name for name in saved(found, tmp_path / "other") if name not in before)
    (folder / name).write_text("mine")
    with pytest.raises(nst.InputError, match=f"holds {re.escape(name)}, which is not of the sweep"):
        found.save(folder)
    assert (folder / name).read_text() == "mine"
    (folder / name).unlink()
    # A folder from elsewhere may name any file as its own.
    plan = json.loads((folder / "sweep.json").read_text())
    plan["lanes"][0]["picture"] = "../precious.png"
    (folder / "sweep.json").write_text(json.dumps(plan))
    (tmp_path / "precious.png").write_text("precious")
    (folder / "lanes" / "000.json").unlink()
    next(folder.glob("000_*.png")).unlink()
    with pytest.raises(nst.InputError, match="cannot be read as the record of a sweep"):
        part.save(folder)
    assert (tmp_path / "precious.png").read_text() == "precious"


def test_a_sweep_that_cannot_be_saved_leaves_the_earlier_one(found, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    before = saved(found, folder)

    def full(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Sweep, "sum_up", full)
        with pytest.raises(nst.InputError, match="No space left on device"):
            found.save(folder)
    after = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert after == before
    assert saved(found, folder) == before


def test_two_sweeps_do_not_share_a_folder(found, tmp_path):
    from nst_jax.sweeps.folder import Folder

    with (
        Folder(tmp_path / "out", {}).held(),
        pytest.raises(nst.InputError, match="in use by another sweep"),
    ):
        sweep(style_weight=[1, 2], output=tmp_path / "out")
    with (
        Folder(tmp_path / "out", {}).held(),
        pytest.raises(nst.InputError, match="in use by another sweep"),
    ):
        found.save(tmp_path / "out")


def test_a_sweep_killed_before_its_plan_was_there_begins_anew(found, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".nst-jax-0123456789ab-1-00000000.part").write_text("half of it")
    found.save(tmp_path / "out")
    assert nst.load_sweep(tmp_path / "out").points == found.points


def test_seeds_that_change_nothing_are_told():
    with pytest.warns(UserWarning, match="seed is an axis, but init 'content' draws no noise"):
        sweep(seed=[0, 1], iterations=1)
    with warnings.catch_warnings():
        sweep(seed=[0, 1], init="noise", iterations=1)


def test_files_are_called_by_their_names(tmp_path):
    for name, seed in (("a.png", 1), ("b.png", 2)):
        Image.fromarray(tiny.picture(16, 16, seed)).save(tmp_path / name)
    found = sweep(contents=[tmp_path / "a.png", tmp_path / "b.png"], iterations=1)
    assert found.axes == {"content": ("a.png", "b.png")}
    assert found[1].sources["content"] == "b.png"
    assert not any(str(tmp_path) in str(row) for row in found.table())
    assert Path(tmp_path / "a.png").exists()


# The command line.


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    from nst_jax.cli import cache, main

    monkeypatch.chdir(tmp_path)
    for name, seed in (("a.png", 1), ("b.png", 2), ("c.png", 3)):
        Image.fromarray(tiny.picture(16, 16, seed)).save(name)
    monkeypatch.setattr("nst_jax.sweeps.lanes.load_network", lambda *_, **__: NETWORK)
    monkeypatch.setattr(cache, "enable", lambda: None)
    fast = ["--iterations=2", "--size=none", "--content-layers=relu1_1", "-o", "out"]

    def run(*argv):
        try:
            code = main.main(main.parse(["nst-jax", "sweep", *argv, *fast]))
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return run


def test_the_command_sweeps(command):
    code, out, err = command(
        *("a.png", "b.png", "c.png", "--style-weight", "1e2,1e3", "--style-weight=1e4"),
        *("--style-layers=relu1_1", "--style-layers=relu1_1:2,relu2_1", "--seed=7"),
    )
    assert code == 0, err
    assert out == "Sweep(content: 2, style_weight: 3, style_layers: 2; 12 of 12 lanes)\nout\n"
    assert "lanes=12/12" in err
    found = nst.load_sweep("out")
    assert found.axes["content"] == ("a.png", "b.png")
    last = found.at(content="b.png", style_weight=1e4, style_layers={"relu1_1": 2, "relu2_1": 1})
    assert (last.settings.seed, last.settings.iterations) == (7, 2)
    assert last.sources == {"content": "b.png", "style": "c.png"}
    assert command("a.png", "b.png", "c.png", "--style-weight=1e2")[0] == 2


def test_the_command_takes_several_styles_side_by_side(command):
    code, *_ = command("a.png", "--styles", "b.png", "c.png", "--tv-weight=0,1", "--zip", "--quiet")
    assert code == 0
    assert [tuple(p.values()) for p in nst.load_sweep("out").points] == [
        ("b.png", 0.0),
        ("c.png", 1.0),
    ]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["a.png"], "There is one picture, but a sweep needs a content and a style"),
        (["a.png", "b.png", "--style-weight=1,x"], "invalid number value: '1,x'"),
        (
            ["a.png", "b.png", "--style-weight=1,2", "--seed=1,2,3", "--zip"],
            "must be of one length",
        ),
        (["a.png", "b.png", "--processes=2"], "Give all of --coordinator"),
        (["a.png", "nowhere.png"], "style picture 'nowhere.png' does not exist"),
        (["a.png", "b.png", "--seed=1,1"], "Lanes 0 and 1 of the sweep are the same (seed 1)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_commands_are_told_in_one_line(command, argv, said):
    code, out, err = command(*argv)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]
    assert not Path("out").exists()

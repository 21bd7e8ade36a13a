"""Checkpoints: a killed run that goes on ends with the same bits; another run's is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

import nst_jax as nst
from nst_jax.files import savepoint
from nst_jax.stylizing import checkpoint

ROOT = Path(__file__).parents[2]
CONTENT, STYLE, NETWORK = tiny.picture(16, 20), tiny.picture(16, 16, seed=2), tiny.network()


def stylize(content=CONTENT, style=STYLE, **options):
    wanted = {"size": None, "iterations": 30, "network": NETWORK, "progress": False}
    return nst.stylize(content, style, **wanted | tiny.SHALLOW | options)


def require_same(one, other):
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.evaluations, other.evaluations)
    assert list(one.losses) == list(other.losses)
    for name, values in one.losses.items():
        np.testing.assert_array_equal(values, other.losses[name])
    assert (one.status, one.restarts, one.scales) == (other.status, other.restarts, other.scales)


@pytest.fixture(scope="module")
def plain():
    return stylize()


@pytest.fixture
def kept(tmp_path):
    """A checkpoint of the plain run after 21 evaluations."""
    path = tmp_path / "run.safetensors"
    stylize(checkpoint=path, checkpoint_every=21)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "adam", "style_weight_schedule": "linear:0.1:1"},
        {"optimizer": "lbfgs-zoom", "tolerance": 1e-6, "patience": 9},
        {"min_size": 12, "coarse_iterations": 11, "optimizer": "adam"},
        {"min_size": 12, "coarse_iterations": 11},
        pytest.param({"draft": True, "coarse_iterations": 11, "network": tiny.wide()}, id="draft"),
    ],
    ids=str,
)
@pytest.mark.parametrize("every", [9, 14])
def test_going_on_from_a_checkpoint_changes_nothing(tmp_path, options, every):
    whole, path = stylize(**options), tmp_path / "run.safetensors"
    require_same(whole, stylize(**options, checkpoint=path, checkpoint_every=every))
    again = stylize(**options, checkpoint=path, resume=True, checkpoint_every=every)
    require_same(whole, again)
    assert sorted(os.listdir(tmp_path)) == [path.name]


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    program = """
import sys, tiny
import numpy as np
import nst_jax as nst

result = nst.stylize(
    tiny.picture(16, 20), tiny.picture(16, 16, seed=2), size=None, iterations=int(sys.argv[1]),
    network=tiny.network(), progress=False, optimizer="adam", **tiny.SHALLOW,
    checkpoint="run", checkpoint_every=40, resume=True,
)
np.savez("result.npz", image=result.image, **result.losses)
"""

    def start(iterations):
        paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program, str(iterations)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": paths},
        )

    killed, path = start(10**6), tmp_path / "run"
    for _ in range(1200):
        if path.exists() or killed.poll() is not None:
            break
        time.sleep(0.05)
    time.sleep(0.1)  # somewhere between two checkpoints, or in the middle of one
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "result.npz").exists()
    done = load_file(path)["state.evaluations"]
    end = int(done) + 50
    assert start(end).wait() == 0
    resumed, whole = np.load(tmp_path / "result.npz"), stylize(iterations=end, optimizer="adam")
    np.testing.assert_array_equal(resumed["image"], whole.image)
    for name, values in whole.losses.items():
        np.testing.assert_array_equal(resumed[name], values, err_msg=name)


def test_a_run_may_be_made_longer(tmp_path):
    path = tmp_path / "run"
    stylize(iterations=20, history=5, checkpoint=path, checkpoint_every=10)
    longer = stylize(iterations=45, history=5, checkpoint=path, resume=True)
    require_same(longer, stylize(iterations=45, history=5))


@pytest.mark.parametrize("scales", [{}, {"min_size": 12, "coarse_iterations": 4}], ids=str)
def test_a_run_shorter_than_its_history_may_be_made_longer(tmp_path, scales):
    path = tmp_path / "run"
    stylize(iterations=6, checkpoint=path, checkpoint_every=5, **scales)
    longer = stylize(iterations=12, checkpoint=path, resume=True, **scales)
    require_same(longer, stylize(iterations=12, **scales))


def test_two_runs_do_not_share_a_checkpoint(kept):
    before = kept.read_bytes()
    with (
        savepoint.kept_alone(kept, "run"),
        pytest.raises(nst.InputError, match=f"{kept.name}' is in use by another run"),
    ):
        stylize(checkpoint=kept, resume=True)
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"style_weight": 7}, "of a run with style_weight 1000.0, not 7.0: ask for the same"),
        ({"content": CONTENT[::-1]}, "of a run with another content picture, not with this:"),
        ({"style": CONTENT}, "of a run with another style picture, not with this:"),
        ({"network": tiny.network(seed=1)}, "of a run with another network, not with this:"),
        ({"optimizer": "adam"}, "of a run with optimizer 'lbfgs', not 'adam'"),
        ({"iterations": 9}, "keeps 30 pairs, not 9 (the history, or the iterations if they"),
        ({"history": 9}, "of a run that keeps 30 pairs, not 9 (the history"),
        ({"min_size": 12}, "of a run with min_size 360, not 12"),
        ({"resume": False}, "is there already: go on from it with resume, or delete it"),
    ],
    ids=str,
)
def test_the_checkpoint_of_another_run_is_refused(kept, options, said):
    before = kept.read_bytes()
    with pytest.raises(nst.InputError) as caught:
        stylize(**{"checkpoint": kept, "resume": True} | options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept.read_bytes() == before


def test_the_checkpoint_of_a_run_with_a_draft_is_no_other_runs(tmp_path):
    path = tmp_path / "run.safetensors"
    options = {"network": tiny.wide(), "checkpoint": path, "coarse_iterations": 3}
    stylize(**options, draft=True, iterations=3, checkpoint_every=2)
    with pytest.raises(nst.InputError, match="of a run with draft True, not False:"):
        stylize(**options, draft=False, iterations=6, resume=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged or cannot be read"),
        (b"no checkpoint at all" * 9, "is damaged or cannot be read"),
        ("cut", "is damaged or cannot be read"),
        ("other", "is no checkpoint of a run: give another."),
    ],
    ids=str,
)
def test_files_that_are_no_checkpoints(kept, content, said):
    if content == "cut":
        content = kept.read_bytes()[:-100]
    if content == "other":
        save_file({"a": np.zeros(3)}, kept)
    else:
        kept.write_bytes(content)
    with pytest.raises(nst.InputError, match=said):
        stylize(checkpoint=kept, resume=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resume": True}, "There is nothing to resume from: give checkpoint"),
        ({"checkpoint": "nowhere/run"}, "folder 'nowhere' for the output does not exist"),
        ({"checkpoint": "."}, "'.' is a folder"),
        ({"checkpoint": 3}, "checkpoint is 3, but must be a path."),
        ({"checkpoint": ""}, "checkpoint is '', but must be a path."),
        ({"checkpoint": "a", "checkpoint_every": 0}, "checkpoint_every is 0, but must be a whole"),
        ({"frames_every": 1.5}, "frames_every is 1.5, but must be a whole number from 1."),
    ],
    ids=str,
)
def test_bad_options_get_a_sentence(options, said):
    with pytest.raises(nst.InputError) as caught:
        stylize(**options)
    assert said in str(caught.value)


def test_without_a_checkpoint_a_resumed_run_begins_and_says_so(tmp_path, plain):
    with pytest.warns(UserWarning, match="no checkpoint .* yet: the run starts from the beginning"):
        result = stylize(checkpoint=tmp_path / "run", resume=True, checkpoint_every=25)
    require_same(result, plain)
    assert (tmp_path / "run").exists()


def test_a_full_disk_ends_no_run_and_leaves_the_checkpoint_before(kept, plain, monkeypatch):
    before = kept.read_bytes()

    def save_file(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(savepoint, "save_file", save_file)
    with pytest.warns(RuntimeWarning, match="cannot be written .*No space left.*: the run goes on"):
        result = stylize(checkpoint=kept, resume=True, checkpoint_every=15)
    require_same(result, plain)
    assert kept.read_bytes() == before
    assert os.listdir(kept.parent) == [kept.name]


def test_a_checkpoint_says_what_it_is_of(kept):
    from safetensors import safe_open

    with safe_open(kept, framework="np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "nst_jax run 3"
    asked = json.loads(metadata["header"])["asked"]
    assert (asked["style_weight"], asked["network"]) == (1000.0, NETWORK.digest)
    assert asked["version"] == nst.__version__


def test_digests_tell_arrays_apart():
    a, b = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    data = [a, b, a.T, a.astype(int), [a, b], [b, a], {"a": a}, {"b": a}, None, 3, "3", (a, None)]
    digests = [checkpoint.digest(value) for value in data]
    assert len(set(digests)) == len(digests)
    assert checkpoint.digest([a.copy(), (b, {"x": 1})]) == checkpoint.digest([a, [b, {"x": 1}]])

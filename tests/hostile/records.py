"""What the tool writes to read it again: checkpoints, folders of sweeps, the manifest."""

import functools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import jax
import numpy as np
import tiny
from PIL import Image

import nst_jax as nst
from hostile import mutations
from hostile.kinds import Kind
from nst_jax.files import weights
from nst_jax.motion import flofile
from nst_jax.solvers import solver
from nst_jax.solvers.outcome import Carried
from nst_jax.solvers.stopping import Rows
from nst_jax.stylizing import checkpoint
from nst_jax.stylizing.inputs import Sources, read_pictures
from nst_jax.stylizing.optimizing import optimizer_of
from nst_jax.stylizing.pyramid import Position
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.settings import Settings
from nst_jax.sweeps.folder import Folder
from nst_jax.sweeps.plan import plan_of
from nst_jax.training import loop
from nst_jax.training.recipe import Recipe
from nst_jax.training.tasks import Task


@functools.cache
def request() -> Request:
    """A small run, whose checkpoints are damaged."""
    settings = Settings(size=None, iterations=5, history=3, **tiny.SHALLOW)
    sources = Sources(tiny.picture(16, 20), tiny.picture(16, 16, seed=2))
    return Request(settings, tiny.network(), read_pictures(settings, sources))


@functools.cache
def run() -> bytes:
    """A checkpoint of `request`."""
    now = request()
    rows = Rows(
        {"total": np.float32([3, 2]), "content": np.float32([1, 1]), "style": np.float32([2, 1])},
        np.int32([1, 2]),
        np.array([False, False]),
    )
    state = solver.start(optimizer_of(now.settings), jax.numpy.zeros((16, 20, 3)))
    position = Position((), Carried(state, rows, 0.5, 0.25))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        checkpoint.save(path, checkpoint.identity(now), now.settings, position, {})
        return path.read_bytes()


def _checkpoint(rng: Random, data: bytes) -> bytes:
    """As any safetensors file, or with an edited JSON in its header."""
    if rng.random() < 0.5:
        return mutations.safetensors(rng, data)
    header, body = mutations.parts_of(data)
    about = header["__metadata__"]
    values = json.loads(about["header"])
    key = rng.choice((None, "more", "more"))
    if key is None:
        values = mutations.edited(rng, values)
    else:
        values[key] = mutations.edited(rng, values[key])
    text = mutations.text_of(rng, values)
    whole = json.dumps(header | {"__metadata__": about | {"header": text}})
    return mutations.safetensors_of(whole.replace("\\ud800", "?").encode(), body)


def _make_run(rng: Random, folder: Path) -> None:
    (folder / "run.safetensors").write_bytes(_checkpoint(rng, run()))


def _read_run(case: Path, out: Path) -> None:
    del out
    found = checkpoint.load(case / "run.safetensors", request())
    found.continued(request())
    rows, state = found.rows, found.position.carried.state
    assert all(
        len(values) == len(part.evaluations) for part in rows for values in part.terms.values()
    )
    assert state.x.shape == (16, 20, 3)


_ASKED: Mapping[str, Any] = Recipe().to_dict() | {"network": "sha256:1", "styles": ["day"]}


@functools.cache
def _training() -> loop.State:
    parameters = {"conv1.kernel": jax.numpy.ones((3, 3, 2, 2)), "conv1.bias": jax.numpy.ones(2)}
    return loop.start(Task(lambda *_: None, parameters, {}, {}, lambda *_: None))


@functools.cache
def _trained() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training"
        loop.save(path, _training(), _ASKED)
        return path.read_bytes()


def _make_training(rng: Random, folder: Path) -> None:
    (folder / "training.safetensors").write_bytes(_checkpoint(rng, _trained()))


def _read_training(case: Path, out: Path) -> None:
    del out
    found = loop.load(case / "training.safetensors", _training(), _ASKED)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), (found, _training()))
    assert shapes[0] == shapes[1]


# ----------------------------------------------------------------------------- sweeps


def _lane(weight: float) -> Stylization:
    losses = {name: np.float32([2, 1]) for name in ("total", "content", "style", "tv")}
    return Stylization(
        image=np.float32(tiny.picture(8, 10) / 255),
        losses=losses,
        evaluations=np.int32([1, 2]),
        status="finished",
        restarts=0,
        compile_seconds=1.0,
        run_seconds=1.0,
        settings=Settings(size=None, style_weight=weight),
        network="net",
        network_digest="sha256:0",
        scales=(Scale(8, 10, 2),),
    )


@functools.cache
def _plan() -> dict[str, Any]:
    lanes = [_lane(1.0), _lane(2.0)]
    axes, points = {"style_weight": (1.0, 2.0)}, [{"style_weight": 1.0}, {"style_weight": 2.0}]
    about = {"contents": {"content.png": "sha256:1"}, "styles": {"style.png": "sha256:2"}}
    settings = [lane.settings for lane in lanes]
    return plan_of("product", axes, points, settings, about, {"net": "sha256:0"})


@functools.cache
def sweep() -> dict[str, bytes]:
    """The files of a sweep of two lanes, by their names in its folder."""
    with tempfile.TemporaryDirectory() as where:
        folder = Folder(where, _plan())
        folder.begin(resume=False)
        lanes = {n: _lane(weight) for n, weight in enumerate((1.0, 2.0))}
        for number, lane in lanes.items():
            folder.keep(number, lane)
        folder.finish(lanes, [{"lane": n, "total": 1.0} for n in lanes], Image.new("RGB", (9, 9)))
        files = [path for path in Path(where).rglob("*") if path.is_file()]
        return {str(path.relative_to(where)): path.read_bytes() for path in files}


def _make_sweep(rng: Random, folder: Path) -> None:
    files = dict(sweep())
    name = rng.choice(
        (
            "sweep.json",
            "sweep.json",
            "lanes/000.json",
            next(n for n in files if n.startswith("000")),
        )
    )
    if name.endswith("json") and rng.random() < 0.85:
        text = mutations.text_of(rng, mutations.edited(rng, json.loads(files[name])))
        files[name] = text.encode("utf-8", "replace")
    else:
        files[name] = mutations.damaged(rng, files[name])
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)


def _read_sweep(case: Path, out: Path) -> None:
    found = nst.load_sweep(case)
    repr(found)
    for one in found:
        one.record()
        repr(one)
    found.table()
    found.save(out / "again")


def _resume_sweep(case: Path, out: Path) -> None:
    del out
    folder = Folder(case, _plan())
    for number in folder.begin(resume=True):
        folder.result(number)


# ----------------------------------------------------------------------------- the manifest


def _make_manifest(rng: Random, folder: Path) -> None:
    text = (weights._package_folder() / "manifest.json").read_text("utf-8")
    values = json.loads(text)
    if rng.random() < 0.8:
        values["weights"][0] = mutations.edited(rng, values["weights"][0])
    else:
        values = mutations.edited(rng, values)
    (folder / "manifest.json").write_text(mutations.text_of(rng, values), "utf-8", "replace")


def _read_manifest(case: Path, out: Path) -> None:
    del out
    for one in weights.read_manifest(case / "manifest.json").values():
        assert Path(one.file).name == one.file
        assert Path(one.name).name == one.name
        assert all(url.lower().startswith(("https://", "http://")) for url in one.urls)


def _make_flow(rng: Random, folder: Path) -> None:
    path = folder / "motion.flo"
    flofile.write_flow(path, np.random.default_rng(rng.getrandbits(32)).normal(0, 3, (9, 7, 2)))
    path.write_bytes(mutations.damaged(rng, path.read_bytes()))


def _read_flow(case: Path, out: Path) -> None:
    flow = flofile.read_flow(case / "motion.flo")
    assert flow.shape[2] == 2
    assert not np.isinf(flow).any()
    flofile.write_flow(out / "again.flo", flow)


KINDS = (
    Kind("checkpoint of a run", _make_run, _read_run),
    Kind("checkpoint of a training", _make_training, _read_training, share=6),
    Kind("sweep", _make_sweep, _read_sweep, share=8, may_stay=()),
    Kind("sweep resumed", _make_sweep, _resume_sweep, share=6),
    Kind("manifest", _make_manifest, _read_manifest, share=4),
    Kind("flow", _make_flow, _read_flow, share=4),
)

"""A sweep in a folder: a picture and a record for each lane, written as it ends; `sweep.json`.

sweep.json      settings, axes, pictures and networks; what became of each lane
table.csv       the final losses
sheet.png       the contact sheet
000_....png     the pictures, with their settings embedded
lanes/000.json  settings and losses of a lane; it is there when the picture is complete
"""

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.files.atomic import write
from nst_jax.pictures import reading, writing
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.settings import Settings
from nst_jax.sweeps.axes import shown

_INDEX, _LANES = "sweep.json", "lanes"
# What a picture file keeps of a stylization by itself.
_IN_PICTURE = ("image", "alpha", "icc")


def read_plan(path: str | os.PathLike) -> dict[str, Any]:
    """What `sweep.json` says.

    Raises:
        InputError: a folder without a sweep.
    """
    index = Path(path) / _INDEX
    if not index.exists():
        raise InputError(f"The folder '{path}' holds no sweep: there is no {_INDEX} in it.")
    return _read(index)


class Folder:
    """Where a sweep is kept; `plan` says what it is, in plain values."""

    def __init__(self, path: str | os.PathLike, plan: Mapping[str, Any]):
        self.path = Path(path)
        self.plan = json.loads(json.dumps(plan))

    def begin(self, *, resume: bool) -> list[int]:
        """Make the folder and write the plan, or take up what is there; the lanes that are done.

        Raises:
            InputError: a folder that holds something else, another sweep, or this one if it is not
                to be resumed; one that cannot be written.
        """
        index = self.path / _INDEX
        if index.exists():
            _require_same(self.plan, _read(index), self.path)
            done = [i for i in range(len(self.plan["lanes"])) if self.is_done(i)]
            if not resume:
                raise InputError(
                    f"The folder '{self.path}' holds this sweep already, with {len(done)} of "
                    f"{len(self.plan['lanes'])} lanes done: go on with --resume (in Python "
                    "resume=True), or choose another folder."
                )
            return done
        _make_empty(self.path)
        _write_json(index, {"version": __version__, "status": "running"} | self.plan)
        return []

    def is_done(self, lane: int) -> bool:
        """Whether picture and record of a lane are there."""
        return self._record(lane).exists() and self._picture(lane).exists()

    def keep(self, lane: int, result: Stylization) -> None:
        """Write picture and record of a lane, in this order, each complete or not at all."""
        self._record(lane).parent.mkdir(exist_ok=True)
        result.save(self._picture(lane))
        plain = {f.name: getattr(result, f.name) for f in fields(result)}
        plain = {k: v for k, v in plain.items() if k not in _IN_PICTURE}
        plain["losses"] = {k: _numbers(v) for k, v in result.losses.items()}
        plain["evaluations"] = result.evaluations.tolist()
        plain["settings"] = plain_settings(result.settings)
        _write_json(self._record(lane), plain)

    def result(self, lane: int) -> Stylization:
        """A lane that is done, as it was kept: the picture in 8 bits."""
        plain = _read(self._record(lane))
        picture = reading.read(self._picture(lane), what=f"picture of lane {lane}")
        plain["losses"] = {k: np.array(v, np.float32) for k, v in plain["losses"].items()}
        plain["evaluations"] = np.array(plain["evaluations"], np.int32)
        plain["settings"] = Settings.from_dict(plain["settings"])
        plain["scales"] = tuple(Scale(*scale) for scale in plain["scales"])
        return Stylization(image=picture.rgb, alpha=picture.alpha, icc=picture.icc, **plain)

    def finish(
        self,
        results: Mapping[int, Stylization],
        table: Sequence[Mapping[str, Any]],
        sheet: Image.Image,
    ) -> None:
        """Write what sums the sweep up: table, sheet, and how each lane ended."""
        if table:
            file = io.StringIO(newline="")
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
            write(self.path / "table.csv", file.getvalue().encode())
            writing.save(self.path / "sheet.png", np.asarray(sheet, np.float32) / 255)
        records = {i: result.record() for i, result in results.items()}
        kept = ("status", "evaluations", "losses", "compile_seconds", "run_seconds")
        lanes = [
            lane | ({k: records[i][k] for k in kept} if i in records else {"status": "missing"})
            for i, lane in enumerate(self.plan["lanes"])
        ]
        status = "finished" if len(results) == len(lanes) else "incomplete"
        about = {"version": __version__, "status": status}
        _write_json(self.path / _INDEX, about | self.plan | {"lanes": lanes})

    def _picture(self, lane: int) -> Path:
        return self.path / self.plan["lanes"][lane]["picture"]

    def _record(self, lane: int) -> Path:
        return self.path / _LANES / f"{lane:03}.json"


def plan_of(
    how: str,
    axes: Mapping[str, Sequence[Any]],
    points: Sequence[Mapping[str, Any]],
    settings: Sequence[Settings],
    pictures: Mapping[str, Mapping[str, Any]],
    networks: Mapping[str, str],
) -> dict[str, Any]:
    """What makes a sweep this one: plain values, settings common to all lanes apart.

    Args:
        how: axes are combined.
        axes: their values, by name.
        points: the value of each axis, lane by lane.
        settings: of each lane.
        pictures: digests of contents and styles, by name.
        networks: digests of the networks, by name.
    """
    plain = [plain_settings(one) for one in settings]
    common = {k: v for k, v in plain[0].items() if all(one[k] == v for one in plain)}
    return {
        "how": how,
        "axes": {name: list(values) for name, values in axes.items()},
        "settings": common,
        "pictures": {k: dict(v) for k, v in pictures.items()},
        "networks": dict(networks),
        "lanes": [
            {
                "values": dict(point),
                "settings": {k: v for k, v in one.items() if k not in common},
                "picture": _file_name(number, point),
            }
            for number, (point, one) in enumerate(zip(points, plain, strict=True))
        ],
    }


def plain_settings(settings: Settings) -> dict[str, Any]:
    """The settings, files by their names alone: folders are nobody's business."""
    plain = settings.to_dict()
    return plain | {k: os.path.basename(plain[k]) for k in ("network", "init")}


def _require_same(plan: dict[str, Any], other: dict[str, Any], path: Path) -> None:
    names = ("axes", "how", "settings", "pictures", "networks")
    # What a plan of an earlier version lacks had the value that changes nothing.
    usual = plain_settings(Settings())
    plan, other = (one | {"settings": usual | one["settings"]} for one in (plan, other))
    different = next((name for name in names if plan[name] != other.get(name)), None)
    if different is None:
        mine, theirs = ([lane["settings"] for lane in p["lanes"]] for p in (plan, other))
        different = "lanes" if mine != theirs else None
    if different:
        raise InputError(
            f"The folder '{path}' holds another sweep, with other {different}: choose another "
            "folder, or give what that sweep was given."
        )


def _make_empty(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise InputError(
                f"The folder '{path}' is not empty and holds no sweep: choose a new folder."
            )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"The folder '{path}' cannot be used ({reason}): choose another place."
        ) from error


def _file_name(number: int, point: Mapping[str, Any]) -> str:
    words = "_".join(f"{name}-{shown(value)}" for name, value in point.items())
    words = re.sub(r"[^\w.+-]+", "-", words, flags=re.ASCII)[:80].strip("-_.")
    return f"{number:03}_{words}.png" if words else f"{number:03}.png"


def _numbers(values: np.ndarray) -> list[float | None]:
    """NaN is no JSON."""
    return [float(v) if np.isfinite(v) else None for v in values]


def _write_json(path: Path, values: Any) -> None:
    write(path, json.dumps(values, indent=1).encode())


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"The file '{path}' cannot be read as the record of a sweep: remove it, or choose "
            "another folder."
        ) from error

"""Store a sweep in a folder. Each lane is written as soon as it ends.

sweep.json      settings, axes, pictures and networks; status and losses of each lane
table.csv       the final losses
sheet.png       the contact sheet
index.html      the page to look at it, see `page`
000_....png     the picture of a lane, with its settings embedded
lanes/000.json  the record of a lane: settings and losses; written after the picture
"""

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.files.atomic import write
from nst_jax.files.untrusted import is_name, parse_json
from nst_jax.pictures import reading, writing
from nst_jax.solvers.stopping import Status
from nst_jax.stylizing.repeat import go_on_from
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.settings import Settings
from nst_jax.sweeps.axes import shown
from nst_jax.sweeps.page import page

_INDEX, _LANES = "sweep.json", "lanes"
# Fields of a stylization that are stored in the picture file, or found anew.
_NOT_IN_RECORD = ("image", "alpha", "icc", "redraw")


def read_plan(path: str | os.PathLike) -> dict[str, Any]:
    """Read `sweep.json`.

    Raises:
        InputError: the folder holds no sweep, or the file cannot be read.
    """
    index = Path(path) / _INDEX
    if not os.path.exists(index):
        raise InputError(f"The folder '{path}' holds no sweep: there is no {_INDEX} in it.")
    plan = _read(index)
    if not _is_plan(plan):
        raise _damaged(index)
    return plan


class Folder:
    """The folder of a sweep; `plan` describes the sweep in plain values (see `plan_of`)."""

    def __init__(self, path: str | os.PathLike, plan: Mapping[str, Any]):
        self.path = Path(path)
        self.plan = json.loads(json.dumps(plan))

    def begin(self, *, resume: bool) -> list[int]:
        """Make the folder and write the plan, or continue with the sweep in the folder.

        Args:
            resume: whether the folder may hold this sweep already.

        Returns:
            The numbers of the lanes that are done.

        Raises:
            InputError: the folder holds other files, another sweep, or this sweep without `resume`;
                or it cannot be written to.
        """
        index = self.path / _INDEX
        if os.path.exists(index):
            _require_same(self.plan, read_plan(self.path), self.path)
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
        """Whether the picture and the record of a lane exist."""
        return all(map(os.path.exists, (self._record(lane), self._picture(lane))))

    def keep(self, lane: int, result: Stylization) -> None:
        """Write the picture of a lane, then its record; each appears only when it is complete."""
        self._record(lane).parent.mkdir(exist_ok=True)
        result.save(self._picture(lane))
        plain = {f.name: getattr(result, f.name) for f in fields(result)}
        plain = {k: v for k, v in plain.items() if k not in _NOT_IN_RECORD}
        plain["losses"] = {k: _numbers(v) for k, v in result.losses.items()}
        plain["evaluations"] = result.evaluations.tolist()
        plain["settings"] = plain_settings(result.settings)
        _write_json(self._record(lane), plain)

    def result(self, lane: int) -> Stylization:
        """Read the result of a lane that is done; the picture has 8 bits.

        Raises:
            InputError: a file cannot be read, or is damaged.
        """
        record = _read(self._record(lane))
        picture = reading.read(self._picture(lane), what=f"picture of lane {lane}")
        try:
            return _stylization(record, picture, partial(go_on_from, self._picture(lane)))
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise _damaged(self._record(lane)) from error

    def show(self, sheet: Image.Image) -> None:
        """Write the contact sheet, which grows while the sweep runs."""
        writing.save(self.path / "sheet.png", np.asarray(sheet, np.float32) / 255)

    def finish(
        self,
        results: Mapping[int, Stylization],
        table: Sequence[Mapping[str, Any]],
        sheet: Image.Image,
    ) -> None:
        """Write the table, the contact sheet, the page, and the status and losses of each lane."""
        if table:
            file = io.StringIO(newline="")
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
            write(self.path / "table.csv", file.getvalue().encode())
            self.show(sheet)
            write(self.path / "index.html", page(self.plan, results, table).encode())
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
    """Everything that identifies a sweep, as plain values.

    Settings that are the same in all lanes are listed once.

    Args:
        how: how the axes are combined, `"product"` or `"zip"`.
        axes: the values of each axis, by name.
        points: the value of each axis, for each lane.
        settings: the settings of each lane.
        pictures: digests of contents and styles by name, and the names of the region maps.
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


def _is_plan(plan: Any) -> bool:
    """Whether `sweep.json` has the form that `plan_of` gives it."""

    def are(kind: type, values: Any) -> bool:
        return isinstance(values, list) and all(isinstance(value, kind) for value in values)

    return (
        isinstance(plan, dict)
        and isinstance(plan.get("how"), str)
        and all(isinstance(plan.get(k), dict) for k in ("axes", "settings", "pictures", "networks"))
        and all(are(object, values) for values in plan["axes"].values())
        and are(dict, plan.get("lanes"))
        and all(
            is_name(lane.get("picture"))
            and isinstance(lane.get("settings"), dict)
            and isinstance(lane.get("values"), dict)
            and lane["values"].keys() == plan["axes"].keys()
            and all(value in plan["axes"][name] for name, value in lane["values"].items())
            for lane in plan["lanes"]
        )
    )


def _stylization(record: Any, picture: reading.Picture, redraw: Any) -> Stylization:
    """The result of a lane from its record.

    Raises:
        InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError: the record is
            damaged.
    """
    losses = {str(k): np.array(v, np.float32) for k, v in record["losses"].items()}
    evaluations = np.array(record["evaluations"], np.int32)
    if {x.shape for x in (losses["total"], *losses.values())} != {(evaluations.size,)}:
        raise ValueError("losses and evaluations do not fit together")
    if not evaluations.size or record["status"] not in get_args(Status):
        raise ValueError("a lane without an end")
    return Stylization(
        image=picture.rgb,
        alpha=picture.alpha,
        icc=picture.icc,
        losses=losses,
        evaluations=evaluations,
        status=record["status"],
        restarts=int(record["restarts"]),
        compile_seconds=float(record["compile_seconds"]),
        run_seconds=float(record["run_seconds"]),
        settings=Settings.from_dict(record["settings"]),
        network=str(record["network"]),
        network_digest=str(record["network_digest"]),
        sources=dict(record["sources"]),
        scales=tuple(Scale(int(h), int(w), int(n), bool(d)) for h, w, n, d in record["scales"]),
        style_scales=tuple(map(float, record.get("style_scales", ()))),
        redraw=redraw,
    )


def plain_settings(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, with file names in place of full paths, for privacy."""
    plain = settings.to_dict()
    return plain | {k: os.path.basename(plain[k]) for k in ("network", "init")}


def _require_same(plan: dict[str, Any], other: dict[str, Any], path: Path) -> None:
    names = ("axes", "how", "settings", "pictures", "networks")
    # Plans of earlier versions lack newer settings, whose defaults change nothing.
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
    """The values as a list, with None for those that are not finite: JSON has no NaN."""
    return [float(v) if np.isfinite(v) else None for v in values]


def _write_json(path: Path, values: Any) -> None:
    write(path, json.dumps(values, indent=1).encode())


def _read(path: Path) -> Any:
    try:
        return parse_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InputError:
    return InputError(
        f"The file '{path}' cannot be read as the record of a sweep: remove it, or choose another "
        "folder."
    )

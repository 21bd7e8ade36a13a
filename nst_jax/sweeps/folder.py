"""Store a sweep in a folder. Each lane is written as soon as it ends.

sweep.json      settings, axes, pictures and networks; status and losses of each lane
table.csv       the final losses
sheet.png       the contact sheet
index.html      the page to look at it, see `page`
000_....png     the picture of a lane, with its settings embedded
lanes/000.json  the record of a lane: settings and losses; written after the picture
"""

import contextlib
import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.files import locks
from nst_jax.files.atomic import is_part, write
from nst_jax.files.untrusted import parse_json
from nst_jax.pictures import reading, writing
from nst_jax.solvers.stopping import Status
from nst_jax.stylizing.repeat import go_on_from
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.settings import Settings
from nst_jax.sweeps.page import page
from nst_jax.sweeps.plan import is_plan, plain_settings, require_same

_INDEX, _TABLE, _SHEET, _PAGE = "sweep.json", "table.csv", "sheet.png", "index.html"
_LANES = "lanes"
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
    if not is_plan(plan):
        raise _damaged(index)
    return plan


class Folder:
    """The folder of a sweep; `plan` describes the sweep in plain values (see `plan_of`)."""

    def __init__(self, path: str | os.PathLike, plan: Mapping[str, Any]):
        self.path = Path(path)
        self.plan = json.loads(json.dumps(plan))

    def held(self) -> AbstractContextManager[None]:
        """Make the folder, and let no other sweep write to it within the block.

        Raises:
            InputError: the folder cannot be made, or another process uses it.
        """
        _make(self.path)
        return locks.held(
            self.path,
            f"The folder '{self.path}' is in use by another sweep: wait until that ends, or choose "
            "another folder.",
        )

    def begin(self, *, resume: bool) -> list[int]:
        """Write the plan into the folder, or continue with the sweep in it; call `held` before.

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
            require_same(self.plan, read_plan(self.path), self.path)
            done = [i for i in range(len(self.plan["lanes"])) if self.is_done(i)]
            if not resume:
                raise InputError(
                    f"The folder '{self.path}' holds this sweep already, with {len(done)} of "
                    f"{len(self.plan['lanes'])} lanes done: go on with --resume (in Python "
                    "resume=True), or choose another folder."
                )
            return done
        _require_empty(self.path)
        _write_json(index, {"version": __version__, "status": "running"} | self.plan)
        return []

    @contextlib.contextmanager
    def written_anew(self, *, overwrite: bool) -> Iterator["Folder"]:
        """Yield a folder to write the whole sweep to; on leaving, this folder holds it.

        An earlier sweep stays as it is until all of the new one is written. If the process is
        killed while the files change places, the folder holds the new sweep, unfinished.

        Raises:
            InputError: the folder holds other files, or a sweep and `overwrite` is false; or it
                cannot be written to.
        """
        with self.held():
            earlier = self._earlier(overwrite=overwrite)
            try:
                with tempfile.TemporaryDirectory(".part", ".nst-jax-", self.path) as part:
                    new = Folder(part, self.plan)
                    new.begin(resume=False)
                    yield new
                    _replace(Path(part), self.path, earlier)
            except OSError as error:
                raise InputError(_unusable(self.path, error)) from error

    def _earlier(self, *, overwrite: bool) -> set[str]:
        """The names of the files of the earlier sweep in the folder."""
        if not (self.path / _INDEX).exists():
            _require_empty(self.path)
            return set()
        if not overwrite:
            raise InputError(
                f"The folder '{self.path}' holds a sweep already: choose another folder, or "
                "overwrite it (overwrite=True)."
            )
        plan = read_plan(self.path)
        names = {lane["picture"] for lane in plan["lanes"]}
        # The file may have been edited: no file elsewhere is touched, and only pictures are.
        pictures = {name for name in names if re.fullmatch(r"\d{3,}[\w.+-]*\.png", name, re.ASCII)}
        records = {f"{_LANES}/{i:03}.json" for i in range(len(plan["lanes"]))}
        return {_INDEX, _TABLE, _SHEET, _PAGE, *pictures, *records}

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
        writing.save(self.path / _SHEET, np.asarray(sheet, np.float32) / 255)

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
            write(self.path / _TABLE, file.getvalue().encode())
            self.show(sheet)
            write(self.path / _PAGE, page(self.plan, results, table).encode())
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
        scales=tuple(
            Scale(int(h), int(w), int(n), *map(bool, passes))
            for h, w, n, *passes in record["scales"]
        ),
        style_scales=tuple(map(float, record.get("style_scales", ()))),
        redraw=redraw,
    )


def _require_empty(path: Path) -> None:
    if any(not is_part(inside) for inside in path.iterdir()):
        raise InputError(
            f"The folder '{path}' is not empty and holds no sweep: choose a new folder."
        )


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        next(path.iterdir(), None)  # it may be forbidden to read it
    except OSError as error:
        raise InputError(_unusable(path, error)) from error


def _unusable(path: Path, error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return f"The folder '{path}' cannot be used ({reason}): choose another place."


def _replace(new: Path, old: Path, earlier: set[str]) -> None:
    """Move the files of a sweep from one folder to another, in place of those of an earlier one."""
    names = sorted(str(p.relative_to(new).as_posix()) for p in new.rglob("*") if p.is_file())
    foreign = [name for name in names if name not in earlier and (old / name).exists()]
    if foreign:
        raise InputError(
            f"The folder '{old}' holds {foreign[0]}, which is not of the sweep there: choose "
            "another folder."
        )
    # Lanes count as done by their records, so these go first and come last.
    for name in sorted(earlier, key=lambda name: not name.startswith(_LANES)):
        if name != _INDEX:
            (old / name).unlink(missing_ok=True)
    (old / _LANES).mkdir(exist_ok=True)
    for name in sorted(names, key=lambda name: (name != _INDEX, name.startswith(_LANES))):
        os.replace(new / name, old / name)


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

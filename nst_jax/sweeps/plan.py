"""What identifies a sweep, as plain values: the content of `sweep.json`."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_jax.errors import InputError
from nst_jax.files.untrusted import is_name
from nst_jax.stylizing.settings import Settings
from nst_jax.sweeps.axes import shown


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


def plain_settings(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, with file names in place of full paths, for privacy."""
    plain = settings.to_dict()
    return plain | {k: os.path.basename(plain[k]) for k in ("network", "init")}


def require_same(plan: dict[str, Any], other: dict[str, Any], path: Path) -> None:
    """Raise `InputError` if the folder at `path` holds another sweep than the plan's."""
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


def is_plan(plan: Any) -> bool:
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


def _file_name(number: int, point: Mapping[str, Any]) -> str:
    words = "_".join(f"{name}-{shown(value)}" for name, value in point.items())
    words = re.sub(r"[^\w.+-]+", "-", words, flags=re.ASCII)[:80].strip("-_.")
    return f"{number:03}_{words}.png" if words else f"{number:03}.png"

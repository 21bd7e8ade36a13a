"""`nst-jax info`: versions, devices, caches and weights, as a report of a fault needs them."""

import argparse
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from nst_jax._version import __version__
from nst_jax.cli import cache, streams

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")
# The distributions by which an extra is known to be there.
_EXTRAS = {
    "cuda": ("jax-cuda13-plugin", "jax-cuda12-plugin"),
    "tpu": ("libtpu",),
    "notebook": ("ipywidgets",),
    "torch": ("torch",),
    "video": ("av",),
}


def add(commands: Any) -> None:
    """Add the subcommand `info`."""
    parser = commands.add_parser("info", help="print versions, devices, caches and weights")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> None:
    found = _found()
    if args.json:
        streams.report(found)
        return
    lines = [
        f"{name:12} {version or 'not installed'}" for name, version in found["versions"].items()
    ]
    lines += [f"{'system':12} {found['system']}", f"{'devices':12} {_devices(found['devices'])}"]
    lines += [
        f"{name:12} {folder['path']} ({folder['bytes'] / 1e6:.1f} MB in {folder['files']} files)"
        for name, folder in found["folders"].items()
    ]
    lines += [
        f"{name:12} {version or 'not installed'}" for name, version in found["extras"].items()
    ]
    lines += [f"{one['name']:12} {one['path']} ({one['kind']})" for one in found["weights"]]
    print("\n".join(lines))


def _found() -> dict[str, Any]:
    """All that is told, in plain values."""
    from nst_jax.files import weights

    store, programs = weights.store(), cache.folder()
    parts = sorted(store.glob("*.part*")) if store.is_dir() else []
    return {
        "versions": {"nst_jax": __version__, "python": platform.python_version()}
        | {name: _version(name) for name in _LIBRARIES},
        "system": platform.platform(),
        "devices": _backend(),
        "folders": {
            "weights": _size(store, _inside(store)),
            "programs": _size(programs, _inside(programs)),
            "downloads": _size(store, parts),
        },
        "extras": {
            extra: next(filter(None, map(_version, names)), None)
            for extra, names in _EXTRAS.items()
        },
        "weights": [
            {"name": path.stem, "path": str(path), "kind": _kind(path)}
            for folder in weights.search_path()
            for path in sorted(folder.glob("*.safetensors"))
        ],
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _backend() -> dict[str, Any]:
    """The platform that JAX uses and its devices, or why there are none."""
    try:
        import jax

        devices = jax.devices()
    except Exception as error:  # a broken installation or driver raises anything
        reason = " ".join(str(error).split()) or type(error).__name__
        return {"platform": None, "devices": [], "error": reason}
    names = [f"{device.platform}:{device.id} {device.device_kind}" for device in devices]
    return {"platform": jax.default_backend(), "devices": names, "error": None}


def _devices(backend: dict[str, Any]) -> str:
    return ", ".join(backend["devices"]) or f"none: {backend['error']}"


def _inside(folder: Path) -> Iterable[Path]:
    return (Path(place, name) for place, _, names in os.walk(folder) for name in names)


def _size(folder: Path, files: Iterable[Path]) -> dict[str, Any]:
    count = total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:  # it has gone meanwhile
            continue
        count += 1
    return {"path": str(folder), "bytes": total, "files": count}


def _kind(path: Path) -> str:
    """The network or model that a weight file states; its tensors are not read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("architecture", "unknown")
    except (SafetensorError, OSError):
        return "damaged"

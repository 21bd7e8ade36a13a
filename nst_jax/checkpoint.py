"""Checkpoints: a run on disk, whole or not at all, to go on from after a kill.

A safetensors file: the solver's state, leaf by leaf, the losses so far, and as metadata what was
asked for, so that nobody goes on with another picture's run.
"""

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nst_jax import loop, solvers
from nst_jax._version import __version__
from nst_jax.endings import Rows
from nst_jax.errors import InputError
from nst_jax.outputs import Outputs
from nst_jax.problem import optimizer_of
from nst_jax.pyramid import Position, total
from nst_jax.request import Request
from nst_jax.schedules import CONSTANT
from nst_jax.settings import HISTORY, INITS, PICTURE, Settings
from nst_jax.writing import check_place

_FORMAT = "nst_jax checkpoint 2"
# A name, a name whose network's digest is compared, a budget.
_FREE = ("preset", "network", "seconds")
_CALLED = {"content": "content picture", "styles": "style picture", "start": "init picture"}


class Checkpoint(NamedTuple):
    """Where a run stood, and what else was kept of it."""

    position: Position
    more: dict[str, np.ndarray]
    fitted: dict[str, int]

    @property
    def rows(self) -> list[Rows]:
        """All that happened before."""
        now = self.position.carried.rows
        return [*self.position.earlier, *([] if now is None else [now])]

    def continued(self, request: Request) -> Request:
        """The request with the tile and history that there was memory for: the same program."""
        return dataclasses.replace(
            request, settings=dataclasses.replace(request.settings, **self.fitted)
        )


def find(outputs: Outputs, request: Request) -> Checkpoint | None:
    """The checkpoint to go on from, if that is wanted and there is one.

    Raises:
        InputError: one that is not wanted, or cannot be used; a place that cannot be written.
    """
    if outputs.checkpoint is None:
        return None
    path = check_place(outputs.checkpoint, overwrite=True)
    if not path.exists():
        if outputs.resume:
            warnings.warn(
                f"There is no checkpoint {str(path)!r} yet: the run starts from the beginning.",
                stacklevel=3,
            )
        return None
    if not outputs.resume:
        raise InputError(
            f"The checkpoint {str(path)!r} is there already: go on from it with resume, or delete "
            "it to start from the beginning."
        )
    return load(path, request)


def identity(request: Request) -> dict[str, Any]:
    """What a run must have in common with the one that it goes on from; plain values."""
    settings = {k: v for k, v in request.settings.to_dict().items() if k not in _FREE}
    settings["init"] = settings["init"] if settings["init"] in INITS else PICTURE
    evaluations = total(request)
    if all(v == CONSTANT for k, v in settings.items() if k.endswith("_schedule")):
        # Nothing depends on how long the run is to be, but the memory of a very short one.
        settings["history"] = dataclasses.replace(request.settings, iterations=evaluations).pairs
        del settings["iterations"]
    pictures = request.pictures._asdict()
    del pictures["sources"]
    asked = {
        "version": __version__,
        **settings,
        "network": request.network.digest,
        **{_CALLED.get(name, name): digest(value) for name, value in pictures.items()},
    }
    return json.loads(json.dumps(asked))


def digest(data: Any) -> str:
    """Digest of everything in arrays, dataclasses, mappings, sequences and plain values."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if dataclasses.is_dataclass(value):
            value = [getattr(value, f.name) for f in dataclasses.fields(value)]
        if isinstance(value, Mapping):
            value = list(value.items())
        if isinstance(value, list | tuple):
            for part in value:
                add(part)
        elif hasattr(value, "__array__"):
            array = np.asarray(value)
            found.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
        else:
            found.update(repr(value).encode())

    add(data)
    return f"sha256:{found.hexdigest()}"


def save(
    path: str | os.PathLike,
    asked: Mapping[str, Any],
    used: Settings,
    position: Position,
    more: Mapping[str, np.ndarray],
) -> None:
    """Write a checkpoint in place of the one before; where that fails, warn, and keep that one.

    Args:
        path: the file.
        asked: the run's `identity`.
        used: its settings, with what memory had room for.
        position: where it stands.
        more: other arrays to keep, by name.
    """
    path = Path(path)
    state, rows, *seconds = position.carried
    parts = [*position.earlier, rows]
    tree = {"state": jax.device_get(state), "rows": parts, "more": dict(more)}
    tensors = {
        _name(path): np.asarray(leaf, order="C")
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
    fitted = {"tile": used.tile or 0, "history": used.history or HISTORY}
    header = {"asked": asked, "fitted": fitted, "parts": len(parts), "seconds": seconds}
    # Always the same name: what a kill in the middle leaves is written over by the next.
    unfinished = path.with_name(f".{path.name}.part")
    try:
        save_file(tensors, unfinished, {"format": _FORMAT, "run": json.dumps(header)})
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except (OSError, SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        warnings.warn(
            f"The checkpoint {str(path)!r} cannot be written ({error}): the run goes on without.",
            RuntimeWarning,
            stacklevel=2,
        )


def load(path: Path, request: Request) -> Checkpoint:
    """Read a checkpoint of the run that is asked for.

    Raises:
        InputError: no checkpoint, a damaged one, or another run's.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise InputError(f"The file {str(path)!r} is no checkpoint: give another.")
            header = json.loads(metadata["run"])
            _require_same(path, header["asked"], identity(request))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"The checkpoint {str(path)!r} is damaged or cannot be read ({error}): delete it to "
            "start from the beginning."
        ) from error
    x = jax.ShapeDtypeStruct(tensors["state.x"].shape, tensors["state.x"].dtype)
    optimizer = optimizer_of(dataclasses.replace(request.settings, iterations=total(request)))
    like = {"state": jax.eval_shape(partial(solvers.start, optimizer), x)}
    state = jax.tree_util.tree_map_with_path(
        lambda place, _: jnp.asarray(tensors[_name(place)]), like
    )["state"]
    parts = [_rows(f"rows.{i}.", tensors) for i in range(header["parts"])]
    carried = loop.Carried(state, parts[-1], *header["seconds"])
    position = Position(tuple(parts[:-1]), carried)
    return Checkpoint(position, _under("more.", tensors), header["fitted"])


def _name(place: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(place, simple=True, separator=".")


def _under(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _rows(prefix: str, tensors: Mapping[str, np.ndarray]) -> Rows:
    parts = (tensors[f"{prefix}{name}"] for name in ("evaluations", "restarted"))
    return Rows(_under(f"{prefix}terms.", tensors), *parts)


def _require_same(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    for name in {**here, **there}:
        one, other = there.get(name), here.get(name)
        if one != other:
            secret = str(one or other).startswith("sha256:")
            what = f"another {name}, not with this" if secret else f"{name} {one!r}, not {other!r}"
            raise InputError(
                f"The checkpoint {str(path)!r} is of a run with {what}: ask for the same again, or "
                "give another file to start anew."
            )

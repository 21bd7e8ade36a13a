"""Checkpoints: files from which an interrupted run or training can be resumed.

A checkpoint is a safetensors file with one tensor for each leaf of a tree of arrays. Its metadata
holds the settings of the run. They are compared on loading, so that no run resumes from the
checkpoint of another.
"""

import json
import os
import warnings
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nst_jax.errors import InputError
from nst_jax.files import locks
from nst_jax.files.atomic import atomic, check_place
from nst_jax.files.untrusted import parse_json

_Tree = TypeVar("_Tree")


class Savepoint(NamedTuple):
    """The content of a checkpoint: leaves by name, and the plain values saved with them."""

    leaves: dict[str, np.ndarray]
    more: dict[str, Any]


def find(path: str | os.PathLike | None, *, resume: bool, what: str) -> Path | None:
    """Find the checkpoint to resume from, if there is one and resuming is wanted.

    Warns if resuming is wanted but there is no checkpoint yet.

    Args:
        path: where the checkpoint is or will be written; None for no checkpoint.
        resume: whether to resume from it.
        what: "run" or "training", for messages.

    Returns:
        The path of the checkpoint; None to start from the beginning.

    Raises:
        InputError: a checkpoint exists but `resume` is false, or the place cannot be written to.
    """
    if path is None:
        return None
    path = check_place(path, overwrite=True)
    if path.exists() and not resume:
        raise InputError(
            f"The checkpoint {str(path)!r} is there already: go on from it with resume, or delete "
            "it to start from the beginning."
        )
    if resume and not path.exists():
        warnings.warn(
            f"There is no checkpoint {str(path)!r} yet: the {what} starts from the beginning.",
            stacklevel=3,
        )
        return None
    return path if resume else None


def kept_alone(path: str | os.PathLike | None, what: str) -> AbstractContextManager[None]:
    """Let no other process use the checkpoint within the block; None does nothing.

    Args:
        path: the checkpoint, which need not exist.
        what: "run" or "training", for messages.

    Raises:
        InputError: another process uses it.
    """
    return locks.held(
        path,
        f"The checkpoint {os.fspath(path or '')!r} is in use by another {what}: wait until that "
        "ends, or give another file.",
    )


def save(
    path: str | os.PathLike, what: str, asked: Mapping[str, Any], tree: Any, **more: Any
) -> None:
    """Write a checkpoint over the previous one; on failure, warn and keep the previous one.

    Args:
        path: the file.
        what: "run" or "training".
        asked: the settings of the run as plain values; they must be the same on resuming.
        tree: a pytree of arrays.
        **more: other plain values to save.
    """
    path = Path(path)
    tensors = {
        _name(place): np.asarray(leaf, order="C")
        for place, leaf in jax.tree_util.tree_flatten_with_path(jax.device_get(tree))[0]
    }
    header = json.dumps({"asked": dict(asked), "more": more})
    try:
        with atomic(path) as part:
            save_file(tensors, part, {"format": _format(what), "header": header})
    except (OSError, SafetensorError) as error:
        warnings.warn(
            f"The checkpoint {str(path)!r} cannot be written ({error}): the {what} goes on "
            "without.",
            RuntimeWarning,
            stacklevel=3,
        )


def load(
    path: str | os.PathLike,
    what: str,
    asked: Mapping[str, Any],
    usual: Mapping[str, Any],
    dropped: Collection[str] = (),
) -> Savepoint:
    """Read a checkpoint that `save` wrote.

    Args:
        path: the file.
        what: "run" or "training".
        asked: the settings of the run, as for `save`.
        usual: values of settings that files of earlier versions do not record.
        dropped: names of settings that only earlier versions compared.

    Raises:
        InputError: the file is no such checkpoint, is damaged, or has other settings.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _format(what):
                raise InputError(
                    f"The file {str(path)!r} is no checkpoint of a {what}: give another."
                )
            header = parse_json(metadata["header"])
            there, more = {**usual, **header["asked"]}, dict(header["more"])
            there = {name: value for name, value in there.items() if name not in dropped}
            _require_same(path, what, there, json.loads(json.dumps({**usual, **asked})))
            leaves = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except InputError:
        raise
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise damaged(path, error) from error
    return Savepoint(leaves, more)


def damaged(path: str | os.PathLike, why: object) -> InputError:
    """What is raised for a checkpoint that does not hold what it must."""
    return InputError(
        f"The checkpoint {str(path)!r} is damaged or cannot be read ({why}): delete it to start "
        "from the beginning."
    )


def restored(like: _Tree, leaves: Mapping[str, np.ndarray]) -> _Tree:
    """Rebuild a tree with the structure of `like` from saved leaves, as arrays on the device.

    Args:
        like: a tree of arrays, or of their shapes and dtypes.
        leaves: the saved leaves by name.

    Raises:
        InputError: a leaf is missing, has another shape, or is of another kind of number.
    """

    def leaf(place: tuple[Any, ...], like: Any) -> jax.Array:
        name = _name(place)
        found = leaves.get(name)
        if found is None or found.shape != like.shape or found.dtype.kind != like.dtype.kind:
            shape, dtype = list(like.shape), like.dtype
            raise InputError(
                f"The checkpoint does not hold {name} as {dtype} of the shape {shape}, so it is "
                "damaged: delete it to start from the beginning."
            )
        return jnp.asarray(found, like.dtype)

    return jax.tree_util.tree_map_with_path(leaf, like)


def under(prefix: str, leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The leaves whose names start with `prefix`, named without it."""
    return {k.removeprefix(prefix): v for k, v in leaves.items() if k.startswith(prefix)}


def _format(what: str) -> str:
    return f"nst_jax {what} 3"


def _name(place: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(place, simple=True, separator=".")


def _require_same(
    path: str | os.PathLike, what: str, there: Mapping[str, Any], here: Mapping[str, Any]
) -> None:
    for name in {**here, **there}:
        one, other = there.get(name), here.get(name)
        if one != other:
            secret = str(one or other).startswith("sha256:")
            how = f"another {name}, not with this" if secret else f"{name} {one!r}, not {other!r}"
            raise InputError(
                f"The checkpoint {str(path)!r} is of a {what} with {how}: ask for the same again, "
                "or give another file to start anew."
            )

"""Checkpoints of a run: the solver's state, the losses so far, and the settings behind them."""

import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.files import savepoint
from nst_jax.options import CONSTANT
from nst_jax.solvers import solver
from nst_jax.solvers.outcome import Carried
from nst_jax.solvers.stopping import Rows
from nst_jax.stylizing.declarations import HISTORY
from nst_jax.stylizing.optimizing import optimizer_of
from nst_jax.stylizing.outputs import Outputs
from nst_jax.stylizing.pyramid import Position
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.scales import scales, total
from nst_jax.stylizing.settings import INITS, PICTURE, Settings

_RUN = "run"
# These may differ on resuming: the preset is only a name, the network is compared by its digest,
# and the seconds are only a limit.
_FREE = ("preset", "network", "seconds")
# Endings of the names of options that earlier versions lack. They then have their default values.
_LATER = ("_weight", "_weight_schedule", "terms", "first_step", "pyramid", "scale_step")
_CALLED = {"content": "content picture", "styles": "style picture", "start": "init picture"}


class Checkpoint(NamedTuple):
    """What a checkpoint file holds.

    Attributes:
        position: where the run stands.
        more: other arrays that were saved with it, by name.
        fitted: the values of `tile` and `history` that fitted into memory.
    """

    position: Position
    more: dict[str, np.ndarray]
    fitted: dict[str, int]

    @property
    def rows(self) -> list[Rows]:
        """The losses of all evaluations before the checkpoint, one part for each scale."""
        now = self.position.carried.rows
        return [*self.position.earlier, *([] if now is None else [now])]

    def continued(self, request: Request) -> Request:
        """The request with the checkpoint's tile and history, so that the program is the same."""
        return dataclasses.replace(
            request, settings=dataclasses.replace(request.settings, **self.fitted)
        )


def find(outputs: Outputs, request: Request) -> Checkpoint | None:
    """Read the checkpoint to resume from, if resuming is wanted and there is one.

    Raises:
        InputError: there is a checkpoint but resuming is not wanted, the checkpoint cannot be used,
            or its place cannot be written to.
    """
    path = savepoint.find(outputs.checkpoint, resume=outputs.resume, what=_RUN)
    return None if path is None else load(path, request)


def identity(request: Request) -> dict[str, Any]:
    """The plain values that must be equal in a run and in the checkpoint that it resumes."""
    settings = {k: v for k, v in request.settings.to_dict().items() if k not in _FREE}
    settings["init"] = settings["init"] if settings["init"] in INITS else PICTURE
    if all(v == CONSTANT for k, v in settings.items() if k.endswith("_schedule")):
        # Without schedules a run can be made longer; `load` looks at the history.
        del settings["iterations"], settings["history"]
    pictures = request.pictures._asdict()
    del pictures["sources"], pictures["earlier"]
    return {
        "version": __version__,
        **settings,
        "network": request.network.digest,
        "draft": request.draft is not None,
        **{_CALLED.get(name, name): digest(value) for name, value in pictures.items()},
    }


def digest(data: Any) -> str:
    """The SHA-256 digest of nested arrays, dataclasses, mappings, sequences and plain values."""
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
    """Write a checkpoint over the previous one; on failure, warn and keep the previous one.

    Args:
        path: the file.
        asked: the `identity` of the run.
        used: the settings of the run, with the tile and history that fitted into memory.
        position: where the run stands.
        more: other arrays to save, by name.
    """
    state, rows, *seconds, args = position.carried
    parts = [*position.earlier, rows]
    tree = {"state": state, "rows": parts, "more": dict(more)}
    if args is not None:
        tree["targets"] = args.targets
    fitted = {"tile": used.tile or 0, "history": used.history or HISTORY}
    savepoint.save(path, _RUN, asked, tree, fitted=fitted, parts=len(parts), seconds=seconds)


def load(path: Path, request: Request) -> Checkpoint:
    """Read the checkpoint of the requested run.

    Raises:
        InputError: the file is no checkpoint, is damaged, or belongs to another run.
    """
    usual = {k: v for k, v in Settings().to_dict().items() if k.endswith(_LATER)}
    asked = identity(request)
    dropped = {"history"} - asked.keys()
    leaves, more = savepoint.load(path, _RUN, asked, usual, dropped)
    try:
        parts = [_rows(f"rows.{i}.", leaves) for i in range(min(more["parts"], len(leaves)))]
        compiling, running = map(float, more["seconds"])
        fitted = {name: more["fitted"][name] for name in ("tile", "history")}
        scale = scales(request)[len(parts) - 1]
        optimizer = optimizer_of(dataclasses.replace(request.settings, iterations=total(request)))
        pairs = leaves["state.optimizer.0.rho"].size if optimizer.is_lbfgs else 1
        if not parts or not math.isfinite(compiling + running):
            raise ValueError("it says nothing of the run so far")
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise savepoint.damaged(path, error) from error
    x = jax.ShapeDtypeStruct((scale.height, scale.width, 3), np.float32)
    kept = dataclasses.replace(optimizer, history=pairs)
    like = {"state": jax.eval_shape(partial(solver.start, kept), x)}
    state = savepoint.restored(like, leaves)["state"]
    if optimizer.is_lbfgs:
        state = state._replace(optimizer=_with_history(path, optimizer.history, state.optimizer))
    renewed = savepoint.under("targets.", leaves) or None
    carried = Carried(state, parts[-1], compiling, running, renewed)
    position = Position(tuple(parts[:-1]), carried)
    return Checkpoint(position, savepoint.under("more.", leaves), fitted)


def _with_history(path: Path, history: int, state: optax.OptState) -> optax.OptState:
    """The state of L-BFGS with room for so many pairs, as a run with that history would have it.

    A run that is shorter than its history has room for fewer.
    """
    memory, *rest = cast(tuple, state)
    before = memory.rho.size
    if before != history and memory.pairs > min(before, history):
        raise InputError(
            f"The checkpoint {str(path)!r} is of a run that keeps {before} pairs, not {history} "
            "(the history, or the iterations if they are fewer): ask for the same again, or give "
            "another file to start anew."
        )

    def resized(pairs: Array) -> Array:
        end = [(0, max(0, history - before))] + [(0, 0)] * (pairs.ndim - 1)
        return jnp.pad(pairs[:history], end)

    kept = {name: resized(getattr(memory, name)) for name in ("s", "y", "rho")}
    return (memory._replace(**kept), *rest)


def _rows(prefix: str, leaves: Mapping[str, np.ndarray]) -> Rows:
    """The rows of one scale.

    Raises:
        KeyError, ValueError: they are missing, or do not fit together.
    """
    evaluations, restarted = (leaves[f"{prefix}{name}"] for name in ("evaluations", "restarted"))
    terms = savepoint.under(f"{prefix}terms.", leaves)
    kinds = [x.dtype.kind for x in (terms["total"], evaluations, restarted)]
    shapes = {x.shape for x in (*terms.values(), evaluations, restarted)}
    if kinds != ["f", "i", "b"] or shapes != {(evaluations.size,)} or not evaluations.size:
        raise ValueError(f"its {prefix[:-1]} do not fit together")
    return Rows(terms, evaluations, restarted)

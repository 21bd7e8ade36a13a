"""The training loop: Adam or Muon over a task's steps, resumable with the same bits."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int
from optax import contrib

from nst_jax.devices import mesh_of, place
from nst_jax.errors import InputError
from nst_jax.files import savepoint
from nst_jax.training.recipe import OptimizerName, Recipe
from nst_jax.training.tasks import Task

TRAINING = "training"
# May differ between a run and its continuation.
_FREE = ("steps",)
# What a checkpoint of an earlier version means where it says nothing.
_USUAL = {k: v for k, v in Recipe().to_dict().items() if k.endswith("_weight")}


# Axes of a kernel that are summed over, and of its outputs; the first is of kernels of one shape.
_AXES = {"kernel": ((1, 2, 3), 4), "pointwise": (1, 2)}


def _axes_of(stacks: Mapping[str, Any]) -> dict[str, contrib.MuonDimensionNumbers | None]:
    """Which axes of each stack make a matrix; None: none do."""
    return {
        name: contrib.MuonDimensionNumbers(*_AXES[kind]) if kind in _AXES else None
        for name in stacks
        for kind in [name.partition(" ")[0]]
    }


# Directions to go against. Muon (Jordan et al. 2024) makes all singular values of a kernel's step
# equal; scaled like Adam's steps (Liu et al. 2025), so that one rate serves both.
_OPTIMIZERS = {
    "adam": optax.scale_by_adam(),
    "muon": contrib.muon(
        -1.0, muon_weight_dimension_numbers=cast(Any, _axes_of), consistent_rms=0.2
    ),
}


def _alike(tree: Mapping[str, Array]) -> dict[str, list[str]]:
    """Names of the parameters of one kind and shape, by a name for them all."""
    found: dict[str, list[str]] = {}
    for name, value in tree.items():
        found.setdefault(f"{name.rpartition('.')[2]} {value.shape}", []).append(name)
    return found


def _stacked(tree: Mapping[str, Array]) -> dict[str, Array]:
    """Parameters that are alike as one array: few large products in place of many small ones."""
    return {
        stack: jnp.stack([tree[name] for name in names]) for stack, names in _alike(tree).items()
    }


def _apart(stacks: Mapping[str, Array], like: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse of `_stacked`."""
    return {
        name: stacks[stack][i]
        for stack, names in _alike(like).items()
        for i, name in enumerate(names)
    }


class State(NamedTuple):
    """Where a training stands; `average` is the model that it would give now."""

    step: Int[Array, ""]
    parameters: dict[str, Array]
    average: dict[str, Array]
    optimizer: Any


class Now(NamedTuple):
    """What is reported after a step: its number from 1, its terms; the state where that is due."""

    step: int
    terms: dict[str, float]
    state: State | None


def start(task: Task, optimizer: OptimizerName = "adam") -> State:
    """The state before the first step."""
    moments = jax.jit(lambda p: _OPTIMIZERS[optimizer].init(_stacked(p)))(task.parameters)
    # A copy: each step gives up the state before it.
    average = jax.tree.map(jnp.copy, task.parameters)
    return State(jnp.int32(0), jax.tree.map(jnp.copy, task.parameters), average, moments)


def run(
    task: Task,
    recipe: Recipe,
    crops: Callable[[int, int, int], Iterator[np.ndarray]],
    state: State,
    report: Callable[[Now], Any] = lambda now: None,
    due: Callable[[int], bool] = lambda step: False,
    devices: list[Any] | None = None,
) -> State:
    """All steps that are left; a true answer of `report` ends the run.

    So that a GPU never waits for what is done about a step, the next is on its way before that is
    reported; where the state is due, the report comes first.

    Args:
        task: what is trained.
        recipe: steps, batch, learning rate, average.
        crops: `data.Crops.stream`.
        state: from `start` or `load`; given up.
        report: called after each step.
        due: of which steps, counted from 1, `report` wants the state.
        devices: over which the batch is spread; its size is a multiple of their number.

    Raises:
        InputError: a batch that cannot be spread; a loss that is not finite.
    """
    devices = devices or jax.local_devices()[:1]
    if recipe.batch % len(devices):
        raise InputError(
            f"batch is {recipe.batch}, but must be a multiple of {len(devices)}, the number of "
            "devices."
        )
    mesh = mesh_of(devices)
    state, frozen, masks = place(mesh, None, (state, task.frozen, task.masks))
    first, before = int(state.step), None
    average = jnp.float32(recipe.average)
    batches = (
        place(mesh, 0, task.batch(step, pictures))
        for step, pictures in enumerate(crops(first, recipe.steps, recipe.batch), first)
    )
    with ThreadPoolExecutor(1) as pool:  # a batch goes to the device while that works
        batch = pool.submit(next, batches, None)
        for step in range(first, recipe.steps):
            rate = jnp.float32(learning_rate(recipe, step))
            now, batch = batch.result(), pool.submit(next, batches, None)
            state, terms = advance(
                task.loss, recipe.optimizer, state, frozen, masks, now, rate, average
            )
            stop = before is not None and report(_now(*before))
            before = step + 1, terms
            if due(step + 1):
                stop |= bool(report(_now(*before, state)))
                before = None
            if stop:
                break
    if before is not None:
        report(_now(*before))
    return state


def _now(step: int, terms: Mapping[str, Array], state: State | None = None) -> Now:
    found = {name: float(value) for name, value in jax.device_get(terms).items()}
    if not np.isfinite(found["total"]):
        raise InputError(
            f"The training's loss is not finite at step {step}: begin again with a lower "
            "learning_rate."
        )
    return Now(step, found, state)


@partial(jax.jit, static_argnames=("loss", "optimizer"), donate_argnames="state")
def advance(
    loss: Callable[..., Any],
    optimizer: OptimizerName,
    state: State,
    frozen: Any,
    masks: Mapping[str, Array],
    batch: Any,
    rate: Array,
    average: Array,
) -> tuple[State, dict[str, Array]]:
    """One step, compiled once; the new state, and the terms of the loss before it."""
    gradient = jax.grad(loss, has_aux=True)
    found, terms = gradient(state.parameters, frozen, batch)
    # A flat crop's may overflow, through one instance normalisation after the other: left out.
    finite = jnp.all(jnp.stack([jnp.isfinite(g).all() for g in found.values()]))
    found = {name: jnp.where(finite, g * masks[name], 0) for name, g in found.items()}
    stacks = _stacked(found), state.optimizer, _stacked(state.parameters)
    updates, moments = _OPTIMIZERS[optimizer].update(*stacks)
    updates = _apart(cast(Any, updates), found)
    parameters = jax.tree.map(lambda p, u: p - rate * u, state.parameters, updates)
    # Early on the average is over the steps that there are.
    share = jnp.maximum(1 - average, 1 / (1 + state.step.astype(jnp.float32)))
    mean = jax.tree.map(lambda a, p: a + share * (p - a), state.average, parameters)
    return State(state.step + 1, parameters, mean, moments), terms


def learning_rate(recipe: Recipe, step: int) -> float:
    """Constant, and in the last third of the steps falling to zero."""
    return (recipe.learning_rate or 0.0) * min(
        1.0, (recipe.steps - step) / max(1, recipe.steps // 3)
    )


def save(path: str | os.PathLike, state: State, asked: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; where that fails, warn."""
    savepoint.save(path, TRAINING, _lasting(asked), state)


def load(path: str | os.PathLike, like: State, asked: Mapping[str, Any]) -> State:
    """Read a checkpoint of the training that is asked for.

    Raises:
        InputError: no checkpoint, a damaged one, or another training's.
    """
    return savepoint.restored(like, savepoint.load(path, TRAINING, _lasting(asked), _USUAL).leaves)


def _lasting(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name not in _FREE}

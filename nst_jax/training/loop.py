"""The training loop with Adam or Muon. Resuming a training does not change a bit of its result."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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
from nst_jax.programs import jit
from nst_jax.training.recipe import OptimizerName, Recipe
from nst_jax.training.tasks import Task

TRAINING = "training"
# Settings that may change when a training is resumed.
_FREE = ("steps",)
# Values of settings that checkpoints of earlier versions do not record.
_USUAL = {k: v for k, v in Recipe().to_dict().items() if k.endswith("_weight")}


# For stacks of kernels: the axes that a convolution sums over, and the axis of its outputs. Axis 0
# counts the kernels of the stack.
_AXES = {"kernel": ((1, 2, 3), 4), "pointwise": (1, 2)}


def _axes_of(stacks: Mapping[str, Any]) -> dict[str, contrib.MuonDimensionNumbers | None]:
    """For each stack of parameters the axes of its matrices; None if it has none."""
    return {
        name: contrib.MuonDimensionNumbers(*_AXES[kind]) if kind in _AXES else None
        for name in stacks
        for kind in [name.partition(" ")[0]]
    }


# The directions that these give are subtracted. Muon (Jordan et al. 2024) makes all singular values
# of a kernel's step equal. Its steps are scaled to the size of Adam's (Liu et al. 2025), so that
# one learning rate serves both.
_OPTIMIZERS = {
    "adam": optax.scale_by_adam(),
    "muon": contrib.muon(
        -1.0, muon_weight_dimension_numbers=cast(Any, _axes_of), consistent_rms=0.2
    ),
}


def _alike(tree: Mapping[str, Array]) -> dict[str, list[str]]:
    """Group the names of parameters of the same kind and shape, by a name for the group."""
    found: dict[str, list[str]] = {}
    for name, value in tree.items():
        found.setdefault(f"{name.rpartition('.')[2]} {value.shape}", []).append(name)
    return found


def _stacked(tree: Mapping[str, Array]) -> dict[str, Array]:
    """Stack parameters of the same kind and shape: few large products replace many small ones."""
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
    """The state of a training.

    Attributes:
        step: number of steps done.
        parameters: the current parameters.
        average: the average of the parameters over the steps, which becomes the model.
        optimizer: the optimiser's state.
    """

    step: Int[Array, ""]
    parameters: dict[str, Array]
    average: dict[str, Array]
    optimizer: Any


class Now(NamedTuple):
    """What is reported after a step.

    Attributes:
        step: number of the step, from 1.
        terms: the terms of the loss.
        state: the state after the step if it is due, else None.
    """

    step: int
    terms: dict[str, float]
    state: State | None


def start(task: Task, optimizer: OptimizerName = "adam") -> State:
    """The state before the first step."""
    moments = jax.jit(lambda p: _OPTIMIZERS[optimizer].init(_stacked(p)))(task.parameters)
    # Copies, because each step donates the state before it.
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
    """Run all remaining steps, or stop early when `report` returns True.

    The next step starts before a step is reported, so that a GPU never waits for the report. Only
    where the state is due does the report come first.

    Args:
        task: what is trained.
        recipe: steps, batch size, learning rate and average.
        crops: yields the crops of steps, as `Crops.stream` does.
        state: from `start` or `load`; it is donated and cannot be used afterwards.
        report: called after each step.
        due: tells for a step, counted from 1, whether `report` needs the state.
        devices: the devices over which the batch is split; its size must be a multiple of their
            number.

    Returns:
        The state after the last step.

    Raises:
        InputError: the batch cannot be split over the devices, or the loss is not finite.
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
    with ThreadPoolExecutor(1) as pool:  # moves the next batch to the device during a step
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


@jit(static=["loss", "optimizer"], donated="state")
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
    """Do one step; return the new state, and the terms of the loss before the step."""
    gradient = jax.grad(loss, has_aux=True)
    found, terms = gradient(state.parameters, frozen, batch)
    # With a flat crop the gradient may overflow in the chain of instance normalisations. A gradient
    # that is not finite counts as zero.
    finite = jnp.all(jnp.stack([jnp.isfinite(g).all() for g in found.values()]))
    found = {name: jnp.where(finite, g * masks[name], 0) for name, g in found.items()}
    stacks = _stacked(found), state.optimizer, _stacked(state.parameters)
    updates, moments = _OPTIMIZERS[optimizer].update(*stacks)
    updates = _apart(cast(Any, updates), found)
    parameters = jax.tree.map(lambda p, u: p - rate * u, state.parameters, updates)
    # Early in training this is the mean over the steps so far.
    share = jnp.maximum(1 - average, 1 / (1 + state.step.astype(jnp.float32)))
    mean = jax.tree.map(lambda a, p: a + share * (p - a), state.average, parameters)
    return State(state.step + 1, parameters, mean, moments), terms


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate at a step: constant, then falling linearly to zero in the last third."""
    return (recipe.learning_rate or 0.0) * min(
        1.0, (recipe.steps - step) / max(1, recipe.steps // 3)
    )


def save(path: str | os.PathLike, state: State, asked: Mapping[str, Any]) -> None:
    """Write a checkpoint, which appears only when it is complete; on failure, warn."""
    savepoint.save(path, TRAINING, _lasting(asked), state)


def load(path: str | os.PathLike, like: State, asked: Mapping[str, Any]) -> State:
    """Read a checkpoint of this training.

    Args:
        path: the checkpoint.
        like: a state of the same structure.
        asked: the settings of the training.

    Raises:
        InputError: the file is no checkpoint, is damaged, or belongs to another training.
    """
    found = savepoint.load(path, TRAINING, _lasting(asked), _USUAL)
    return savepoint.restored(like, found.leaves)


def _lasting(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name not in _FREE}

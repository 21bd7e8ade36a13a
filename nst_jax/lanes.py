"""Minimisations side by side: `solvers.advance` under `vmap`, over a mesh of devices."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from nst_jax import solvers

_NAME = "lanes"


def mesh_of(devices: Sequence[Any]) -> Mesh | None:
    """A mesh with one axis, of lanes; None for a single device, which needs none."""
    if len(devices) == 1:
        return None
    return jax.make_mesh((len(devices),), (_NAME,), axis_types=(AxisType.Auto,), devices=devices)


def place(mesh: Mesh | None, axes: Any, values: Any) -> Any:
    """`values` on the devices of `mesh`: each its lanes, and a copy of what is shared."""
    if mesh is None:
        return values
    return jax.device_put(values, _prefix(lambda axis: NamedSharding(mesh, _spec(axis)), axes))


def start(
    optimizer: solvers.Optimizer, mesh: Mesh | None, x: Float[Array, "lanes ..."]
) -> solvers.State:
    """The states before the first evaluation, at `x`."""
    return _start(optimizer, mesh, place(mesh, 0, x))


@partial(jax.jit, static_argnames=("optimizer", "mesh"))
def _start(optimizer, mesh, x):
    every = _over(mesh, partial(solvers.start, optimizer), (0,), _state_axes(optimizer))
    return every(x)


@partial(
    jax.jit,
    static_argnames=("fn", "optimizer", "axes", "mesh", "capacity"),
    donate_argnames="state",
)
def advance(
    fn: solvers.Function,
    optimizer: solvers.Optimizer,
    axes: Any,
    mesh: Mesh | None,
    state: solvers.State,
    args: Any,
    learning_rate: Any,
    until: Int[Array, ""] | int,
    *,
    capacity: int,
) -> tuple[solvers.State, solvers.Trace]:
    """`solvers.advance` for each lane, compiled once for all; gives up `state`.

    No lane reads another's numbers. On a mesh each device runs its own loop, without talking to the
    others.

    Args:
        fn: see `solvers.advance`.
        optimizer: see `solvers.advance`.
        axes: of `args`, a hashable tree as `jax.vmap` takes it: 0 where there is a leading axis of
            lanes, None for what all lanes share.
        mesh: from `mesh_of`; it divides the number of lanes.
        state: from `start`, or an earlier call.
        args: the function's data, from `place` if there is a mesh.
        learning_rate: of each lane, or a `Ramp` of such.
        until: the count of evaluations at the end, of every lane.
        capacity: rows of the trace.

    Returns:
        States and traces. Without a line search all lanes count alike, and the counts have no axis
        of lanes: a loop whose end depends on the lane would copy its whole memory at each step.
    """

    def one(state, args, learning_rate, until):
        return solvers.advance(fn, optimizer, state, args, learning_rate, until, capacity=capacity)

    states, counts = _state_axes(optimizer), _count_axis(optimizer)
    traces = solvers.Trace(terms=0, evaluations=counts, restarted=0, steps=counts)  # pyright: ignore
    every = _over(mesh, one, (states, axes, 0, None), (states, traces))
    return every(state, args, learning_rate, until)


def _over(mesh: Mesh | None, fn: Any, in_axes: Any, out_axes: Any) -> Any:
    fn = jax.vmap(fn, in_axes=in_axes, out_axes=out_axes)
    if mesh is None:
        return fn
    # What the lanes share is equal on all devices because each computes it alike.
    return jax.shard_map(
        fn,
        mesh=mesh,
        in_specs=_prefix(_spec, in_axes),
        out_specs=_prefix(_spec, out_axes),
        check_vma=False,
    )


def _count_axis(optimizer: solvers.Optimizer) -> int | None:
    return 0 if optimizer.method == "lbfgs-zoom" else None


def _state_axes(optimizer: solvers.Optimizer) -> solvers.State:
    every = solvers.State(*[0] * len(solvers.State._fields))  # pyright: ignore
    return every._replace(evaluations=_count_axis(optimizer))


def _spec(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec(_NAME)


def _prefix(fn: Any, axes: Any) -> Any:
    """`fn` of each axis in a tree of axes, None among them."""
    return jax.tree.map(fn, axes, is_leaf=lambda axis: axis is None)

"""Minimisations side by side: `solver.advance` under `vmap`, over a mesh of devices."""

from functools import partial
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float

from nst_jax.devices import place, prefix, spec
from nst_jax.programs import jit
from nst_jax.solvers import solver
from nst_jax.solvers.optimizer import searches


class Axes(NamedTuple):
    """A hashable form of a tree of axes for `jax.vmap`: 0 where lanes differ, None where shared."""

    leaves: tuple[int | None, ...]
    structure: Any

    @classmethod
    def of(cls, tree: Any) -> "Axes":
        """Make it from a tree of axes."""
        leaves, structure = jax.tree.flatten(tree, is_leaf=lambda axis: axis is None)
        return cls(tuple(leaves), structure)

    def tree(self) -> Any:
        """The tree of axes."""
        return jax.tree.unflatten(self.structure, self.leaves)


def start(
    optimizer: solver.Optimizer, mesh: Mesh | None, x: Float[Array, "lanes ..."]
) -> solver.State:
    """The states of all lanes before the first evaluation, at `x`."""
    return _start(optimizer, mesh, place(mesh, 0, x))


@jit(static=["optimizer", "mesh"])
def _start(optimizer, mesh, x):
    every = _over(mesh, partial(solver.start, optimizer), (0,), _state_axes(optimizer))
    return every(x)


def placed(optimizer: solver.Optimizer, mesh: Mesh | None, state: solver.State) -> solver.State:
    """Put the states of all lanes on the devices of the mesh, as `start` does."""
    return place(mesh, _state_axes(optimizer), state)


def shapes(
    optimizer: solver.Optimizer, mesh: Mesh | None, x: Float[Array, "lanes ..."]
) -> solver.State:
    """The shapes of the states that `start` makes, and where they lie on the mesh."""
    found = jax.eval_shape(partial(_start, optimizer, mesh), x)
    if mesh is None:
        return found

    def on_mesh(axis: int | None, part: Any) -> Any:
        sharding = NamedSharding(mesh, spec(axis))
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), part
        )

    return jax.tree.map(on_mesh, _state_axes(optimizer), found, is_leaf=lambda axis: axis is None)


@jit(static=["fn", "optimizer", "axes", "mesh", "capacity"], donated="state")
def advance(
    fn: solver.Function,
    optimizer: solver.Optimizer,
    axes: Axes,
    mesh: Mesh | None,
    state: solver.State,
    args: Any,
    learning_rate: Any,
    until: Any,
    *,
    capacity: int,
) -> tuple[solver.State, solver.Trace]:
    """`solver.advance` for every lane, compiled once for all of them; `state` is donated.

    No lane's result depends on the others. On a mesh each device runs its own loop, and devices do
    not communicate.

    Args:
        fn: see `solver.advance`.
        optimizer: see `solver.advance`.
        axes: which parts of `args` have a leading axis of lanes.
        mesh: from `devices.mesh_of`; the number of lanes is a multiple of its devices.
        state: from `start`, or an earlier call.
        args: the function's data; on a mesh, placed by `devices.place`.
        learning_rate: one for each lane, or a `Ramp` with a leading axis of lanes.
        until: the count of evaluations at which every lane ends.
        capacity: rows of the trace.

    Returns:
        States and traces. Without a line search all lanes have the same counts, so `evaluations`
        and `steps` have no axis of lanes. If the end of the loop depended on the lane, `vmap` would
        copy the whole state at each step.
    """
    own = axes.tree()

    def one(state, args, learning_rate, until):
        return solver.advance(fn, optimizer, state, args, learning_rate, until, capacity=capacity)

    states, counts = _state_axes(optimizer), _count_axis(optimizer)
    traces = solver.Trace(terms=0, evaluations=counts, restarted=0, steps=counts)  # pyright: ignore
    every = _over(mesh, one, (states, own, 0, None), (states, traces))
    return every(state, args, learning_rate, until)


def _over(mesh: Mesh | None, fn: Any, in_axes: Any, out_axes: Any) -> Any:
    fn = jax.vmap(fn, in_axes=in_axes, out_axes=out_axes)
    if mesh is None:
        return fn
    # No check: outputs that lanes share are equal on all devices, as each computes them alike.
    return jax.shard_map(
        fn,
        mesh=mesh,
        in_specs=prefix(spec, in_axes),
        out_specs=prefix(spec, out_axes),
        check_vma=False,
    )


def _count_axis(optimizer: solver.Optimizer) -> int | None:
    return 0 if searches(optimizer) else None


def _state_axes(optimizer: solver.Optimizer) -> solver.State:
    every = solver.State(*[0] * len(solver.State._fields))  # pyright: ignore
    return every._replace(evaluations=_count_axis(optimizer))

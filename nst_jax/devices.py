"""Devices: meshes, placement of arrays, and free memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import psutil
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nst_jax.errors import InputError

LANES = "lanes"


class OutOfMemoryError(InputError):
    """The device does not have enough memory for what was asked."""


@contextmanager
def memory_watched() -> Iterator[None]:
    """Turn JAX's out-of-memory error into an error that says what to do.

    Raises:
        OutOfMemoryError: the device ran out of memory within the block.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise OutOfMemoryError(
            "The device ran out of memory: lower size or history, set tile or remat, or use "
            "optimizer 'adam'."
        ) from error


def require_backend() -> None:
    """Check that JAX has a device of the platform that it was told to use.

    Raises:
        InputError: there is none.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"JAX finds no device of the platform '{jax.config.jax_platforms}', which "  # pyright: ignore
            "JAX_PLATFORMS names: unset JAX_PLATFORMS, or install JAX for that platform."
        ) from error


def mesh_of(devices: Sequence[Any]) -> Mesh | None:
    """A mesh with the single axis `LANES`; None for one device, which needs no mesh."""
    if len(devices) == 1:
        return None
    return jax.make_mesh((len(devices),), (LANES,), axis_types=(AxisType.Auto,), devices=devices)


def place(mesh: Mesh | None, axes: Any, values: Any) -> Any:
    """Put `values` on the devices of `mesh`: lanes are split over them, shared arrays are copied.

    `axes` is a prefix tree of `values`: for each array its axis of lanes, or None if it is shared.
    """
    if mesh is None:
        return values
    return jax.device_put(values, prefix(lambda axis: NamedSharding(mesh, spec(axis)), axes))


def spec(axis: int | None) -> PartitionSpec:
    """The partitioning of an array: over the mesh if it has an axis of lanes, or none if shared.

    An axis of lanes is always the first.
    """
    return PartitionSpec() if axis is None else PartitionSpec(LANES)


def prefix(fn: Any, axes: Any) -> Any:
    """Apply `fn` to each axis in a tree of axes; None counts as a leaf."""
    return jax.tree.map(fn, axes, is_leaf=lambda axis: axis is None)


def available() -> int:
    """Free memory of the default device in bytes; on the CPU, free memory of the machine."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return psutil.virtual_memory().available

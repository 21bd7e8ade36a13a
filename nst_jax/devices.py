"""Devices: meshes of them, and how much of their memory is free."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import psutil
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nst_jax.errors import InputError

LANES = "lanes"


class OutOfMemoryError(InputError):
    """The device had no room for what was asked for."""


@contextmanager
def memory_watched() -> Iterator[None]:
    """Tell of a device that runs out of memory in a sentence.

    Raises:
        OutOfMemoryError: it did.
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


def mesh_of(devices: Sequence[Any]) -> Mesh | None:
    """A mesh with one axis, of lanes; None for a single device, which needs none."""
    if len(devices) == 1:
        return None
    return jax.make_mesh((len(devices),), (LANES,), axis_types=(AxisType.Auto,), devices=devices)


def place(mesh: Mesh | None, axes: Any, values: Any) -> Any:
    """`values` on the devices of `mesh`: each its lanes, and a copy of what is shared."""
    if mesh is None:
        return values
    return jax.device_put(values, prefix(lambda axis: NamedSharding(mesh, spec(axis)), axes))


def spec(axis: int | None) -> PartitionSpec:
    """Where an axis of lanes lies: over the mesh, or None for what all share."""
    return PartitionSpec() if axis is None else PartitionSpec(LANES)


def prefix(fn: Any, axes: Any) -> Any:
    """`fn` of each axis in a tree of axes, None among them."""
    return jax.tree.map(fn, axes, is_leaf=lambda axis: axis is None)


def available() -> int:
    """Bytes free on the default device; on the CPU, of the machine."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return psutil.virtual_memory().available


def release() -> None:
    """Give what was freed back to the system, where the C library would keep it (glibc).

    Compiling at 512 px leaves 140 MB behind, which would stand beside the loop's own at its peak.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)

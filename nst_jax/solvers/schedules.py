"""Values that change during a run; they are given in the arguments of a solver."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nst_jax.options import Course

Count = Int[Array, "..."] | int


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["start", "end", "length", "hold"],
    meta_fields=["course"],
)
@dataclass(frozen=True)
class Ramp:
    """A value that goes from `start` to `end` over `length` evaluations, and then stays.

    A ramp is a pytree. Its numbers are traced, so changing them does not compile again. With a
    leading axis in the numbers, `vmap` makes a sweep of them. The course is static.

    Attributes:
        course: `"linear"`, `"cosine"` (half a wave) or `"exponential"` (by equal factors).
        start: value at the first evaluation.
        end: value after `length` evaluations.
        length: number of evaluations over which the value changes.
        hold: the value changes only at multiples of this number of evaluations.
    """

    course: Course
    # Numbers or arrays, with a leading axis in a sweep. JAX also puts placeholders here.
    start: Any
    end: Any
    length: Any
    hold: Any = 1

    def __call__(self, evaluations: Count) -> Float[Array, ""]:
        """The value after a number of evaluations."""
        done = jnp.asarray(evaluations // self.hold * self.hold, jnp.float32)
        way = jnp.clip(done / self.length, 0, 1)
        if self.course == "exponential":
            return self.start * (self.end / self.start) ** way
        if self.course == "cosine":
            way = (1 - jnp.cos(jnp.pi * way)) / 2
        return self.start + (self.end - self.start) * way


def at(tree: Any, evaluations: Count) -> Any:
    """The tree with every ramp replaced by its value after `evaluations`."""
    if not _ramps(tree):
        return tree
    return jax.tree.map(lambda a: a(evaluations) if _is_ramp(a) else a, tree, is_leaf=_is_ramp)


def changed(tree: Any, before: Count, after: Count) -> Bool[Array, ""] | bool:
    """Whether any ramp of the tree has different values at the counts `before` and `after`."""
    found: Any = False
    for ramp in _ramps(tree):
        found |= ramp(before) != ramp(after)
    return found


def _ramps(tree: Any) -> list[Ramp]:
    return [leaf for leaf in jax.tree.leaves(tree, is_leaf=_is_ramp) if _is_ramp(leaf)]


def _is_ramp(leaf: Any) -> bool:
    return isinstance(leaf, Ramp)

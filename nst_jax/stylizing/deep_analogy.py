"""Deep image analogy: two pictures of alike things, each drawn with the other's look.

Liao, Yao, Yuan, Hua & Kang 2017, "Visual attribute transfer through deep image analogy".
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from nst_jax.errors import InputError
from nst_jax.networks.base import Network, require_layers
from nst_jax.networks.layers import projected
from nst_jax.networks.load import load_network
from nst_jax.options import in_range, is_number
from nst_jax.patches.fields import best_of, copied, enlarged, nearest_field, refined
from nst_jax.patches.nearest import unit
from nst_jax.pictures import reading
from nst_jax.pictures.drawn import Drawn
from nst_jax.pictures.sources import PictureSource, named
from nst_jax.programs import jit
from nst_jax.solvers.optimizer import Optimizer
from nst_jax.solvers.solver import minimize

LAYERS = ("relu5_1", "relu4_1", "relu3_1", "relu2_1", "relu1_1")
WEIGHTS = (0.8, 0.7, 0.6, 0.1)  # of a picture's own features at relu4_1 to relu1_1
_SIDES = (5, 7, 5, 5, 5)  # of the patches at each layer
_RADII = (0, 0, 6, 4, 4)  # of the search around the coarser layer's places; 0 compares all
_RESPONSE = 0.05  # least response, as a share of the largest, at which own features count
_HISTORY = 5  # curvature pairs, each as large as the features


class _Layer(NamedTuple):
    """What a network says of a picture at a layer: its activations, and their head if any."""

    x: Float[Array, "h w i"]
    head: Float[Array, "i o"] | None


def deep_analogy(
    a: PictureSource,
    b: PictureSource,
    *,
    size: int | None = 512,
    weights: Sequence[float] = WEIGHTS,
    evaluations: int = 30,
    network: str | os.PathLike = "auto",
    offline: bool | None = None,
) -> tuple[Drawn, Drawn]:
    """Draw two pictures with the look of each other: A with B's, and B with A's.

    It wants pictures of alike things: two faces, two towns. Every pixel of a result is the mean of
    pixels of the other picture.

    Args:
        a: the picture A.
        b: the picture B.
        size: long side of both pictures and results, in pixels; None keeps each picture's own.
        weights: for relu4_1, relu3_1, relu2_1 and relu1_1, how much a result keeps of its own
            picture's features where these respond, from 0 to 1. More keeps more of its shapes.
        evaluations: function evaluations for the features of each finer layer.
        network: `"auto"`, name or weight file of the network, as in `load_network`.
        offline: True never downloads weights; None follows the environment.

    Returns:
        A with the look of B, of A's size, and B with the look of A, of B's size.

    Raises:
        InputError: a picture cannot be read or is too small, the network lacks a layer, or a value
            is out of its range.
    """
    begin = time.perf_counter()
    shares = _shares(weights)
    count = int(in_range(evaluations, "evaluations", Integral, 1, 10_000) or 1)
    in_range(size, "size", Integral, 1, 2**30, optional=True)
    pictures = [reading.read(one, size=size, what="picture") for one in (a, b)]
    loaded = load_network(network, layers=LAYERS, offline=offline)
    require_layers(loaded, LAYERS)
    least = 3 * loaded.strides[LAYERS[0]]
    for source, picture in zip((a, b), pictures, strict=True):
        height, width, _ = picture.rgb.shape
        if min(height, width) < least:
            raise InputError(
                f"The {named(source, 'picture')} is {width}x{height} pixels, but deep analogies "
                f"need at least {least} on both sides, three positions at {LAYERS[0]}: give "
                "a larger one."
            )
    ours, theirs = pictures
    drawn = _drawn(loaded, ours.rgb, theirs.rgb, shares, count)
    about: dict[str, Any] = {
        "model": "deep analogy",
        "network": loaded.name,
        "network_digest": loaded.digest,
    }
    about |= {"weights": list(shares), "evaluations": count}
    about["seconds"] = round(time.perf_counter() - begin, 2)
    forth, back = (np.clip(np.asarray(image), 0, 1) for image in drawn)
    return Drawn(forth, ours.alpha, theirs.icc, about), Drawn(back, theirs.alpha, ours.icc, about)


def _shares(given: Any) -> tuple[float, ...]:
    found = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    if len(found) != len(WEIGHTS) or not all(is_number(w, Real, 0, 1) for w in found):
        raise InputError(
            f"The weights are {given!r}, but must be {len(WEIGHTS)} numbers from 0 to 1, for "
            f"{', '.join(LAYERS[1:])}."
        )
    return tuple(float(w) for w in found)


def _drawn(
    network: Network,
    a: Float[np.ndarray, "h w 3"],
    b: Float[np.ndarray, "h2 w2 3"],
    shares: Sequence[float],
    evaluations: int,
) -> tuple[Float[Array, "h w 3"], Float[Array, "h2 w2 3"]]:
    """Go through the layers, the deepest first; then copy pixels."""
    own, other = _activations(network, a), _activations(network, b)
    # What the results are at a layer: at the deepest, the pictures that keep their shapes.
    drawn_a, drawn_b = own[LAYERS[0]].x, other[LAYERS[0]].x
    fields: tuple[Array, Array] | None = None
    for n, (layer, side, radius) in enumerate(zip(LAYERS, _SIDES, _RADII, strict=True)):
        pairs = (own[layer].x, drawn_a), (drawn_b, other[layer].x)
        fields = _matched(own[layer].head, pairs, fields, side=side, radius=radius)
        if layer != LAYERS[-1]:
            finer, share = LAYERS[n + 1], jnp.float32(shares[n])
            blended = partial(_blended, network, count=evaluations, layers=(finer, layer))
            drawn_a = blended(own, other, fields[0], share, size=a.shape[:2])
            drawn_b = blended(other, own, fields[1], share, size=b.shape[:2])
    assert fields is not None
    return _copied(b, fields[0]), _copied(a, fields[1])


@jit()
def _activations(network, image):
    return network(image, LAYERS, _with_head)


def _with_head(layer, x, head=None):
    return x, _Layer(x, head)


@jit(static=["side", "radius"])
def _matched(head, pairs, fields, *, side, radius):
    """The field from A to B and the one back, by the features of the pictures and the results."""
    ours, theirs = (
        jnp.concatenate([unit(projected(x, head)) for x in pair], axis=-1) for pair in pairs
    )
    if not radius:
        return nearest_field(ours, theirs, side), nearest_field(theirs, ours, side)
    forth = _refined(ours, theirs, fields[0], side, radius)
    return forth, _refined(theirs, ours, fields[1], side, radius)


def _refined(ours, theirs, field, side, radius):
    """The field at the next layer, from the coarser one."""
    # The field jumps between the blocks of the coarser one. To find the edge of a jump anew, each
    # position may go on with any of the four blocks around it.
    sizes = theirs.shape[:2], ours.shape[:2]
    begun = [enlarged(field, *sizes, (i, j)) for i, j in np.ndindex(2, 2)]
    begin = best_of(ours, theirs, begun, side)
    return refined(ours, theirs, begin, side=side, radius=radius)


@jit(static=["count", "layers", "size"])
def _blended(network, own, other, field, share, *, count, layers, size):
    """The features of a result at the next layer: those that it copies, and its picture's own."""
    (finer, layer), x = layers, own[layers[0]].x
    place = enlarged(field, other[finer].x.shape[:2], x.shape[:2])
    found = _at(other[finer].x, place)
    # The gradient does not go through the first layer: there features are only copied.
    if finer != LAYERS[-1]:
        args = network, _at(other[layer].x, field)
        how = Optimizer("lbfgs", history=_HISTORY)
        found = minimize(_Onward(layers, size), found, args, optimizer=how, evaluations=count)[
            0
        ].best_x
    response = jnp.square(x).sum(-1, keepdims=True)
    low, high = response.min(), response.max()
    weight = share * (response - low > _RESPONSE * (high - low))
    return weight * x + (1 - weight) * found


def _at(x: Array, field: Int[Array, "h w 2"]) -> Array:
    return x[field[..., 0], field[..., 1]]


@dataclass(frozen=True)
class _Onward:
    """How far features at a layer are from leading to given ones at a deeper layer.

    Attributes:
        layers: both layers, the shallower first.
        size: height and width of the picture.
    """

    layers: tuple[str, str]
    size: tuple[int, int]

    def __call__(self, x: Array, args: tuple[Network, Array]) -> Array:
        network, goal = args
        # The network goes on with x; what it makes of the picture before is not computed.
        tap = Partial(partial(_entering, self.layers[0]), x)
        found = network(jnp.zeros((*self.size, 3), x.dtype), self.layers, tap)[self.layers[1]]
        return jnp.square(found - goal).sum() / jnp.maximum(jnp.square(goal).sum(), 1e-12)


def _entering(first, given, layer, x, head=None):
    return (given, None) if layer == first else (x, x)


@jit()
def _copied(source, field):
    return copied(source, field, _SIDES[-1])

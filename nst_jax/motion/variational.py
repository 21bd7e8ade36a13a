"""Variational optical flow, from coarse to fine, on any device.

The model is that of Brox, Bruhn, Papenberg & Weickert 2004, "High accuracy optical flow estimation
based on a theory for warping": brightness and its gradient move along, and the flow is piecewise
smooth. The data terms are normalised as in Zimmer, Bruhn & Weickert 2011, "Optic flow in harmony".
Edges of the picture may be edges of the flow, and a median filters the flow after each warp, as in
Sun, Roth & Black 2010, "Secrets of optical flow estimation and their principles".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.motion.filters import filtered, median
from nst_jax.motion.warping import warp
from nst_jax.pictures.color import grey
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

_COARSEST = 12  # pixels of the shorter side, at least
_WARPS, _LAST_WARPS = 10, 3  # at a scale, and at the finest one, which takes most of the time
_STEPS = 20  # of conjugate gradients
_STEEPNESS = 2.0  # weight of the gradient's constancy beside that of brightness
_LEAST_SLOPES = (1e-3, 1e-4, 1e-4)  # squared slopes that count as texture, of the data terms
_EDGES = 10.0  # smoothing falls to 1/e where neighbours differ by a tenth of white
_ROBUST = 1e-2  # squared errors, and changes of the flow, beyond which influence falls
_SMOOTHNESS = 2.5  # weight of a smooth flow
_LONGEST = 1.0  # pixels that the flow may change by in one warp
_BLUR = (0.05, 0.25, 0.4, 0.25, 0.05)
_DERIVATIVE = (1 / 12, -8 / 12, 0.0, 8 / 12, -1 / 12)


@jit()
def variational(a: Float[AnyArray, "h w 3"], b: Float[AnyArray, "h w 3"]) -> Float[Array, "h w 2"]:
    """The flow from picture `a` to picture `b`, both RGB in [0, 1]; `vmap` works."""
    pair = jnp.stack([_blurred(grey(p)[..., 0]) for p in (a, b)])
    sides = [pair.shape[1:]]
    while min(sides[-1]) >= 2 * _COARSEST:
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    flow = jnp.zeros((2, *sides[-1]), jnp.float32)
    for h, w in reversed(sides):
        scale = jnp.asarray([w / flow.shape[2], h / flow.shape[1]], jnp.float32)
        flow = jax.image.resize(flow, (2, h, w), "linear") * scale[:, None, None]
        small = jax.image.resize(pair, (2, h, w), "linear")
        warps = _LAST_WARPS if (h, w) == sides[0] else _WARPS
        flow = lax.fori_loop(0, warps, _refinement(*small), flow)
    # What texture and noise leave would pass for boundaries between motions.
    return _blurred(jnp.moveaxis(flow, 0, -1))


def _blurred(planes: Array) -> Array:
    return filtered(filtered(planes, _BLUR, 0), _BLUR, 1)


def _refinement(
    a: Float[Array, "h w"], b: Float[Array, "h w"]
) -> Callable[[Any, Float[Array, "2 h w"]], Float[Array, "2 h w"]]:
    """A function that improves a flow between two grey pictures: it warps `b` and solves."""

    def slopes(planes: Array) -> tuple[Array, Array]:
        return filtered(planes, _DERIVATIVE, 1), filtered(planes, _DERIVATIVE, 0)

    here, there = (jnp.stack([p, *slopes(p)], -1) for p in (a, b))
    slopes_here = slopes(here)
    looked_up = jnp.concatenate([there, *slopes(there)], -1)
    least = jnp.asarray(_LEAST_SLOPES, jnp.float32)[None, None]
    right, below = (jnp.exp(-_EDGES * jnp.abs(jnp.diff(a, axis=axis))) for axis in (1, 0))

    def refined(_: Any, flow: Array) -> Array:
        warped, inside = warp(looked_up, jnp.moveaxis(flow, 0, -1))
        error, x, y = jnp.split(warped, 3, -1)
        error = error - here
        x, y = ((u + v) / 2 for u, v in zip((x, y), slopes_here, strict=True))
        # Normalised, errors are distances in pixels; nothing is known of what lies outside.
        weight = inside[..., None].astype(a.dtype) / (jnp.square(x) + jnp.square(y) + least)
        squares = weight * jnp.square(error)
        bright = lax.rsqrt(squares[..., :1] + _ROBUST)
        steep = _STEEPNESS * lax.rsqrt(squares[..., 1:].sum(-1, keepdims=True) + _ROBUST)
        weight = weight * jnp.concatenate([bright, steep, steep], -1)
        step = _solved(weight, x, y, error, _diffusivities(flow, (right, below)), flow)
        return median(median(flow + jnp.clip(step, -_LONGEST, _LONGEST)))

    return refined


def _diffusivities(
    flow: Float[Array, "2 h w"], edges: tuple[Array, Array]
) -> tuple[Float[Array, "1 h w2"], Float[Array, "1 h2 w"]]:
    """How much the flow of neighbours to the right, and below, is drawn together."""
    x, y = (jnp.square(jnp.diff(flow, axis=axis)).sum(0) for axis in (2, 1))
    squares = jnp.pad(x, ((0, 0), (0, 1))) + jnp.pad(y, ((0, 1), (0, 0)))
    rate = _SMOOTHNESS * lax.rsqrt(squares + _ROBUST)
    right = edges[0] * (rate[:, 1:] + rate[:, :-1]) / 2
    below = edges[1] * (rate[1:] + rate[:-1]) / 2
    return right[None], below[None]


def _solved(
    weight: Float[Array, "h w c"],
    x: Float[Array, "h w c"],
    y: Float[Array, "h w c"],
    error: Float[Array, "h w c"],
    rates: tuple[Array, Array],
    flow: Float[Array, "2 h w"],
) -> Float[Array, "2 h w"]:
    """The change of the flow that minimises the linearised model, by conjugate gradients.

    The preconditioner inverts the 2x2 matrix of each pixel.
    """
    xx, xy, yy = ((weight * slopes).sum(-1) for slopes in (x * x, x * y, y * y))
    xe, ye = ((weight * slopes).sum(-1) for slopes in (x * error, y * error))
    right, below = rates
    after, before = ((0, 0), (0, 0), (0, 1)), ((0, 0), (0, 0), (1, 0))
    under, over = ((0, 0), (0, 1), (0, 0)), ((0, 0), (1, 0), (0, 0))

    def roughness(v: Array) -> Array:
        across, down = right * jnp.diff(v, axis=2), below * jnp.diff(v, axis=1)
        found = jnp.pad(across, before) - jnp.pad(across, after)
        return found + jnp.pad(down, over) - jnp.pad(down, under)

    def product(v: Array) -> Array:
        return jnp.stack([xx * v[0] + xy * v[1], xy * v[0] + yy * v[1]]) + roughness(v)

    degree = jnp.pad(right, before) + jnp.pad(right, after)
    degree = (degree + jnp.pad(below, over) + jnp.pad(below, under))[0] + 1e-6
    determinant = (xx + degree) * (yy + degree) - xy * xy

    def preconditioned(v: Array) -> Array:
        solved = [(yy + degree) * v[0] - xy * v[1], (xx + degree) * v[1] - xy * v[0]]
        return jnp.stack(solved) / determinant[None]

    wanted = -jnp.stack([xe, ye]) - roughness(flow)
    solve = jax.scipy.sparse.linalg.cg
    return solve(product, wanted, M=preconditioned, maxiter=_STEPS, tol=1e-3)[0]

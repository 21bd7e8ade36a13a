"""Take the flicker out of a drawn frame (Bonneel et al. 2015, "Blind video temporal consistency").

The result O of a frame minimises |grad O - grad P|^2 + w |O - R|^2, where P is the frame as it was
drawn, R the last result, warped, and w is large where the film itself says that R belongs there.
That is a screened Poisson equation, (L + w) O = L P + w R with the Laplacian L of the grid of
pixels, whose borders are free. Beyond the paper, P itself counts a little where R does: gradients
know nothing of a mean colour, which would drift from frame to frame.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.motion.warping import warp, warp_sharp
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

STRENGTH = 0.3
_ANCHOR = 0.05  # of the strength: how much P itself counts
_DIFFERENCE = 50.0  # w falls to 1/e where the film's own colours differ by a seventh of white
_COARSE = 8  # the first guess is solved for at so much smaller a size
_STEPS = 60  # of conjugate gradients, at most
_TOLERANCE = 1e-3


@jit()
def steadied(
    drawn: Float[AnyArray, "h w 3"],
    last: Float[AnyArray, "h w 3"],
    frame: Float[AnyArray, "h w 3"],
    earlier: Float[AnyArray, "h w 3"],
    flow: Float[AnyArray, "h w 2"],
    reliable: Float[AnyArray, "h w"],
    strength: Float[AnyArray, ""] | float = STRENGTH,
) -> Float[Array, "h w 3"]:
    """The result of a frame.

    Args:
        drawn: the frame as it was drawn, in [0, 1].
        last: the result of the frame before.
        frame: the film's frame.
        earlier: the film's frame before.
        flow: from the frame to the one before.
        reliable: how far the flow can be trusted, from 0 to 1.
        strength: lambda of the paper: how much R counts.
    """
    drawn, frame, reliable = (jnp.asarray(x) for x in (drawn, frame, reliable))
    warped, seen = warp_sharp(last, flow), warp(earlier, flow)[0]
    apart = jnp.square(frame - seen).sum(-1)
    weight = jnp.asarray(strength * reliable * jnp.exp(-_DIFFERENCE * apart))[..., None]
    both = weight * (1 + _ANCHOR)
    return jnp.clip(drawn + screened(both, weight * (warped - drawn)), 0, 1)


def screened(
    weight: Float[Array, "h w 1"], right: Float[Array, "h w c"], scale: int = 1
) -> Float[Array, "h w c"]:
    """Solve (L + weight) x = right by conjugate gradients, which begin with a coarser solution.

    Args:
        weight: w of each pixel, at least 0.
        right: the right side, which is 0 where the weight is.
        scale: side of a pixel of this grid in pixels of the picture.
    """
    h, w, c = right.shape
    start = jnp.zeros_like(right)
    if min(h, w) >= 2 * _COARSE and scale == 1:
        size = (-(-h // _COARSE), -(-w // _COARSE))
        small = [jax.image.resize(x, (*size, x.shape[-1]), "linear") for x in (weight, right)]
        start = jax.image.resize(screened(*small, scale=_COARSE), (h, w, c), "linear")
    weight = weight + 1e-6  # all of a frame may be new
    degree = _laplacian_diagonal(h, w)[..., None] / scale**2

    def product(x: Array) -> Array:
        return _laplacian(x) / scale**2 + weight * x

    def preconditioned(x: Array) -> Array:
        return x / (degree + weight)

    solve = jax.scipy.sparse.linalg.cg
    found = solve(product, right, start, M=preconditioned, maxiter=_STEPS, tol=_TOLERANCE)[0]
    return found


def _laplacian(x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    right, below = jnp.diff(x, axis=1), jnp.diff(x, axis=0)
    found = jnp.pad(right, ((0, 0), (1, 0), (0, 0))) - jnp.pad(right, ((0, 0), (0, 1), (0, 0)))
    return (
        found + jnp.pad(below, ((1, 0), (0, 0), (0, 0))) - jnp.pad(below, ((0, 1), (0, 0), (0, 0)))
    )


def _laplacian_diagonal(h: int, w: int) -> Float[Array, "h w"]:
    """How many neighbours each pixel has."""
    rows = jnp.full(h, 2.0).at[0].add(-1).at[-1].add(-1)
    columns = jnp.full(w, 2.0).at[0].add(-1).at[-1].add(-1)
    return rows[:, None] + columns[None]

"""Cuts: the next frame shows something else, so that no flow explains it."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nst_jax.motion.warping import require_flow, warp
from nst_jax.pictures.color import grey
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

# Over a cut, correlations stay below 0.76, as flow bends the second picture to the first; within a
# shot they stay above 0.9, also in time lapses, and while the light changes.
_LEAST_CORRELATION = 0.8
# Where all is dark or flat, nothing but noise is left to correlate.
_LEAST_DIFFERENCE = 0.05


@jit()
def is_cut(
    a: Float[AnyArray, "h w 3"], b: Float[AnyArray, "h w 3"], flow: Float[AnyArray, "h w 2"]
) -> Bool[Array, ""]:
    """Whether there is a cut between two frames: what the flow leaves over is another picture.

    The test is the correlation of the lightness of `a` and of the warped `b`, so that fades and
    flashes are no cuts. `vmap` works.

    Args:
        a: RGB in [0, 1].
        b: the other frame, likewise.
        flow: from `a` to `b`.

    Raises:
        InputError: the shapes do not fit.
    """
    require_flow(flow, a)
    seen, warped = grey(a), grey(warp(b, flow)[0])
    x, y = seen - seen.mean(), warped - warped.mean()
    product, scale = (x * y).mean(), jnp.sqrt(jnp.square(x).mean() * jnp.square(y).mean())
    different = jnp.abs(seen - warped).mean() > _LEAST_DIFFERENCE
    return different & (product < _LEAST_CORRELATION * scale + 1e-12)

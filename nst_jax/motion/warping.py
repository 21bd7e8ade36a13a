"""Backward warping: each pixel of the result looks up the place that the flow points to."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nst_jax.errors import InputError
from nst_jax.programs import jit
from nst_jax.typing import AnyArray

_TAPS = 3  # of Lanczos' kernel to each side


@jit()
def warp(
    picture: Float[AnyArray, "h w c"], flow: Float[AnyArray, "h w 2"]
) -> tuple[Float[Array, "h w c"], Bool[Array, "h w"]]:
    """Look up a picture where a flow points to, with bilinear interpolation; `vmap` works.

    Args:
        picture: any number of channels, in any range.
        flow: from the result to `picture`, in pixels to the right and down.

    Returns:
        The warped picture, and where the flow points into the picture. Elsewhere the nearest pixel
        of the picture is repeated, and where the flow is NaN, its first one.

    Raises:
        InputError: the shapes do not fit.
    """
    require_flow(flow, picture)
    h, w, c = picture.shape
    x, y = targets(flow)
    inside = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    x, y = (
        jnp.clip(jnp.where(jnp.isnan(place), 0, place), 0, size - 1)
        for place, size in ((x, w), (y, h))
    )
    left, top = jnp.floor(x), jnp.floor(y)
    across, down = (x - left)[..., None], (y - top)[..., None]
    column, row = left.astype(jnp.int32), top.astype(jnp.int32)
    right, below = jnp.minimum(column + 1, w - 1), jnp.minimum(row + 1, h - 1)
    pixels = jnp.reshape(picture, (h * w, c))
    upper = pixels[row * w + column] * (1 - across) + pixels[row * w + right] * across
    lower = pixels[below * w + column] * (1 - across) + pixels[below * w + right] * across
    return upper * (1 - down) + lower * down, inside


def targets(flow: Float[AnyArray, "h w 2"]) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """The columns and the rows that a flow points to."""
    h, w, _ = flow.shape
    flow = jnp.asarray(flow)
    columns, rows = jnp.arange(w, dtype=flow.dtype), jnp.arange(h, dtype=flow.dtype)
    return flow[..., 0] + columns[None], flow[..., 1] + rows[:, None]


def require_flow(flow: Any, beside: Any) -> None:
    """Raise `InputError` if `flow` is no flow of the height and width of the array `beside`."""
    found, other = jnp.shape(flow), jnp.shape(beside)
    if len(other) != 3 or found != (*other[:2], 2) or 0 in other:
        raise InputError(
            f"The flow has the shape {found}, and what is used with it the shape {other}; expected "
            "(height, width, 2) and an array (height, width, channels) of the same size."
        )


@jit()
def warp_sharp(
    picture: Float[AnyArray, "h w c"], flow: Float[AnyArray, "h w 2"]
) -> Float[Array, "h w c"]:
    """Look up a picture as `warp` does, by Lanczos' kernel of six taps, which keeps it sharp.

    Values may leave the picture's range beside edges. Where the flow points out of the picture, the
    nearest pixels are repeated.

    Raises:
        InputError: the shapes do not fit.
    """
    require_flow(flow, picture)
    h, w, c = picture.shape
    x, y = (
        jnp.clip(jnp.where(jnp.isnan(place), 0, place), 0, size - 1)
        for place, size in zip(targets(flow), (w, h), strict=True)
    )
    across, down = x - jnp.floor(x), y - jnp.floor(y)
    wide = jnp.pad(picture, ((_TAPS - 1, _TAPS), (_TAPS - 1, _TAPS), (0, 0)), mode="edge")
    length = w + 2 * _TAPS - 1
    corner = jnp.floor(y).astype(jnp.int32) * length + jnp.floor(x).astype(jnp.int32)
    pixels = wide.reshape(-1, c)
    columns, found = _lanczos(across), jnp.zeros((h, w, c), jnp.float32)
    for i, weight in enumerate(_lanczos(down)):
        row = [tap[..., None] * pixels[corner + i * length + j] for j, tap in enumerate(columns)]
        found += weight[..., None] * sum(row[1:], row[0])
    return found


def _lanczos(share: Float[Array, "h w"]) -> list[Float[Array, "h w"]]:
    """The weights of the taps around a place that lies `share` behind the one in the middle."""
    apart = [share + _TAPS - 1 - i for i in range(2 * _TAPS)]
    taps = [jnp.sinc(d) * jnp.sinc(d / _TAPS) for d in apart]
    total = sum(taps[1:], taps[0])
    return [tap / total for tap in taps]

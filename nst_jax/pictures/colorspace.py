"""Two colour spaces, each split into lightness and chroma.

`rgb` is sRGB as encoded. Its lightness is Rec. 601 luma, the Y of YIQ, YUV and YCbCr. These three
spaces rotate and scale the chroma differently, which changes no result here. Gatys et al. 2016 and
other implementations use this space.

`oklab` is perceptual: colours of equal lightness look equally light whatever their hue, and a
colour that loses chroma keeps its hue, whereas blues in CIELAB turn purple (Ottosson 2020,
https://bottosson.github.io/posts/oklab).
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nst_jax.linalg import einsum
from nst_jax.options import ColorSpace
from nst_jax.typing import AnyArray

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_FROM_CONES = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_BISECTIONS = 12


def to_oklab(rgb: Float[AnyArray, "*hw 3"]) -> Float[Array, "*hw 3"]:
    """Convert encoded sRGB to Oklab: lightness in [0, 1] and two opponent axes.

    The sRGB curve is continued to negative values as an odd function, so that `from_oklab` is the
    inverse everywhere, outside [0, 1] too. The gradient at black is infinite.
    """
    size = jnp.abs(rgb)
    # The maximum keeps the power's gradient finite near zero, where the linear piece applies.
    curve = jnp.power((jnp.maximum(size, 0.04045) + 0.055) / 1.055, 2.4)
    linear = jnp.sign(rgb) * jnp.where(size <= 0.04045, size / 12.92, curve)
    return _times(_FROM_CONES, jnp.cbrt(_times(_TO_CONES, linear)))


def from_oklab(lab: Float[AnyArray, "*hw 3"]) -> Float[Array, "*hw 3"]:
    """Convert Oklab to encoded sRGB, the inverse of `to_oklab`.

    Values lie outside [0, 1] where sRGB does not have the colour.
    """
    linear = _times(np.linalg.inv(_TO_CONES), _times(np.linalg.inv(_FROM_CONES), lab) ** 3)
    size = jnp.abs(linear)
    curve = 1.055 * jnp.power(jnp.maximum(size, 0.0031308), 1 / 2.4) - 0.055
    return jnp.sign(linear) * jnp.where(size <= 0.0031308, 12.92 * size, curve)


def split(
    rgb: Float[AnyArray, "*hw 3"], space: ColorSpace
) -> tuple[Float[Array, "*hw 1"], Float[Array, "*hw c"]]:
    """Split colours into lightness and chroma.

    Chroma has two axes in `oklab`; in `rgb` it is each channel minus the lightness.
    """
    if space == "oklab":
        lab = to_oklab(rgb)
        return lab[..., :1], lab[..., 1:]
    lightness = _times(_LUMA[None], rgb)
    return lightness, jnp.asarray(rgb) - lightness


def join(
    lightness: Float[AnyArray, "*hw 1"], chroma: Float[AnyArray, "*hw c"], space: ColorSpace
) -> Float[Array, "*hw _"]:
    """Join lightness and chroma, the inverse of `split`.

    Values lie outside [0, 1] where sRGB does not have the colour.
    """
    if space == "oklab":
        return from_oklab(jnp.concatenate([lightness, chroma], axis=-1))
    return jnp.asarray(lightness + chroma)


def join_in_gamut(
    lightness: Float[AnyArray, "*hw 1"], chroma: Float[AnyArray, "*hw c"], space: ColorSpace
) -> Float[Array, "*hw 3"]:
    """Like `join`, but with chroma reduced as far as needed to keep the colour within [0, 1].

    Lightness is clipped to [0, 1] and then stays exact. Other implementations clip the channels
    instead, which changes lightness and hue: dark strokes on strong colours become coloured
    speckles.
    """
    lightness = jnp.clip(lightness, 0, 1)

    def allowed(share):
        found = join(lightness, share * chroma, space)
        # Without the tolerance, rounding would put colours at the ends of the range out of gamut.
        return jnp.all((found >= -1e-5) & (found <= 1 + 1e-5), axis=-1, keepdims=True)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        ok = allowed(middle)
        return jnp.where(ok, middle, low), jnp.where(ok, high, middle)

    one = jnp.ones_like(lightness)
    low, _ = lax.fori_loop(0, _BISECTIONS, halve, (0 * one, one))
    share = jnp.where(allowed(one), one, low)
    return jnp.clip(join(lightness, share * chroma, space), 0, 1)


def _times(matrix: np.ndarray, colors: AnyArray) -> Array:
    return einsum("...i,ji->...j", colors, matrix.astype(np.float32))

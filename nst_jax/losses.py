"""The losses: arrays in, a scalar out; they know neither layer names nor weights.

Three conventions, each written once. With N feature maps, M positions, features F of the picture
and P of the content, Gram matrices G and A over positions (`statistics.gram`):

============  =======================  ==============================  ======================
name          content                  style, one layer                total variation
============  =======================  ==============================  ======================
gatys         mean (F - P)^2           1/N^2 mean (G - A)^2            mean d^2
paper         1/2 sum (F - P)^2        1/(4 N^2 M^2) sum (MG - MA)^2   1/2 sum d^2
neural-style  mean (F - P)^2           mean (G/N - A/N)^2              1/2 sum d^2
============  =======================  ==============================  ======================

`gatys` is his PyTorch code, whose style weights are 1e3/N^2; it has no total variation, so the
resolution-independent mean stands there. `paper` is Gatys, Ecker & Bethge 2015/2016, eqs. 1 and 4.
`neural-style` is jcjohnson's Lua code. d are the differences of neighbouring pixels in 0..255.
The weights of one convention turn into another's: paper style = N^2/4 x neural-style's (so alpha
and beta mean something else), paper content = (N M / 2) x the mean (so it grows with the size).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from nst_jax.choices import Normalization
from nst_jax.typing import AnyArray


def content_loss(
    features: Float[AnyArray, "h w c"],
    target: Float[AnyArray, "h w c"],
    normalization: Normalization = "gatys",
    *,
    width: int | None = None,
) -> Float[Array, ""]:
    """Distance of two pictures' features at one layer (Gatys et al. 2016, eq. 1; see the module).

    Args:
        features: of the picture, (h, w, c).
        target: of the content picture, the same shape.
        normalization: `"gatys"`, `"paper"` or `"neural-style"`.
        width: N in the formulas; c if not given. A network that projects its feature maps gives
            the unprojected number.

    Returns:
        A float32 scalar.
    """
    h, w, c = features.shape
    total = jnp.square(features.astype(jnp.float32) - target.astype(jnp.float32)).sum()
    return total / 2 if normalization == "paper" else total / (h * w * (width or c))


def style_loss(
    gram: Float[AnyArray, "c c"],
    target: Float[AnyArray, "c c"],
    normalization: Normalization = "gatys",
    *,
    width: int | None = None,
) -> Float[Array, ""]:
    """Distance of two Gram matrices at one layer (Gatys et al. 2016, eq. 4; see the module).

    Args:
        gram: of the picture, over positions (`statistics.gram`), (c, c).
        target: of the style picture, the same shape.
        normalization: `"gatys"`, `"paper"` or `"neural-style"`.
        width: as for `content_loss`.

    Returns:
        A float32 scalar. For pictures of unequal size, `paper` takes M from the picture.
    """
    n = width or gram.shape[-1]
    total = jnp.square(gram - target).sum()
    match normalization:
        case "gatys":
            return total / n**2 / n**2
        case "neural-style":
            return jnp.square((gram - target) / n).sum() / n**2
        case "paper":
            return total / (4 * n**2)


def total_variation(
    image: Float[AnyArray, "h w 3"], normalization: Normalization = "gatys"
) -> Float[Array, ""]:
    """Squared differences of neighbouring pixels, in units of 0..255.

    Args:
        image: RGB in [0, 1].
        normalization: `"gatys"`: the mean over both directions' differences, independent of the
            size; otherwise 1/2 the sum over pixels that have both neighbours (jcjohnson).

    Returns:
        A float32 scalar.
    """
    image = image * 255
    down, right = image[1:] - image[:-1], image[:, 1:] - image[:, :-1]
    if normalization == "gatys":
        return (jnp.square(down).sum() + jnp.square(right).sum()) / (down.size + right.size)
    return (jnp.square(down[:, :-1]).sum() + jnp.square(right[:-1]).sum()) / 2

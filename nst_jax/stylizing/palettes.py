"""The palettes of the styles, and where in the picture each of them holds."""

import numpy as np
from jaxtyping import Float

from nst_jax.losses.regions import stacked
from nst_jax.losses.term import Scene
from nst_jax.typing import AnyArray


def palettes_of(
    scene: Scene, blend: Float[AnyArray, "*r k"] | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The pixels of each source of style, and their shares in the picture; see `recolored`."""
    if scene.regions is None:
        shares = np.ones(1, np.float32) if blend is None else np.asarray(blend)
        return [np.asarray(style) for style in scene.styles], shares
    found = []
    for style, masks in zip(scene.styles, scene.regions.styles, strict=True):
        height, width, _ = style.shape
        of_style = [None] if masks is None else stacked(masks, (height, width))
        for mask in of_style:
            seen = np.full((height, width), True) if mask is None else mask >= mask.max() / 2
            found.append(np.asarray(style)[seen][:, None])
    height, width, _ = scene.content.shape
    drawn = scene.regions.drawn((height, width))
    shares = np.einsum("rhw,rk->hwk", drawn, scene.regions.blend)
    return found, shares / np.maximum(shares.sum(-1, keepdims=True), 1e-6)

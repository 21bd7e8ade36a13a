"""Pictures to other sizes: antialiased, aspect ratio kept, no value outside [0, 1].

Lanczos (Pillow's, whose kernel widens when it shrinks a picture) on float32 planes, in the
encoded sRGB values, as every peer does.
"""

import numpy as np
from jaxtyping import Float
from PIL import Image

_Box = tuple[float, float, float, float]


def fit(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of a picture whose long side becomes `size` pixels."""
    long = max(height, width)
    h, w = (max(1, (2 * side * size + long) // (2 * long)) for side in (height, width))
    return h, w


def resize(
    rgb: Float[np.ndarray, "h w 3"], height_width: tuple[int, int]
) -> Float[np.ndarray, "h2 w2 3"]:
    """A picture at `height_width` pixels; values in [0, 1], float32, before and after."""
    return np.clip(_resample(rgb, height_width), 0, 1)


def resize_with_alpha(
    rgb: Float[np.ndarray, "h w 3"],
    alpha: Float[np.ndarray, "h w"] | None,
    height_width: tuple[int, int],
) -> tuple[Float[np.ndarray, "h2 w2 3"], Float[np.ndarray, "h2 w2"] | None]:
    """Colours and straight alpha, if there is any, at `height_width` pixels; all in [0, 1].

    Colours count by their alpha, so that those of transparent pixels do not bleed into the edge
    of what is seen. Where nothing is seen they are resized for themselves.
    """
    if alpha is None:
        return resize(rgb, height_width), None
    weighted = _resample(rgb * alpha[..., None], height_width)
    opacity = _resample(alpha[..., None], height_width)
    seen = opacity > 1 / 255
    colours = np.where(seen, weighted / np.where(seen, opacity, 1), _resample(rgb, height_width))
    return np.clip(colours, 0, 1), np.clip(opacity[..., 0], 0, 1)


def cover(
    rgb: Float[np.ndarray, "h w 3"], height_width: tuple[int, int]
) -> Float[np.ndarray, "h2 w2 3"]:
    """A picture that fills `height_width` pixels: scaled, and its middle cut out."""
    (h, w), (h2, w2) = rgb.shape[:2], height_width
    scale = max(h2 / h, w2 / w)
    top, left = (h - h2 / scale) / 2, (w - w2 / scale) / 2
    box = (max(left, 0.0), max(top, 0.0), min(w - left, float(w)), min(h - top, float(h)))
    return np.clip(_resample(rgb, height_width, box), 0, 1)


def resize_masks(
    masks: Float[np.ndarray, "*r h w"], height_width: tuple[int, int]
) -> Float[np.ndarray, "*r h2 w2"]:
    """Masks at another size, antialiased by a kernel that is nowhere negative.

    Pixels that belong to several masks by shares of sum 1 keep that sum.
    """
    height, width = masks.shape[-2:]
    planes = np.moveaxis(masks.reshape(-1, height, width), 0, -1)
    planes = np.clip(_resample(planes, height_width, None, Image.Resampling.BILINEAR), 0, 1)
    return np.moveaxis(planes, -1, 0).reshape(*masks.shape[:-2], *height_width)


def _resample(
    values: Float[np.ndarray, "h w c"],
    height_width: tuple[int, int],
    box: _Box | None = None,
    kernel: Image.Resampling = Image.Resampling.LANCZOS,
) -> Float[np.ndarray, "h2 w2 c"]:
    h, w = height_width
    planes = [
        Image.fromarray(plane).resize((w, h), kernel, box=box)
        for plane in np.moveaxis(values.astype(np.float32), -1, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)

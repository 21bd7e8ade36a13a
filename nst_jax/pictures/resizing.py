"""Resize pictures with antialiasing; all values stay in [0, 1].

The filter is Pillow's Lanczos on float32 channels; its kernel widens when a picture shrinks. It
works on the encoded sRGB values, as other implementations of style transfer do.
"""

import numpy as np
from jaxtyping import Float
from PIL import Image

_Box = tuple[float, float, float, float]


def fit(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width that make the long side `size` pixels and keep the aspect ratio."""
    long = max(height, width)
    h, w = (max(1, (2 * side * size + long) // (2 * long)) for side in (height, width))
    return h, w


def resize(
    rgb: Float[np.ndarray, "h w 3"], height_width: tuple[int, int]
) -> Float[np.ndarray, "h2 w2 3"]:
    """Resize a picture, float32 in [0, 1], to `height_width` pixels."""
    return np.clip(_resample(rgb, height_width), 0, 1)


def resize_with_alpha(
    rgb: Float[np.ndarray, "h w 3"],
    alpha: Float[np.ndarray, "h w"] | None,
    height_width: tuple[int, int],
) -> tuple[Float[np.ndarray, "h2 w2 3"], Float[np.ndarray, "h2 w2"] | None]:
    """Resize colours and straight alpha, if there is any, to `height_width` pixels; all in [0, 1].

    Colours are weighted by their alpha, so that the colours of transparent pixels do not bleed
    into visible edges. Where the result is transparent, the colours are resized without weights.
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
    """Scale a picture to cover `height_width` pixels, and crop its middle."""
    (h, w), (h2, w2) = rgb.shape[:2], height_width
    scale = max(h2 / h, w2 / w)
    top, left = (h - h2 / scale) / 2, (w - w2 / scale) / 2
    box = (max(left, 0.0), max(top, 0.0), min(w - left, float(w)), min(h - top, float(h)))
    return np.clip(_resample(rgb, height_width, box), 0, 1)


def resize_masks(
    masks: Float[np.ndarray, "*r h w"], height_width: tuple[int, int]
) -> Float[np.ndarray, "*r h2 w2"]:
    """Resize masks with a bilinear kernel, which is nowhere negative.

    Where the masks sum to 1, the resized masks sum to 1 as well.
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

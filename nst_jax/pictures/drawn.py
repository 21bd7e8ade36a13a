"""A finished picture with what made it, as models and the methods of `patches` return it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nst_jax.pictures import writing


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture that a model or another method drew.

    Attributes:
        image: RGB float32 in [0, 1], (h, w, 3).
        alpha: the content's transparency, (h, w) in [0, 1], or None.
        icc: the content's colour profile, or None for sRGB; `save` converts back to it.
        about: model, style and settings that made it, in plain values; `save` embeds them.
    """

    image: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"] | None = None
    icc: bytes | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
        """Write PNG, JPEG, WebP or TIFF by the path's suffix, like `Stylization.save`."""
        return writing.save(
            path,
            self.image,
            alpha=self.alpha,
            icc=self.icc,
            settings=self.about,
            overwrite=overwrite,
        )

    def _repr_png_(self) -> bytes:
        return writing.encode_png(self.image, self.alpha)

    def __repr__(self) -> str:
        h, w, _ = self.image.shape
        return f"Drawn({w}x{h}, {self.about.get('model')}, {self.about.get('seconds')} s)"

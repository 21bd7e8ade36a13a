"""All blocks of a texture, and how well each would fit a place: squared errors by transforms."""

from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float

from nst_jax.errors import InputError

Target = tuple[Float[np.ndarray, "b b"], Float[np.ndarray, "b b c"]]


class Blocks:
    """The blocks of a texture.

    Attributes:
        texture: the texture's colours less their mean, so that transforms lose fewer digits.
        middle: the mean colour.
    """

    def __init__(
        self,
        texture: Float[np.ndarray, "h w c"],
        light: Float[np.ndarray, "h w"] | None = None,
        hidden: Bool[np.ndarray, "h w"] | None = None,
    ):
        """Transform a texture once for all comparisons.

        Args:
            texture: its colours.
            light: its luminance, where blocks are also chosen by luminance.
            hidden: pixels that no block may show.
        """
        self.middle = texture.mean((0, 1))
        self.texture = (texture - self.middle).astype(np.float32)
        self._hidden, self._light = hidden, light
        planes = [np.square(self.texture).sum(-1), *np.moveaxis(self.texture, -1, 0)]
        stack = np.stack(planes if light is None else [*planes, light]).astype(np.float32)
        self._shape = tuple(scipy.fft.next_fast_len(n, real=True) for n in texture.shape[:2])
        self._spectra: Any = scipy.fft.rfft2(stack, self._shape, workers=-1)

    def at(self, place: tuple[int, int], side: int) -> Float[np.ndarray, "b b c"]:
        """The block of that side whose upper left corner is at a place."""
        y, x = place
        return self.texture[y : y + side, x : x + side]

    def costs(self, side: int) -> Float[np.ndarray, "rows columns"]:
        """What each block of that side costs whatever its place, to be added to its errors.

        It is infinite for blocks with hidden pixels, and else the sum of squared luminance.

        Raises:
            InputError: every block has hidden pixels.
        """
        height, width = self.texture.shape[:2]
        found = np.zeros((height - side + 1, width - side + 1))
        if self._light is not None:
            found = _box_sums(np.square(self._light.astype(float)), side)
        if self._hidden is not None:
            found = np.where(_box_sums(self._hidden.astype(float), side) > 0.5, np.inf, found)
            if np.isinf(found).all():
                raise InputError(
                    f"The texture has transparent pixels in every block of {side} x {side}: take "
                    "smaller blocks."
                )
        return found

    def errors(
        self, targets: list[Target], light: tuple[float, Float[np.ndarray, "b b"]] | None = None
    ) -> Float[np.ndarray, "rows columns"]:
        """The sum of squared errors of each block.

        Args:
            targets: colours that the block shall have, less `middle`, and the weight of each pixel.
            light: weight of the luminance, and the luminance that the block shall have. The
                blocks' own squares are left out (`costs`).
        """
        weights: Any = sum(w for w, _ in targets)
        wanted: Any = sum(w[..., None] * t for w, t in targets)
        constant = sum(float((w * np.square(t).sum(-1)).sum()) for w, t in targets)
        kernels = [weights, *(-2 * np.moveaxis(wanted, -1, 0))]
        if light is not None:
            share, level = light
            kernels.append(-2 * share * level)
            constant += share * float(np.square(level).sum())
        # Beyond the block all rows are zero: transform its rows first, then all columns.
        stack = np.stack(kernels).astype(np.float32)
        spectrum: Any = scipy.fft.rfft(stack, self._shape[1], workers=-1)
        spectrum = scipy.fft.fft(spectrum, self._shape[0], axis=1, workers=-1)
        product = np.einsum("chw,chw->hw", self._spectra, spectrum.conj())
        height, width = (
            n - side + 1 for n, side in zip(self.texture.shape[:2], weights.shape, strict=True)
        )
        errors: Any = scipy.fft.irfft2(product, self._shape, workers=-1)
        return errors[:height, :width] + constant


def _box_sums(values: Float[np.ndarray, "h w"], side: int) -> Float[np.ndarray, "h2 w2"]:
    """The sum over each square of that side."""
    sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    n = side
    return sums[n:, n:] - sums[:-n, n:] - sums[n:, :-n] + sums[:-n, :-n]

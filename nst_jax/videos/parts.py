"""Parts of a film's frames that a model draws in styles of their own, or leaves as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.losses import regions
from nst_jax.models.model import Painter
from nst_jax.videos.earlier import agreement
from nst_jax.videos.maps import Maps
from nst_jax.videos.passages import Passage

_TRACE = np.float32(1e-6)


class Parts:
    """Draws each region in its style: every style draws the whole frame, and masks put it together.

    Args:
        painters: of the styles, from `Model.painter`.
        maps: the regions of the frames, and what is kept.
        chosen: from each label to the number of its style, from 1; 0 keeps the region.

    Raises:
        InputError: the labels or the styles do not fit together.
    """

    def __init__(
        self, painters: Sequence[Painter], maps: Maps, chosen: Mapping[str, int] | None = None
    ):
        masks, keep = maps.at(0)
        if masks and chosen is None:
            raise InputError(
                "content_regions alone change nothing: say which style each region takes, as in "
                f"region_styles='{','.join(f'{label}:1' for label in masks)}'."
            )
        self._painters, self._maps = painters, maps
        self._last: Float[np.ndarray, "h w k"] | None = None
        count = len(painters)
        self._regions = regions.match(
            masks or None, [None] * count, [1.0] * count, chosen=chosen, keep=keep
        )

    def batch(self, number: int, ways: Sequence[Passage | None]) -> "Batch":
        """What the frames from `number` on are drawn with; batches follow one another.

        Args:
            number: of the first frame.
            ways: for each its passage from the frame before.
        """
        if number and self._last is None:
            self._last = self._shares(number - 1)
        shares = np.stack([self._shares(number + n) for n in range(len(ways))])
        found = _agreeing(ways, [self._last, *shares[:-1]], shares)
        self._last = shares[-1]
        return Batch(self._painter(shares), found, shares)

    def _shares(self, number: int) -> Float[np.ndarray, "h w k"]:
        masks, keep = self._maps.at(number)
        drawn = self._regions.of_frame(masks, keep).drawn(self._maps.size)
        weights = np.moveaxis(drawn, 0, -1) @ self._regions.blend
        return weights / np.maximum(weights.sum(-1, keepdims=True), 1)

    def _painter(self, shares: Float[np.ndarray, "b h w k"]) -> Painter:
        """Draw frames of these shares; where they have none, some style is drawn, to be covered."""
        if len(self._painters) == 1:
            return self._painters[0]
        some = shares + _TRACE * (shares.max((1, 2), keepdims=True) > 0)
        weights = some / np.maximum(some.sum(-1, keepdims=True), _TRACE)

        def paint(frames: Any, *carried: Any) -> Float[np.ndarray, "b h w 3"]:
            found = np.zeros(frames.shape, np.float32)
            for n, one in enumerate(self._painters):
                if weights[..., n].any():
                    found += weights[..., n, None] * one(frames, *carried)
            return found

        return paint


class Batch(NamedTuple):
    """What some frames are drawn with.

    Attributes:
        paint: draws them.
        ways: their passages, trusted only where the frame before has the same shares.
        shares: how much of each style their pixels take; the rest to 1 is the frame's own.
    """

    paint: Painter
    ways: list[Passage | None]
    shares: Float[np.ndarray, "b h w k"]

    def shown(
        self, n: int, frame: Float[np.ndarray, "h w 3"], drawn: Float[np.ndarray, "h w 3"]
    ) -> Float[np.ndarray, "h w 3"]:
        """The drawing of frame n, with the frame's own pixels where no style is drawn."""
        own = 1 - self.shares[n].sum(-1, keepdims=True)
        return drawn + own * (frame - drawn)


def _agreeing(
    ways: Sequence[Passage | None],
    before: Sequence[Float[np.ndarray, "h w k"] | None],
    shares: Float[np.ndarray, "b h w k"],
) -> list[Passage | None]:
    found = list(ways)
    for n, (way, earlier, now) in enumerate(zip(ways, before, shares, strict=True)):
        if way is not None and earlier is not None:
            agree = agreement(np.moveaxis(earlier, -1, 0), np.moveaxis(now, -1, 0), way.flow)
            found[n] = replace(way, reliable=way.reliable * agree)
    return found

"""Regions: which part of the picture takes which part of which style, and which pixels are kept.

This is the spatial guidance of Gatys et al. 2017, section 4. Each region r has a guidance channel
T^r (h, w) and, at each layer, its own statistics: those of the feature maps T^r F. T^r is
normalised so that its squares sum to 1, so each position has the weight T^2.

The guides are resampled for each layer, which is the simple rule of the paper: the guide of a
position is the mean over its pixels, in the same blocks as pooling. This keeps soft edges and
shares, and no region that has pixels becomes empty. With the paper's "inside" rule, receptive
fields of a hundred pixels and more would leave all but the largest regions empty at deep layers.

The loss of a region is weighted by its share of the picture, the paper's lambda_r. Each pixel then
counts as much as without regions, and a single region for the whole picture changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from nst_jax.errors import InputError
from nst_jax.networks.base import Network
from nst_jax.pictures.masks import Masks, parse_label, resized
from nst_jax.pictures.transparency import HIDDEN
from nst_jax.typing import AnyArray

_TRACE = 1e-30  # weight that no gradient shows


class Kept(NamedTuple):
    """The pixels that stay as they are.

    Attributes:
        mask: the share of each pixel that is kept, in [0, 1].
        picture: the picture that supplies these pixels.
    """

    mask: Float[AnyArray, "h w"]
    picture: Float[AnyArray, "h w 3"]


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of the result and of the styles, and how they are matched.

    Masks can have any size; they are resized to the size of their picture.

    Attributes:
        content: the regions of the result that are drawn; None for the whole picture.
        styles: the regions of each style; None for the whole style. Each region and each whole
            style is one source of statistics; all k sources are numbered in this order.
        blend: the weights of the k sources in each of the r regions of the result; rows sum to 1.
        keep: mask of the pixels that stay as they are in the content; None for no such pixels.
        kept: labels of the content whose regions stay as they are; they are in `keep`.
        passing: whether the content is a frame of a film, in which regions may have no pixels.
    """

    content: Masks | None
    styles: tuple[Masks | None, ...]
    blend: Float[np.ndarray, "r k"]
    keep: Float[np.ndarray, "_ _"] | None = None
    kept: tuple[str, ...] = ()
    passing: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the result's regions in error messages."""
        return ("that is drawn",) if self.content is None else tuple(self.content)

    def drawn(self, height_width: tuple[int, int]) -> Float[np.ndarray, "r h w"]:
        """The masks of the result's regions at its size, without the pixels that are kept."""
        whole = np.ones((1, *height_width), np.float32)
        masks = whole if self.content is None else stacked(self.content, height_width)
        return masks if self.keep is None else masks * (1 - resized(self.keep, height_width))

    def without_transparent(self, alphas: Sequence[Float[np.ndarray, "_ _"] | None]) -> "Regions":
        """Leave transparent pixels out of each style, given its opacity; None if it is opaque."""
        styles = [
            masks if alpha is None else _shown(masks, alpha)
            for masks, alpha in zip(self.styles, alphas, strict=True)
        ]
        return replace(self, styles=tuple(styles))

    def of_frame(self, content: Masks, keep: Float[np.ndarray, "_ _"] | None) -> "Regions":
        """The same regions in a frame of a film, where some may have no pixels.

        Args:
            content: the frame's regions, with all labels; empty if the film has none.
            keep: the mask of its pixels that stay as they are; None for no such pixels.
        """
        if self.content is None:
            return replace(self, keep=keep, passing=True)
        drawn = {label: content[label] for label in self.content}
        return replace(self, content=drawn, keep=_kept_of(content, self.kept, keep), passing=True)

    def hidden(self, style: int, height_width: tuple[int, int]) -> Bool[np.ndarray, "h w"] | None:
        """The pixels of a style, counted from 0, that are in none of its regions.

        None if the style has no regions, or they cover all of it.
        """
        masks = self.styles[style]
        if masks is None:
            return None
        found = stacked(masks, height_width).max(0) < HIDDEN
        return found if found.any() else None


def match(
    content: Masks | None,
    styles: Sequence[Masks | None],
    blend: Sequence[float],
    *,
    chosen: Mapping[str, int] | None = None,
    keep: Float[np.ndarray, "h w"] | None = None,
) -> Regions:
    """Match the regions of the content with those of the styles by their labels.

    Args:
        content: the regions of the content; None for the whole picture.
        styles: the regions of each style; None for the whole style, which then serves every region.
        blend: the weights of the styles.
        chosen: from each label to the number of its style, counted from 1; 0 keeps the content in
            this region. With None, a region takes all styles that have its label.
        keep: mask of the pixels that stay as they are in the content.

    Raises:
        InputError: a label is missing on the other side, a style does not exist, or options
            contradict each other.
    """
    if content is None:
        if chosen is not None or any(style is not None for style in styles):
            raise InputError(
                "style_regions and region_styles need content_regions: give the content's map too."
            )
        return Regions(None, tuple(styles), _normalized([blend]), keep)
    if chosen is None and all(style is None for style in styles):
        raise InputError(
            "content_regions alone change nothing: give style_regions, or say which style each "
            f"region takes, as in region_styles='{_example(content)}'."
        )
    for number, style in enumerate(styles, 1):
        _require_known(style or {}, content, f"The regions of style {number} have")
    choices = _choices(content, chosen, len(styles))
    drawn = [label for label, numbers in choices.items() if numbers]
    if not drawn:
        raise InputError("region_styles keeps every region, so there is nothing to draw.")
    kept = tuple(label for label in content if label not in drawn)
    return Regions(
        {label: content[label] for label in drawn},
        tuple(styles),
        _normalized([_row(label, choices[label], styles, blend) for label in drawn]),
        _kept_of(content, kept, keep),
        kept,
    )


def _kept_of(
    content: Masks, labels: Iterable[str], keep: Float[np.ndarray, "h w"] | None
) -> Float[np.ndarray, "h2 w2"] | None:
    """The mask of all pixels that stay as they are: of regions, and by a mask of their own."""
    found = [content[label] for label in labels] + ([] if keep is None else [keep])
    return np.max([resized(mask, found[0].shape) for mask in found], axis=0) if found else None


def _shown(masks: Masks | None, alpha: Float[np.ndarray, "h w"]) -> Masks:
    if masks is None:
        return {"that is opaque": alpha}
    return {label: resized(mask, alpha.shape) * alpha for label, mask in masks.items()}


def _choices(
    content: Masks, chosen: Mapping[str, int] | None, styles: int
) -> dict[str, tuple[int, ...]]:
    """The numbers of the styles that each label takes, from 1; an empty tuple if it is kept."""
    if chosen is None:
        return dict.fromkeys(content, tuple(range(1, styles + 1)))
    chosen = {parse_label(label): number for label, number in chosen.items()}
    _require_known(chosen, content, "region_styles has")
    missing = [label for label in content if label not in chosen]
    if missing:
        raise InputError(
            f"region_styles lacks {_listed(missing)}, which the content's regions have: give each "
            f"the number of a style, or 0 to keep it, as in '{_example(content)}'."
        )
    for label, number in chosen.items():
        if number > styles:
            raise InputError(
                f"region_styles gives {label} style {number}, but the number of style pictures is "
                f"{styles}."
            )
    return {label: (chosen[label],) if chosen[label] else () for label in content}


def _row(
    label: str, numbers: Sequence[int], styles: Sequence[Masks | None], blend: Sequence[float]
) -> list[float]:
    """The weights of all sources in the region `label`, which takes the styles `numbers`."""
    row: list[float] = []
    for number, (style, weight) in enumerate(zip(styles, blend, strict=True), 1):
        own = [""] if style is None else list(style)
        fits = [number in numbers and name in ("", label) for name in own]
        row += [weight * fit for fit in fits]
    if not sum(row):
        given = [style for n, style in enumerate(styles, 1) if n in numbers]
        if any(style is None or label in style for style in given):
            raise InputError(
                f"style_blend gives no weight to any style of the region {label}: give one of them "
                "a weight above 0."
            )
        has = dict.fromkeys(name for style in given for name in style or {})
        raise InputError(
            f"The content's regions have {label}, which the style's lack (they have "
            f"{_listed(has)}): paint both maps with the same labels, and save them as PNG, since "
            "JPEG changes colours."
        )
    return row


def _require_known(labels: Iterable[str], content: Masks, subject: str) -> None:
    extra = [label for label in labels if label not in content]
    if extra:
        raise InputError(
            f"{subject} {_listed(extra)}, which the content's regions lack (they are "
            f"{_listed(content)}): use the same labels on both sides, and save maps as PNG, since "
            "JPEG changes colours."
        )


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(labels)


def _example(labels: Iterable[str]) -> str:
    return ",".join(f"{label}:1" for label in labels)


def _normalized(rows: Sequence[Sequence[float]]) -> Float[np.ndarray, "r k"]:
    array = np.asarray(rows, np.float32)
    return array / array.sum(axis=1, keepdims=True)


def stacked(masks: Masks, height_width: tuple[int, int]) -> Float[np.ndarray, "r h w"]:
    """Resize the masks to the size of their picture, and stack them."""
    return np.stack([resized(mask, height_width) for mask in masks.values()])


def at_layers(
    masks: Float[AnyArray, "r h w"], network: Network, layers: Sequence[str]
) -> dict[str, Float[Array, "r _ _"]]:
    """Compute T^2 for each layer: the weight, in [0, 1], of each position in each region."""
    return {layer: weights_at(masks, network.strides[layer]) for layer in layers}


def weights_at(masks: Float[AnyArray, "r h w"], stride: int) -> Float[Array, "r _ _"]:
    """Compute T^2 for positions that are `stride` pixels apart: squares of the masks' means."""
    regions, height, width = masks.shape
    rows, columns = height // stride, width // stride
    whole = jnp.asarray(masks)[:, : rows * stride, : columns * stride]
    return jnp.square(whole.reshape(regions, rows, stride, columns, stride).mean((2, 4)))


def require_all(guides: Mapping[str, Array], labels: Iterable[str], whose: str) -> None:
    """Raise `InputError` if a region is empty at one of the layers."""
    for layer, guide in guides.items():
        for label, total in zip(tuple(labels), np.asarray(guide.sum((1, 2))), strict=True):
            if not total > 0:
                raise InputError(
                    f"The region {label} of the {whose} is empty, or too small to leave a position "
                    f"at {layer}: give it more pixels, a larger size, or shallower layers."
                )


def filled(guides: Mapping[str, Array]) -> dict[str, Array]:
    """Give regions that are empty at a layer a trace of weight everywhere.

    Their statistics are then defined, and their share of the loss is lost in rounding.
    """
    return {
        layer: jnp.where(guide.sum((1, 2), keepdims=True) > 0, guide, _TRACE)
        for layer, guide in guides.items()
    }


def composed(image: Float[AnyArray, "h w 3"], kept: Kept | None) -> Float[Array, "h w 3"]:
    """Put the kept pixels into the picture, blended where the mask is soft."""
    if kept is None:
        return jnp.asarray(image)
    mask = jnp.asarray(kept.mask)[..., None]
    return mask * kept.picture + (1 - mask) * image

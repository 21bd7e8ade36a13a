"""Regions: which part of the picture is drawn to which part of which style, and what is kept.

Spatial guidance of Gatys et al. 2017, section 4: a region r with guidance channel T^r (h, w) has at
each layer its own statistics, those of the feature maps T^r F, with T^r normalised so that its
squares sum to 1. Hence positions count by T^2.

Guides reach the layers by the paper's simple rule, resampling: the average over the pixels of each
position, exactly as pooling lays them out. It keeps soft edges and shares, and empties no region
that is there; the paper's "inside" rule, with receptive fields of a hundred pixels and more, would
empty all but the largest at the deeper layers.

A region's loss counts by its share of the picture, the paper's lambda_r: each pixel is drawn as
strongly as without regions, and one region for the whole picture is no region at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.networks.base import Network
from nst_jax.pictures.masks import Masks, parse_label, resized
from nst_jax.typing import AnyArray


class Kept(NamedTuple):
    """Pixels that stay: by how much, and which."""

    mask: Float[AnyArray, "h w"]
    picture: Float[AnyArray, "h w 3"]


@dataclass(frozen=True, eq=False)
class Regions:
    """What is drawn to what; masks may have any size, and are resized to their picture's.

    Attributes:
        content: the regions in which the result is drawn; None is the whole picture.
        styles: for each style its regions, or None for the whole of it. Each of them is a source
            of statistics, numbered through.
        blend: weights of the sources in each region of the result; rows sum to 1.
        keep: where the content's own pixels stay; None is nowhere.
    """

    content: Masks | None
    styles: tuple[Masks | None, ...]
    blend: Float[np.ndarray, "r k"]
    keep: Float[np.ndarray, "_ _"] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the regions of the result, as errors name them."""
        return ("that is drawn",) if self.content is None else tuple(self.content)

    def drawn(self, height_width: tuple[int, int]) -> Float[np.ndarray, "r h w"]:
        """Where the regions of the result lie, at its size: not where it is kept."""
        whole = np.ones((1, *height_width), np.float32)
        masks = whole if self.content is None else stacked(self.content, height_width)
        return masks if self.keep is None else masks * (1 - resized(self.keep, height_width))


def match(
    content: Masks | None,
    styles: Sequence[Masks | None],
    blend: Sequence[float],
    *,
    chosen: Mapping[str, int] | None = None,
    keep: Float[np.ndarray, "h w"] | None = None,
) -> Regions:
    """The regions of the content with those of the styles, by their labels.

    Args:
        content: the content's regions; None for the whole picture.
        styles: each style's; None for the whole style, which then is in every region.
        blend: weights of the styles.
        chosen: from label to the number of its style, from 1; 0 keeps the content there. None
            draws a region to all styles that have it.
        keep: where the content's own pixels stay.

    Raises:
        InputError: labels that the other side lacks, styles that are not there, or options that
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
    kept = [content[label] for label in content if label not in drawn]
    kept += [] if keep is None else [keep]
    return Regions(
        {label: content[label] for label in drawn},
        tuple(styles),
        _normalized([_row(label, choices[label], styles, blend) for label in drawn]),
        np.max([resized(mask, kept[0].shape) for mask in kept], axis=0) if kept else None,
    )


def _choices(
    content: Masks, chosen: Mapping[str, int] | None, styles: int
) -> dict[str, tuple[int, ...]]:
    """The numbers of the styles that each label may take, from 1; none where it is kept."""
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
    """Weights of all sources in the region `label`, which may take the styles `numbers`."""
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
            f"{_listed(has)}): paint both maps with the same labels."
        )
    return row


def _require_known(labels: Iterable[str], content: Masks, subject: str) -> None:
    extra = [label for label in labels if label not in content]
    if extra:
        raise InputError(
            f"{subject} {_listed(extra)}, which the content's regions lack (they are "
            f"{_listed(content)}): use the same labels on both sides."
        )


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(labels)


def _example(labels: Iterable[str]) -> str:
    return ",".join(f"{label}:1" for label in labels)


def _normalized(rows: Sequence[Sequence[float]]) -> Float[np.ndarray, "r k"]:
    array = np.asarray(rows, np.float32)
    return array / array.sum(axis=1, keepdims=True)


def stacked(masks: Masks, height_width: tuple[int, int]) -> Float[np.ndarray, "r h w"]:
    """The masks at the size of their picture."""
    return np.stack([resized(mask, height_width) for mask in masks.values()])


def at_layers(
    masks: Float[AnyArray, "r h w"], network: Network, layers: Sequence[str]
) -> dict[str, Float[Array, "r _ _"]]:
    """By how much each position of each layer counts in each region: T^2, in [0, 1]."""
    found: dict[str, Array] = {}
    for layer in layers:
        stride = network.strides[layer]
        regions, height, width = masks.shape
        rows, columns = height // stride, width // stride
        whole = jnp.asarray(masks)[:, : rows * stride, : columns * stride]
        averages = whole.reshape(regions, rows, stride, columns, stride).mean((2, 4))
        found[layer] = jnp.square(averages)
    return found


def require_all(guides: Mapping[str, Array], labels: Iterable[str], whose: str) -> None:
    """Raise `InputError` for a region that is empty at one of the layers."""
    for layer, guide in guides.items():
        for label, total in zip(tuple(labels), np.asarray(guide.sum((1, 2))), strict=True):
            if not total > 0:
                raise InputError(
                    f"The region {label} of the {whose} is empty, or too small to leave a position "
                    f"at {layer}: give it more pixels, a larger size, or shallower layers."
                )


def composed(image: Float[AnyArray, "h w 3"], kept: Kept | None) -> Float[Array, "h w 3"]:
    """The picture with what is kept in its place, blended where the mask is soft."""
    if kept is None:
        return jnp.asarray(image)
    mask = jnp.asarray(kept.mask)[..., None]
    return mask * kept.picture + (1 - mask) * image

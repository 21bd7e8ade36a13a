"""Read the pictures and region maps that go into a stylization."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.losses import regions
from nst_jax.losses.regions import Regions
from nst_jax.losses.term import Earlier
from nst_jax.pictures import masks, reading, resizing, transparency
from nst_jax.pictures.masks import MapSource, Masks
from nst_jax.pictures.reading import Picture
from nst_jax.pictures.sources import PictureSource
from nst_jax.stylizing.settings import Settings
from nst_jax.stylizing.terms import blend_weights


class Sources(NamedTuple):
    """The pictures and maps as the caller gave them; see `stylize`.

    `start` is the picture to start from, if `init` is a picture.
    """

    content: PictureSource | None
    style: PictureSource | Sequence[PictureSource]
    start: PictureSource | None = None
    content_regions: MapSource | Masks | None = None
    style_regions: MapSource | Sequence[MapSource | None] | None = None
    keep: PictureSource | None = None

    @property
    def styles(self) -> list[PictureSource]:
        """The style pictures as a list, also for a single one."""
        return _listed(self.style)

    def names(self) -> dict[str, Any]:
        """The file names of what was given, without folders.

        They are embedded in the result. Folders are left out, since they may be private.
        """
        given = {k: v for k, v in self._asdict().items() if k != "start" and v is not None}
        names = {k: _names(v) for k, v in given.items()}
        return {k: v for k, v in names.items() if v}


class Pictures(NamedTuple):
    """The pictures and regions after reading.

    Attributes:
        content: the content picture, at the size of the result.
        styles: the style pictures at their sizes, RGB in [0, 1].
        start: the picture to start from, RGB in [0, 1]; None if `init` is not a picture.
        regions: the regions from the maps and masks; None if there are none.
        sources: the file names of what was read.
        earlier: what was drawn of earlier frames, if the content is a frame of a film.
    """

    content: Picture
    styles: list[Float[np.ndarray, "_ _ 3"]]
    start: Float[np.ndarray, "_ _ 3"] | None
    regions: Regions | None
    sources: Mapping[str, Any]
    earlier: Earlier | None = None

    def at(self, height: int, width: int) -> "Pictures":
        """Resize content and earlier frames, styles in proportion; region maps fit any size."""
        h, w, _ = self.content.rgb.shape
        if (h, w) == (height, width):
            return self
        share = max(height, width) / max(h, w)
        content = Picture(resizing.resize(self.content.rgb, (height, width)))
        return self._replace(
            content=content,
            styles=[_scaled(s, share) for s in self.styles],
            earlier=self.earlier and _resized(self.earlier, (height, width)),
        )


def read_pictures(settings: Settings, sources: Sources) -> Pictures:
    """Read all pictures and maps, and check all that can be checked without a network.

    Raises:
        InputError: a picture or map cannot be used, or they do not fit together.
    """
    if not sources.styles:
        raise InputError("There is no style picture in the list: give at least one.")
    blend = blend_weights(settings, len(sources.styles))
    scales = _scales(settings, len(sources.styles))
    labelled = None
    if sources.content_regions is not None:
        labelled = masks.read(sources.content_regions, "region map of the content")
    if sources.content is None:
        content = _blank(labelled, settings.size)
    else:
        content = reading.read(sources.content, size=settings.size, what="content picture")
    long = max(content.rgb.shape[:2])
    absolute = settings.style_size or settings.size
    sizes = [absolute if scale is None else max(1, round(scale * long)) for scale in scales]
    styles = [
        transparency.read_style(source, size=size)
        for source, size in zip(sources.styles, sizes, strict=True)
    ]
    _tell_of_other_sizes(labelled, content, "region map of the content")
    keep = None
    if sources.keep is not None:
        keep = masks.read_mask(sources.keep, "keep mask")
        _tell_of_other_sizes({"": keep}, content, "keep mask")
    style_maps = _style_maps(sources, styles)
    alphas = [style.alpha for style in styles]
    found = None
    if any(x is not None for x in (labelled, keep, settings.region_styles, *style_maps, *alphas)):
        weights = [1.0] if blend is None else blend.tolist()
        found = regions.match(
            labelled, style_maps, weights, chosen=settings.region_styles, keep=keep
        ).without_transparent(alphas)
    start = sources.start
    return Pictures(
        content,
        [style.rgb for style in styles],
        start if start is None else reading.read(start, what="init picture").rgb,
        found,
        sources.names(),
    )


def _scales(settings: Settings, styles: int) -> Sequence[float | None]:
    scales = settings.style_scale or (None,)
    if len(scales) not in (1, styles):
        raise InputError(
            f"style_scale has {len(scales)} numbers, but the number of style pictures is {styles}: "
            "give one number, or one for each."
        )
    return scales if len(scales) == styles else scales * styles


def _scaled(rgb: Float[np.ndarray, "h w 3"], share: float) -> Float[np.ndarray, "h2 w2 3"]:
    height, width, _ = rgb.shape
    size = resizing.fit(height, width, max(1, round(share * max(height, width))))
    return resizing.resize(rgb, size)


def _resized(earlier: Earlier, size: tuple[int, int]) -> Earlier:
    pictures = [resizing.resize(np.asarray(picture), size) for picture in earlier.pictures]
    return Earlier(np.stack(pictures), resizing.resize_masks(np.asarray(earlier.weights), size))


def _blank(masks: Masks | None, size: int | None) -> Picture:
    """A grey picture in place of the content, for a picture made from its region map alone."""
    if masks is None:
        raise InputError("There is no content picture: give one, or content_regions alone.")
    height, width = next(iter(masks.values())).shape
    if size is not None:
        height, width = resizing.fit(height, width, size)
    return Picture(np.full((height, width, 3), 0.5, np.float32))


def _style_maps(sources: Sources, styles: Sequence[Picture]) -> list[Masks | None]:
    given: Any = sources.style_regions
    if len(styles) == 1:
        given = [given]
    elif given is None:
        given = [None] * len(styles)
    elif not isinstance(given, list | tuple) or len(given) != len(styles):
        raise InputError(
            f"style_regions must be a list of {len(styles)} region maps, one for each style "
            "picture, with None for a style that has none."
        )
    found: list[Masks | None] = []
    for number, (source, style) in enumerate(zip(given, styles, strict=True), 1):
        what = f"region map of style {number}"
        found.append(None if source is None else masks.read(source, what))
        _tell_of_other_sizes(found[-1], style, what)
    return found


def _tell_of_other_sizes(masks: Masks | None, picture: Picture, what: str) -> None:
    for mask in (masks or {}).values():
        if picture.original is not None and mask.shape != picture.original:
            (h, w), (height, width) = mask.shape, picture.original
            warnings.warn(
                f"The {what} is {w}x{h} pixels, its picture {width}x{height}: it is resized.",
                stacklevel=2,
            )
            return


def _listed(source: Any) -> list[Any]:
    return list(source) if isinstance(source, list | tuple) else [source]


def _names(source: Any) -> Any:
    if isinstance(source, list | tuple):
        names = [_names(one) for one in source]
        return (names[0] if len(names) == 1 else names) if any(names) else None
    return os.path.basename(source) if isinstance(source, str | os.PathLike) else None

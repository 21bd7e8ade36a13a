"""Image analogies: A is to A' as B is to B'. From one pair, draw another picture alike.

Hertzmann, Jacobs, Oliver, Curless & Salesin 2001, "Image analogies". With several guides, this is
guided synthesis, as in StyLit (Fiser et al. 2016).
"""

import time
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.options import WEIGHT, in_range, is_number
from nst_jax.patches.fields import enlarged
from nst_jax.patches.scan import Layers, Level, drawn_level, first_sources
from nst_jax.pictures import color as colors
from nst_jax.pictures import reading
from nst_jax.pictures.drawn import Drawn
from nst_jax.pictures.reading import Picture
from nst_jax.pictures.sources import PictureSource

_COARSEST = 16  # least short side of the coarsest level, in pixels
_LEVELS = 5
_SMALLEST = 5

Guides = PictureSource | Sequence[PictureSource]


def analogy(
    a: Guides,
    a_prime: PictureSource,
    b: Guides,
    *,
    color: bool | None = None,
    kappa: float | None = None,
    levels: int | None = None,
    remap: bool = True,
    guide_weights: Sequence[float] | None = None,
    search: int = 2**14,
) -> Drawn:
    """Draw B' so that B' is to B as A' is to A: every pixel is copied from A'.

    Args:
        a: the picture A, or a list of guides: pictures of A' in other respects, such as labels of
            its parts, its positions or its shading. All have the size of A'.
        a_prime: the picture A': A filtered or painted.
        b: the picture B, or as many guides, of any one size.
        color: True copies colours (texture by numbers, guided synthesis). False copies luminance,
            and the result has B's colours (filters, paintings from photographs). None means True if
            there are several guides.
        kappa: how much worse than the best, as a share, a pixel may fit that continues what its
            neighbours copied. More makes larger pieces of A'. About 0.5 to 2 for filters, 5 to 25
            for textures. None means 1 for luminance and 5 for colours.
        levels: levels of the pyramid, each half the size of the last. None means up to 5.
        remap: with luminance, bring A to B's mean and deviation first, and A' by the same line.
        guide_weights: a weight for each guide; A' has weight 1. None means 1 for each.
        search: how many places of A are compared with every pixel of B; if A has more pixels, these
            lie on a grid, and the places around the best are compared as well.

    Returns:
        A `Drawn`; its `image` is RGB float32 in [0, 1], of B's size.

    Raises:
        InputError: a picture cannot be read, A and A' have unlike sizes, there are unlike numbers
            of guides, or a value is out of its range.
    """
    begin = time.perf_counter()
    ours, theirs = _read(a, "picture A"), _read(b, "picture B")
    prime = reading.read(a_prime, what="picture A'")
    _require(ours, prime, theirs)
    colours = len(ours) > 1 if color is None else color
    if not colours and len(ours) > 1:
        raise InputError(
            f"The luminance is copied by one guide, but there are {len(ours)}: give one, or copy "
            "colours (color=True)."
        )
    share = in_range(kappa, "kappa", Real, 0, 1e6, optional=True)
    share = (5.0 if colours else 1.0) if share is None else float(share)
    most = _levels(levels, (*ours, *theirs))
    places = int(in_range(search, "search", Integral, 1, 2**30) or 1)
    if colours:
        weights = _weights(guide_weights, len(ours))
        guides = _weighted(ours, theirs, weights)
        image = np.asarray(_drawn(guides[0], prime.rgb, guides[1], share, most, places))
    else:
        image = _with_luminance(ours[0].rgb, prime.rgb, theirs[0].rgb, remap, share, most, places)
    about = {"model": "analogy", "color": colours, "kappa": share, "levels": most}
    about |= {} if colours else {"remap": remap}
    about["seconds"] = round(time.perf_counter() - begin, 2)
    icc = prime.icc if colours else theirs[0].icc
    return Drawn(np.clip(image, 0, 1), theirs[0].alpha, icc, about)


def _read(given: Any, what: str) -> list[Picture]:
    several = isinstance(given, list | tuple)
    if several and not given:
        raise InputError(f"The {what} is an empty list: give a picture, or several guides.")
    return [reading.read(one, what=what) for one in (given if several else [given])]


def _require(ours: list[Picture], prime: Picture, theirs: list[Picture]) -> None:
    """Refuse unlike sizes and numbers."""
    if len(ours) != len(theirs):
        raise InputError(
            f"The picture A has {len(ours)} guides and B has {len(theirs)}: give as many, in the "
            "same order."
        )
    for pictures, wanted, names in ((ours, prime, "A and A'"), (theirs, theirs[0], "B's guides")):
        for one in pictures:
            if one.rgb.shape != wanted.rgb.shape:
                (h, w, _), (h2, w2, _) = one.rgb.shape, wanted.rgb.shape
                raise InputError(
                    f"The sizes of {names} are {w} x {h} and {w2} x {h2} pixels, but must be "
                    "equal: each pixel of one belongs to the same pixel of the other."
                )
    for one, name in ((prime, "A"), (theirs[0], "B")):
        if min(one.rgb.shape[:2]) < _SMALLEST:
            h, w, _ = one.rgb.shape
            raise InputError(
                f"The picture {name} of {w} x {h} pixels is smaller than a neighbourhood of "
                f"{_SMALLEST} x {_SMALLEST}: give a larger one."
            )


def _levels(given: Any, pictures: Sequence[Picture]) -> int:
    """How many levels the pyramid has."""
    wanted = in_range(given, "levels", Integral, 1, 12, optional=True)
    short = min(min(p.rgb.shape[:2]) for p in pictures)
    possible = 1 + max(0, int(np.log2(short / _COARSEST)))
    return min(possible, _LEVELS if wanted is None else int(wanted))


def _weights(given: Any, count: int) -> tuple[float, ...]:
    """The weights of the guides."""
    if given is None:
        return (1.0,) * count
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    if len(found) != count or not all(is_number(w, *WEIGHT) for w in found):
        raise InputError(
            f"guide_weights is {given!r}, but must be {count} numbers of at least 0, one for each "
            "guide."
        )
    return tuple(float(w) for w in found)


def _weighted(
    ours: list[Picture], theirs: list[Picture], weights: Sequence[float]
) -> list[Float[np.ndarray, "_ _ g"]]:
    """All guides of A and of B, each times the square root of its weight over its channels."""
    found: tuple[list, list] = [], []
    for own, other, weight in zip(ours, theirs, weights, strict=True):
        grey = all(bool((p.rgb == p.rgb[..., :1]).all()) for p in (own, other))
        channels = 1 if grey else 3
        for guides, picture in zip(found, (own, other), strict=True):
            guides.append(picture.rgb[..., :channels] * np.float32(np.sqrt(weight / channels)))
    return [np.concatenate(guides, -1) for guides in found]


def _with_luminance(
    a: Float[np.ndarray, "h w 3"],
    prime: Float[np.ndarray, "h w 3"],
    b: Float[np.ndarray, "h2 w2 3"],
    remap: bool,
    *options: Any,
) -> Float[np.ndarray, "h2 w2 3"]:
    """Copy luminance; the colours are B's."""
    light, drawn, other = (np.asarray(colors.grey(x)) for x in (a, prime, b))
    if remap:
        scale = other.std() / max(float(light.std()), 1e-6)
        light, drawn = ((x - light.mean()) * scale + other.mean() for x in (light, drawn))
    found = jnp.clip(_drawn(light, drawn, other, *options), 0, 1)
    return np.asarray(colors.with_lightness(b, colors.as_rgb(found)))


def _drawn(
    a: Float[np.ndarray, "h w g"],
    prime: Float[np.ndarray, "h w c"],
    b: Float[np.ndarray, "h2 w2 g"],
    kappa: float,
    levels: int,
    search: int,
) -> Float[Array, "h2 w2 c"]:
    """Draw all levels, the coarsest first."""
    scale = np.float32(np.sqrt(1 / prime.shape[-1]))
    pyramids = [_pyramid(x, levels) for x in (a, prime * scale, b)]
    coarser, sources, drawn = None, None, jnp.zeros(())
    for n, (own, copied, other) in enumerate(zip(*pyramids, strict=True)):
        if coarser is None or sources is None:
            sources = first_sources(own, other)
        else:
            sources = enlarged(sources, own.shape[:2], other.shape[:2])
        begin = Level(
            Layers(own, copied),
            Layers(other, copied[sources[..., 0], sources[..., 1]]),
            sources,
            coarser,
        )
        share = jnp.float32(kappa * 2.0 ** (n - levels + 1))
        drawn, sources = drawn_level(begin, share, search)
        coarser = Layers(own, copied), Layers(other, drawn)
    return drawn / scale


def _pyramid(x: Float[np.ndarray, "h w c"], levels: int) -> list[Float[Array, "_ _ c"]]:
    """A picture at all levels, the coarsest first."""
    height, width, channels = x.shape
    sizes = [(-(-height // 2**n), -(-width // 2**n), channels) for n in reversed(range(levels))]
    return [jax.image.resize(jnp.asarray(x), size, "linear") for size in sizes]

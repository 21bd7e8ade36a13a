"""Image quilting: blocks of a texture, sewn along cuts where they differ least.

Efros & Freeman 2001, "Image quilting for texture synthesis and transfer".
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from nst_jax.errors import InputError
from nst_jax.options import in_range, is_number
from nst_jax.patches.blocks import Blocks
from nst_jax.patches.cuts import right_of_cut
from nst_jax.pictures import reading
from nst_jax.pictures.colorspace import split
from nst_jax.pictures.drawn import Drawn
from nst_jax.pictures.sources import PictureSource
from nst_jax.pictures.transparency import HIDDEN, read_style
from nst_jax.typing import AnyArray

_LARGEST = 20_000
_SMALLEST = 4
_GREY_LEVEL = 1 / 255  # blocks that fit better than this fit equally well
_BLUR = 1.5  # of the luminance by which blocks are chosen, in pixels


def quilt(
    texture: PictureSource,
    content: PictureSource | None = None,
    *,
    size: tuple[int, int] | None = None,
    block: int | None = None,
    overlap: int | None = None,
    tolerance: float = 0.1,
    passes: int = 3,
    seed: int = 0,
) -> Drawn:
    """Sew a larger picture from blocks of a texture, or another picture in this texture.

    Args:
        texture: the picture whose blocks are taken; none is taken from where it is transparent.
        content: a picture to draw with the texture: blocks are chosen also by their likeness to its
            luminance. None makes more of the texture.
        size: height and width of the result in pixels. None means twice the texture's. A result
            with a content has the content's size.
        block: side of the blocks in pixels, a little more than the texture's largest feature. None
            means a sixth of the texture's short side; with a content, a sixteenth.
        overlap: how far neighbouring blocks overlap, in pixels. None means a sixth of the block.
        tolerance: a block is drawn at random from those whose error exceeds the least by no more
            than this share.
        passes: with a content, how often the picture is drawn over. Each time blocks shrink by a
            third, and likeness to the content counts less.
        seed: of the random choices.

    Returns:
        A `Drawn`; its `image` is RGB float32 in [0, 1], (height, width, 3).

    Raises:
        InputError: a picture cannot be read, the texture is smaller than a block, or a value is out
            of its range.
    """
    begin = time.perf_counter()
    source = read_style(texture)
    given = None if content is None else reading.read(content, what="content picture")
    short = min(source.rgb.shape[:2])
    side = _whole(block, "block", _SMALLEST, short // (6 if given is None else 16))
    shared = _whole(overlap, "overlap", 1, max(2, side // 6), side // 2)
    rounds = _whole(passes, "passes", 1, 3, 10)
    rule = _Rule(
        float(in_range(tolerance, "tolerance", Real, 0, 10) or 0),
        np.random.default_rng(_whole(seed, "seed", 0, 0, 2**32 - 1)),
    )
    if side > short:
        raise InputError(
            f"The texture of {source.rgb.shape[1]} x {source.rgb.shape[0]} pixels is smaller than "
            f"a block of {side} x {side}: give a larger texture, or take smaller blocks."
        )
    hidden = None if source.alpha is None else source.alpha < HIDDEN
    grey = bool((source.rgb == source.rgb[..., :1]).all())
    colours = source.rgb[..., :1] if grey else source.rgb
    if given is None:
        plan = _Plan(*_checked(size, colours), side, shared)
        image = _sewn(Blocks(colours, hidden=hidden), plan, rule)
    elif size is not None:
        raise InputError("The size follows from the content: scale the content, or give no size.")
    else:
        height, width, _ = given.rgb.shape
        plan = _Plan(height, width, side, shared)
        levels = _levels(given.rgb, source.rgb)
        image = _transferred(Blocks(colours, levels[1], hidden), levels[0], plan, rounds, rule)
    about = {"model": "quilt", "block": side, "overlap": shared, "tolerance": rule.tolerance}
    about |= {"seed": int(seed)} | ({} if given is None else {"passes": rounds})
    about["seconds"] = round(time.perf_counter() - begin, 2)
    image = np.clip(np.broadcast_to(image, (*image.shape[:2], 3)), 0, 1)
    return Drawn(image, given and given.alpha, (given or source).icc, about)


@dataclass(frozen=True)
class _Rule:
    """How a block is chosen by its error."""

    tolerance: float
    rng: np.random.Generator

    def choose(self, errors: Float[np.ndarray, "h w"], weight: float) -> tuple[int, int]:
        """One of the places whose errors are about the least, at random."""
        least = max(float(errors.min()), weight * _GREY_LEVEL**2)
        places = np.flatnonzero(errors <= least * (1 + self.tolerance))
        y, x = divmod(int(places[self.rng.integers(len(places))]), errors.shape[1])
        return y, x


class _Plan(NamedTuple):
    """Where blocks lie in the result."""

    height: int
    width: int
    block: int
    overlap: int

    @property
    def step(self) -> int:
        return self.block - self.overlap

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width that whole blocks cover."""
        rows, columns = (
            max(1, -(-(n - self.overlap) // self.step)) for n in (self.height, self.width)
        )
        return rows * self.step + self.overlap, columns * self.step + self.overlap

    def corners(self) -> Iterator[tuple[int, int]]:
        """The upper left corners of all blocks, row by row."""
        height, width = self.canvas
        for y in range(0, height - self.block + 1, self.step):
            for x in range(0, width - self.block + 1, self.step):
                yield y, x


class _Guide(NamedTuple):
    """What each block shall look like, beside its overlap with its neighbours.

    Attributes:
        light: the content's luminance on the canvas.
        share: weight of overlap and `before`; the luminance has the rest of 1.
        before: the result of the pass before on the canvas, less the texture's mean; or None.
    """

    light: Float[np.ndarray, "h w"]
    share: float
    before: Float[np.ndarray, "h w c"] | None


def _checked(size: Any, texture: AnyArray) -> tuple[int, int]:
    """Height and width of the result."""
    if size is None:
        return 2 * texture.shape[0], 2 * texture.shape[1]
    sides = list(size) if isinstance(size, list | tuple) else [size]
    if len(sides) != 2 or not all(is_number(n, Integral, 1, _LARGEST) for n in sides):
        raise InputError(
            f"The size is {size!r}, but must be (height, width), whole numbers from 1 to "
            f"{_LARGEST}."
        )
    return int(sides[0]), int(sides[1])


def _whole(given: Any, what: str, low: int, default: int, high: int = _LARGEST) -> int:
    """A whole number from `low` to `high`; None gives the default."""
    found = in_range(given, what, Integral, low, high, optional=True)
    return max(low, default) if found is None else int(found)


def _levels(
    content: Float[np.ndarray, "h w 3"], texture: Float[np.ndarray, "h2 w2 3"]
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h2 w2"]]:
    """The blurred luminance of both; the content's gets the mean and deviation of the texture's."""
    found, wanted = (
        ndimage.gaussian_filter(np.asarray(split(rgb, "rgb")[0])[..., 0], _BLUR)
        for rgb in (content, texture)
    )
    scale = wanted.std() / max(float(found.std()), 1e-6)
    return (found - found.mean()) * scale, wanted - wanted.mean()


def _transferred(
    blocks: Blocks, light: Float[np.ndarray, "h w"], plan: _Plan, passes: int, rule: _Rule
) -> Float[np.ndarray, "h w c"]:
    """Draw a picture by its luminance, over and over with smaller blocks."""
    before: Float[np.ndarray, "h w c"] | None = None
    image = np.zeros((*light.shape, 1), np.float32)
    for n in range(passes):
        side = max(_SMALLEST, round(plan.block * (2 / 3) ** n))
        overlap = min(max(1, round(plan.overlap * (2 / 3) ** n)), side // 2)
        now = plan._replace(block=side, overlap=overlap)
        spare = [(0, more - own) for more, own in zip(now.canvas, light.shape, strict=True)]
        if n:
            before = np.pad(image - blocks.middle, [*spare, (0, 0)], mode="edge")
        share = 0.8 * n / max(1, passes - 1) + 0.1
        image = _sewn(blocks, now, rule, _Guide(np.pad(light, spare, mode="edge"), share, before))
    return image


def _sewn(
    blocks: Blocks, plan: _Plan, rule: _Rule, guide: _Guide | None = None
) -> Float[np.ndarray, "h w c"]:
    """Choose the blocks one after another, row by row, and sew them together."""
    n, overlap = plan.block, plan.overlap
    canvas = np.zeros((*plan.canvas, blocks.texture.shape[-1]), np.float32)
    costs = blocks.costs(n)
    for y, x in plan.corners():
        here = np.s_[y : y + n, x : x + n]
        known = np.zeros((n, n), np.float32)
        known[: overlap if y else 0] = 1
        known[:, : overlap if x else 0] = 1
        if guide is None:
            errors, weight = blocks.errors([(known, canvas[here])]) + costs, known.sum()
        else:
            targets = [(known, canvas[here])]
            if guide.before is not None:
                targets.append((np.ones_like(known), guide.before[here]))
            targets = [(guide.share * w, t) for w, t in targets]
            rest = 1 - guide.share
            errors = blocks.errors(targets, (rest, guide.light[here])) + rest * costs
            weight = sum(w.sum() for w, _ in targets) + rest * n**2
        block = blocks.at(rule.choose(errors, float(weight)), n)
        mine = _mine(np.square(block - canvas[here]).sum(-1), overlap, above=y > 0, left=x > 0)
        canvas[here] = np.where(mine[..., None], block, canvas[here])
    return canvas[: plan.height, : plan.width] + blocks.middle


def _mine(
    errors: Float[np.ndarray, "b b"], overlap: int, *, above: bool, left: bool
) -> Bool[np.ndarray, "b b"]:
    """Which pixels a block takes: those beyond the cuts through its overlaps."""
    mine = np.ones(errors.shape, bool)
    if left:
        mine[:, :overlap] &= right_of_cut(errors[:, :overlap])
    if above:
        mine[:overlap] &= right_of_cut(errors[:overlap].T).T
    return mine

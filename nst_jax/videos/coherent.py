"""Make what any model draws of a film's frames coherent, without training.

The last result is warped to the next frame and kept where the motion can be trusted, as in Chen,
Liao, Yuan, Yu & Hua 2017, "Coherent online video style transfer". A mean of two drawings would have
no strokes. So each pixel keeps its strokes for some frames and then takes those of a new drawing,
in another frame than its neighbours; only colours that are larger than strokes are averaged.
Strokes keep the contrast of the new drawing, which repeated warping would take from them.

Before that, the noise of the film itself is averaged away along its motion, because a network
answers it with other strokes.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nst_jax.motion.filters import filtered
from nst_jax.motion.warping import warp_sharp
from nst_jax.pictures import resizing
from nst_jax.programs import jit
from nst_jax.typing import AnyArray
from nst_jax.videos.passages import Passage

_LEAD = 0.5  # of a change, by which places change sooner that are known better
_HELD = 4  # frames for which strokes are kept
_CELL = 120  # pixels between places that are drawn anew in different frames
_COARSE = 8  # pixels beyond which colours are averaged
_AVERAGED = 0.9  # share of the last result in averages
_DENOISED = 0.8  # share of the frames before in what the model sees of a film
_DIFFERENCE = 70.0  # that share falls to 1/e where colours differ by an eighth of white
_SIDE = 3  # pixels of the square whose least trusted one counts
_AROUND = 12  # pixels over which contrast is measured
_MOST = 1.5  # factor of contrast
_FLAT = 1e-5  # squared contrast that is none
_SOFT = (0.25, 0.5, 0.25)
_FINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def denoised(
    frame: Float[AnyArray, "h w 3"], last: Float[AnyArray, "h w 3"], passage: Passage
) -> Float[np.ndarray, "h w 3"]:
    """A frame with less noise.

    Args:
        frame: RGB in [0, 1].
        last: what this gave for the frame before, or that frame.
        passage: from that frame to this one.
    """
    return np.asarray(_denoised(frame, last, passage.flow, passage.reliable))


def composed(
    drawn: Float[AnyArray, "h w 3"],
    last: Float[AnyArray, "h w 3"],
    passage: Passage,
    number: int,
) -> Float[np.ndarray, "h w 3"]:
    """Compose the drawing of a frame with the result of the frame before it.

    Args:
        drawn: what the model draws of the frame, in [0, 1].
        last: the result of the frame before.
        passage: from that frame to this one.
        number: of the frame, which chooses the places that are drawn anew.
    """
    height, width, _ = drawn.shape
    moment = jnp.float32(number % _HELD)
    found = _composed(drawn, last, passage.flow, passage.reliable, _turns(height, width), moment)
    return np.asarray(found)


def carried(last: Float[AnyArray, "h w 3"], passage: Passage) -> Float[np.ndarray, "h w 4"]:
    """What a model that `carries` takes beside a frame: the last result, and where to trust it."""
    return np.asarray(_carried(last, passage.flow, passage.reliable))


def crossed(
    one: Float[AnyArray, "h w 3"],
    other: Float[AnyArray, "h w 3"],
    share: float,
    lead: Float[AnyArray, "h w"],
) -> Float[np.ndarray, "h w 3"]:
    """Go over from one drawing of a frame to another: each place changes its strokes at once.

    Args:
        one: a drawing, in [0, 1].
        other: another one.
        share: how far to go, from 0 to 1.
        lead: by how much the other one is better known, from -1 to 1; places change so much sooner.
    """
    ranks = _ranks(*one.shape[:2])
    return np.asarray(_crossed(one, other, ranks, jnp.float32(share), lead))


@jit()
def _crossed(one, other, ranks, share, lead):
    changed = _blurred((ranks < share + _LEAD * lead).astype(jnp.float32)[..., None], _FINE)
    low, high = _low(one, _COARSE), _low(other, _COARSE)
    strokes = (one - low) + changed * ((other - high) - (one - low))
    return jnp.clip(low + share * (high - low) + strokes, 0, 1)


@jit()
def _denoised(frame, last, flow, reliable):
    warped = warp_sharp(last, flow)
    apart = _blurred(jnp.square(warped - frame).sum(-1, keepdims=True), _FINE)
    share = _DENOISED * _trusted(reliable) * jnp.exp(-_DIFFERENCE * apart)
    return jnp.clip(frame + share * (warped - frame), 0, 1)


@jit()
def _composed(drawn, last, flow, reliable, turns, moment):
    warped = warp_sharp(last, flow)
    trusted = _trusted(reliable)
    coarse, old = _low(drawn, _COARSE), _low(warped, _COARSE)
    kept = (moment != turns).astype(jnp.float32)[..., None]
    strokes = drawn - coarse
    mixed = strokes + trusted * _blurred(kept, _SOFT) * (warped - old - strokes)
    # Warping takes most from what is fine, and mixing from all.
    for taps in (_FINE, _SOFT):
        middle = _blurred(mixed, taps)
        mixed = middle + _contrasted(mixed - middle, strokes - _blurred(strokes, taps))
    mixed = _contrasted(mixed, strokes)
    return jnp.clip(coarse + _AVERAGED * trusted * (old - coarse) + mixed, 0, 1)


@jit()
def _carried(last, flow, reliable):
    trusted = _trusted(reliable)
    return jnp.concatenate([jnp.clip(warp_sharp(last, flow), 0, 1) * trusted, trusted], -1)


def _trusted(reliable: Float[AnyArray, "h w"]) -> Float[Array, "h w 1"]:
    """The least of each square: beside an edge of motion, warping brings the other side along."""
    least = lax.reduce_window(
        jnp.asarray(reliable), jnp.inf, lax.min, (_SIDE, _SIDE), (1, 1), "SAME"
    )
    return least[..., None]


def _low(planes: Float[AnyArray, "h w c"], pixels: int) -> Float[Array, "h w c"]:
    """What is left of planes at a size that is so many times smaller."""
    h, w, c = planes.shape
    small = jax.image.resize(planes, (-(-h // pixels), -(-w // pixels), c), "linear")
    return jax.image.resize(small, (h, w, c), "cubic")


def _blurred(planes: Float[Array, "h w c"], taps: Sequence[float]) -> Float[Array, "h w c"]:
    return filtered(filtered(planes, taps, 0), taps, 1)


def _contrasted(detail: Float[Array, "h w 3"], aim: Float[Array, "h w 3"]) -> Float[Array, "h w 3"]:
    """Give details the contrast of `aim`, place by place."""
    here, there = (
        jnp.maximum(_low(jnp.square(x).mean(-1, keepdims=True), _AROUND), 0) + _FLAT
        for x in (detail, aim)
    )
    return detail * jnp.clip(jnp.sqrt(there / here), 1 / _MOST, _MOST)


@functools.lru_cache(maxsize=2)
def _turns(height: int, width: int) -> Float[np.ndarray, "h w"]:
    """For each pixel the frame, modulo `_HELD`, in which it is drawn anew."""
    return np.floor(_ranks(height, width) * _HELD).astype(np.float32)


@functools.lru_cache(maxsize=2)
def _ranks(height: int, width: int) -> Float[np.ndarray, "h w"]:
    """Pixels in an order in which neighbours follow each other, from 0 to 1."""
    rows, columns = (max(2, -(-side // _CELL)) for side in (height, width))
    coarse = np.random.default_rng(0).random((1, rows, columns)).astype(np.float32)
    smooth = resizing.resize_masks(coarse, (height, width))[0]
    order = np.argsort(np.argsort(smooth, axis=None, kind="stable"), kind="stable")
    return order.reshape(height, width) / smooth.size

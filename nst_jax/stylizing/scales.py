"""The scales of a run, from coarse to fine, and what one scale hands on to the next."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import jax
import optax
from jaxtyping import Array, Float

from nst_jax.pictures.resizing import fit
from nst_jax.solvers import solver
from nst_jax.solvers.outcome import Outcome
from nst_jax.solvers.stopping import Rows
from nst_jax.stylizing.problem import Problem
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.result import Scale
from nst_jax.stylizing.settings import MODELS, Settings
from nst_jax.stylizing.terms import last_statistic, layers

# The share of its last step that L-BFGS takes first at the next scale. With all of it losses climb.
_CAUTION = 0.25


class Drawn(NamedTuple):
    """The outcome of a run over several scales.

    Attributes:
        problem: the problem of the last scale.
        outcome: the outcome of the last scale, with the rows of all scales.
        scales: the scales that were drawn, with the evaluations that each took.
    """

    problem: Problem
    outcome: Outcome
    scales: tuple[Scale, ...]


def total(request: Request) -> int:
    """The number of evaluations at all scales together."""
    return sum(scale.evaluations for scale in scales(request))


def scales(request: Request) -> tuple[Scale, ...]:
    """The scales from coarse to fine; each is smaller than the next by the factor `scale_step`.

    No scale is below `min_size`, or so small that a picture has no position at the deepest layer.
    With a draft, its network draws all sizes; then the request's own network draws the last size.
    A statistic that has a last pass gets one more scale, at the last size too.
    Without evaluations at the end size, the last scale is left out; there may then be none.
    """
    settings, (height, width, _) = request.settings, request.pictures.content.rgb.shape
    long, sizes = max(height, width), list[int]()
    pictures = (request.pictures.content.rgb, *request.pictures.styles)
    short = min(min(picture.shape[:2]) for picture in pictures)
    stride = max((request.network.strides.get(layer, 1) for layer in layers(settings)), default=1)
    least = max(settings.min_size or long, stride * long / short)
    while (size := round(long / settings.scale_step ** (len(sizes) + 1))) >= least:
        sizes.insert(0, size)
    draft = request.draft is not None
    last = last_statistic(settings) is not None
    shapes = [fit(height, width, size) for size in sizes] + [(height, width)] * (draft or last)
    coarse = [Scale(*shape, settings.coarse_iterations, draft) for shape in shapes]
    end = Scale(height, width, settings.iterations, last=last)
    return (*coarse, end) if settings.iterations else tuple(coarse)


def is_redrawn(settings: Settings, plan: Sequence[Scale], at: int) -> bool:
    """Whether the model that drew the start draws the picture again when it comes to this scale.

    That is where it comes to the end size. An enlarged picture lacks the finest strokes, which the
    optimiser makes slowly and a model at once.
    """
    before, here, last = (plan[n][:2] for n in (at - 1, at, -1))
    return settings.init in MODELS and before != here == last


def used(plan: Sequence[Scale], rows: Sequence[Rows]) -> tuple[Scale, ...]:
    """The scales that were drawn, with the evaluations that each took."""
    ends = [0, *(int(part.evaluations[-1]) for part in rows)]
    return tuple(
        scale._replace(evaluations=end - begin)
        for scale, begin, end in zip(plan, ends, ends[1:], strict=False)
    )


def handed_on(
    x: Float[Array, "*lanes h w c"],
    last: solver.State,
    optimizer: solver.Optimizer,
    scale: Scale,
    start: Callable[[Array], solver.State],
    redraw: Callable[[Array], Array] | None = None,
) -> solver.State:
    """Carry the best point, the count of evaluations and the optimiser's state to the next grid.

    Adam's moments are resized and kept, also when the network changes after a draft; those of a
    pyramid begin anew. L-BFGS drops
    its curvature pairs, since they belong to the old grid or objective (pairs from a draft blew up
    at once). It keeps the length of its steps, unless each scale has a first step of its own: from
    norm 1 they would take ten evaluations to grow.

    Args:
        x: the best point; it and `last` may have a leading axis of lanes.
        last: the last state at the scale before.
        optimizer: the static part of the solver.
        scale: the next scale.
        start: makes the state before the first evaluation at a point.
        redraw: what becomes of the enlarged point; None to take it as it is.
    """
    *lanes, _, _, channels = x.shape
    x = jax.image.resize(x, (*lanes, scale.height, scale.width, channels), "cubic")
    if redraw is not None:
        x = redraw(x)
    state = start(x)._replace(evaluations=last.evaluations)
    if optimizer.method == "adam" and not optimizer.pyramid:
        state = state._replace(optimizer=_resized_moments(last.optimizer, x.shape))
    elif optimizer.is_lbfgs and not optimizer.first:
        state = state._replace(optimizer=_with_step(state.optimizer, last.optimizer))
    return state


def _with_step(state: optax.OptState, last: optax.OptState) -> optax.OptState:
    """L-BFGS without curvature pairs, but with a first step in proportion to the last one."""
    (anew, *rest), (before, *_) = cast(tuple, state), cast(tuple, last)
    scale = _CAUTION * before.scale * (anew.x.size / before.x.size)
    return (anew._replace(scale=scale), *rest)


def _resized_moments(state: optax.OptState, shape: tuple[int, ...]) -> optax.OptState:
    """Resize Adam's moments; with more pixels, the gradient of each one is smaller."""
    moments, *rest = cast(tuple, state)
    share = moments.mu.size / math.prod(shape)
    return (
        moments._replace(
            mu=share * jax.image.resize(moments.mu, shape, "linear"),
            nu=share**2 * jax.image.resize(moments.nu, shape, "linear"),
        ),
        *rest,
    )

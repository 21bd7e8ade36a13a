"""The solver that the settings describe: its static part, its learning rate, and schedules."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from nst_jax.losses.objective import Objective
from nst_jax.solvers.optimizer import Optimizer, keeps_curvature
from nst_jax.solvers.schedules import Ramp
from nst_jax.stylizing.settings import Settings

# For Adam and RMSprop.
_ADAM_RATE = 0.02
# Per pixel, since gradients grow as the picture shrinks. Half of the rate that diverges at 64 px.
_SGD_RATE_PER_PIXEL = 1e-12
_HOLD = 10
# For preconditioned L-BFGS. With twice the usual first guess, a loss took 262 evaluations instead
# of 294; with 5 times it diverged. With a larger limit on the growth of steps, half of six pictures
# blew up at the start.
_STRETCH = _GROWTH = 2.0
# Share by which each pair widens the guess: with _STRETCH, to six times the usual one at a hundred
# pairs. On six pictures this took a tenth fewer evaluations to the same loss. With 0.05 there are
# no fewer; with 0.15 steps blow up.
_WIDENING = 0.02


def optimizer_of(settings: Settings) -> Optimizer:
    """The static part of the solver, from the settings."""
    first_order = not settings.is_lbfgs
    found = Optimizer(
        method=settings.optimizer,
        # Options without effect get a fixed value, so that they do not lead to another program.
        history=settings.pairs or 1,
        precondition=0.0 if first_order else settings.precondition,
        stretch=_STRETCH,
        widening=_WIDENING,
        growth=_GROWTH,
        first=0.0 if first_order else settings.scale * (settings.first_step or 0.0),
        momentum=settings.momentum,
        pyramid=settings.pyramid,
        # Clipping would undo steps of a pyramid in part.
        bounds=(0.0, settings.scale) if first_order and not settings.pyramid else None,
        average=settings.average,
    )
    return replace(found, bounds=None) if keeps_curvature(found) else found


def learning_rate_of(settings: Settings, content: Array) -> float | Ramp:
    """The learning rate in the optimiser's units; the settings give it for pictures in [0, 1]."""
    height, width, _ = content.shape
    usual, unit = 1.0, 1.0
    if settings.optimizer in ("adam", "rmsprop"):
        usual, unit = _ADAM_RATE, settings.scale
    elif settings.optimizer == "sgd":
        usual, unit = _SGD_RATE_PER_PIXEL * height * width, settings.scale**2
    rate = unit * (usual if settings.learning_rate is None else settings.learning_rate)
    return _ramp(settings, "learning_rate", rate) or rate


def factors_of(settings: Settings, spec: Objective) -> dict[str, Any] | None:
    """For each term, the factor on its weight over time; None if no weight has a schedule."""
    # L-BFGS loses a curvature pair at each change, so weights change only every ten evaluations.
    hold = _HOLD if settings.is_lbfgs else 1
    names = [term.name for term in spec.terms]
    ramps = {name: _ramp(settings, f"{name}_weight", 1.0, hold) for name in names}
    if not any(ramps.values()):
        return None
    return {name: ramp or jnp.ones(()) for name, ramp in ramps.items()}


def _ramp(settings: Settings, option: str, value: float, hold: int = 1) -> Ramp | None:
    schedule = settings.scheduled(option)
    if schedule is None:
        return None
    start, end, length = (
        jnp.asarray(v, jnp.float32)
        for v in (
            value * schedule.start,
            value * schedule.end,
            max(schedule.part * settings.iterations, 1),
        )
    )
    return Ramp(schedule.course, start, end, length, jnp.asarray(hold, jnp.int32))

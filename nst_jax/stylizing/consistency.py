"""Check that settings do not contradict each other. JAX is loaded only to check `tile`."""

from typing import Any

from nst_jax.errors import InputError
from nst_jax.losses import registry
from nst_jax.losses.registry import STATISTICS, TERMS


def require_consistent(settings: Any) -> None:
    """Raise `InputError` for options that are valid by themselves but not together."""
    alone = [name for name, term in TERMS.items() if term.alone]
    if not (set(alone) & {*settings.weighing} or any(settings.terms.values())):
        *others, last = (f"{name}_weight" for name in alone)
        raise InputError(
            f"All weights are zero: give {', '.join(others)} or {last} a positive value, and one "
            "of its layers too."
        )
    if settings.style_blend is not None and not sum(settings.style_blend):
        raise InputError("style_blend is all zeros: give at least one style a weight above 0.")
    if settings.style_scale is not None and settings.style_size is not None:
        raise InputError(
            "style_size and style_scale contradict each other: give the style's long side in "
            "pixels, or relative to the content's."
        )
    if settings.precision == "bfloat16" and settings.is_lbfgs:
        raise InputError(
            "precision 'bfloat16' is too coarse for L-BFGS's curvature pairs: use optimizer "
            "'adam', or precision 'float32' or 'tf32'."
        )
    if settings.tile:
        _require_parts(settings)
        if settings.normalize_gradients:
            raise InputError(
                "tile computes in parts, but normalize_gradients needs the whole gradient: "
                "leave out one of them."
            )
    if settings.optimizer == "lbfgs-zoom" and settings.normalize_gradients:
        raise InputError(
            "optimizer 'lbfgs-zoom' searches along the loss, which normalized gradients do not "
            "descend: leave out normalize_gradients, or use optimizer 'adam' or 'lbfgs'."
        )
    if settings.optimizer == "lbfgs-zoom" and (
        settings.learning_rate is not None or settings.scheduled("learning_rate")
    ):
        raise InputError(
            "optimizer 'lbfgs-zoom' searches its own step lengths: leave out learning_rate and "
            "learning_rate_schedule, or use optimizer 'lbfgs'."
        )
    if settings.average and settings.is_lbfgs:
        raise InputError(
            f"average is of no use to optimizer '{settings.optimizer}', which does not wander "
            "about its minimum: leave it out, or use optimizer 'adam'."
        )
    if not isinstance(settings.optimizer, str) and (
        settings.learning_rate is not None or settings.scheduled("learning_rate")
    ):
        raise InputError(
            "An optimizer of your own has its own learning rate: leave out learning_rate and "
            "learning_rate_schedule."
        )
    schedules = [settings.scheduled(f"{term}_weight") for term in TERMS]
    if settings.tolerance and any(schedules):
        raise InputError(
            "tolerance stops a run when its loss no longer falls, but under a schedule of weights "
            "it may rise on the way: leave out tolerance or the schedule."
        )
    joint = registry.is_joint(settings.statistic)
    statistic = getattr(settings.statistic, "name", settings.statistic)
    if joint:
        _require_joint(settings, statistic)
    renewed = [one.name for one in settings.terms if getattr(one, "renew_every", 0)]
    renewed += [statistic] * joint
    renewed += [name for name in settings.weighing if TERMS[name].renews]
    if settings.tolerance and renewed:
        raise InputError(
            "tolerance stops a run when its loss no longer falls, but it may rise when "
            f"'{renewed[0]}' makes its target anew: leave out one of them."
        )
    if settings.pyramid and settings.optimizer not in ("adam", "rmsprop", "sgd"):
        raise InputError(
            "pyramid is for optimizer 'adam', 'rmsprop' or 'sgd'; for L-BFGS there is "
            "precondition: leave out pyramid, or choose another optimizer."
        )


def _require_joint(settings: Any, statistic: str) -> None:
    weights = {weight for weight in settings.style_layers.values() if weight}
    if len(weights) > 1:
        raise InputError(
            f"statistic '{statistic}' compares all layers as one, so they have no weights of "
            "their own: give style_layers without weights."
        )
    if settings.normalize_gradients:
        raise InputError(
            f"statistic '{statistic}' compares all layers as one, so there is no gradient of "
            "each to normalize: leave out normalize_gradients."
        )


def _require_parts(settings: Any) -> None:
    statistic = settings.statistic
    if not getattr(registry.statistic(statistic), "additive", True):
        known = [name for name in STATISTICS if registry.statistic(name).additive]
        raise InputError(
            f"tile computes in parts, but statistic '{getattr(statistic, 'name', statistic)}' "
            f"needs the whole picture: leave out tile, or use statistic {', '.join(known)}."
        )
    whole = [term.name for term in settings.terms if term.layers and not term.additive]
    whole += [name for name in settings.weighing if TERMS[name].renews]
    if whole:
        raise InputError(
            f"tile computes in parts, but the term '{whole[0]}' needs the whole picture: leave out "
            "tile or that term."
        )

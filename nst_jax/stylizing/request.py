"""A request: settings, network and pictures, from which a problem and then the result are made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nst_jax.losses.objective import Targets
from nst_jax.losses.registry import TERMS
from nst_jax.networks.base import Network, require_layers
from nst_jax.options import WEIGHT
from nst_jax.pictures import color, resizing
from nst_jax.programs import jit
from nst_jax.solvers import schedules
from nst_jax.solvers.outcome import Outcome
from nst_jax.solvers.stopping import Rows, joined
from nst_jax.stylizing import memory
from nst_jax.stylizing.inputs import Pictures
from nst_jax.stylizing.problem import (
    Arguments,
    Problem,
    ScaledObjective,
    begun,
    prepare,
    size_of,
)
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.settings import MODELS, Settings
from nst_jax.stylizing.starts import unknown
from nst_jax.stylizing.terms import blend_weights, last_statistic, layers

# Factor on the content weight while the draft's network draws. At the same weight it keeps less of
# the content, and lost content does not come back.
_DRAFT_CONTENT = 2.0


@dataclass(frozen=True)
class Request:
    """Everything that determines a result.

    Attributes:
        settings: the settings.
        network: the feature extractor, with its own options.
        pictures: the pictures and regions.
        draft: the network that draws first; None for no draft.
        also: names of terms that are part of the program even if their weight is zero, because
            other lanes that share the program use them.
        targets: the targets of each scale that are known already; those that are computed are
            added. None for a run that shares them with no other.
        problems: problems that were made ahead, by their scale; each is handed out once.
    """

    settings: Settings
    network: Network
    pictures: Pictures
    draft: Network | None = None
    also: tuple[str, ...] = ()
    targets: dict[Scale, Targets] | None = None
    problems: dict[Scale, Problem] | None = None

    def at(self, scale: Scale, evaluations: int) -> "Request":
        """The request at another scale, for a run of so many evaluations in total.

        The styles are resized in proportion to the content, so that strokes keep their size
        relative to the picture.
        """
        weight = self.settings.content_weight
        if scale.draft:
            weight = min(_DRAFT_CONTENT * weight, WEIGHT[2])
        last = last_statistic(self.settings) if scale.last else None
        return replace(
            self,
            settings=replace(
                self.settings,
                iterations=evaluations,
                content_weight=weight,
                statistic=last or self.settings.statistic,
            ),
            network=self.network_at(scale),
            pictures=self.pictures.at(scale.height, scale.width),
            targets=None,
        )

    def problem_at(self, scale: Scale, evaluations: int, *, first: bool = True) -> Problem:
        """The minimisation problem at a scale; see `at` and `prepare`.

        A model draws the start only at the first scale: later ones start from the scale before.
        """
        if self.problems and scale in self.problems:
            return self.problems.pop(scale)
        here = self.at(scale, evaluations)
        if not first and here.settings.init in MODELS:
            here = replace(here, settings=replace(here.settings, init="content"))
        content, styles, start, regions, names, earlier = here.pictures
        found = prepare(
            here.settings,
            here.network,
            content.rgb,
            styles,
            start,
            regions,
            targets=None if self.targets is None else self.targets.get(scale),
            also=self.also,
            names=names,
            earlier=earlier,
        )
        if self.targets is not None:
            self.targets[scale] = found.args.targets
        return found

    def redrawn(self, problem: Problem, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """What the model that drew the start makes of an unknown, at the scale of a problem."""
        picture = color.as_rgb(jnp.clip(x / self.settings.scale, 0, 1))
        blend = blend_weights(self.settings, len(self.pictures.styles))
        return unknown(self.settings, problem.scene._replace(content=picture), None, blend)

    def network_at(self, scale: Scale) -> Network:
        """The network that draws a scale: the draft's network at a scale of the draft."""
        return self.draft if scale.draft and self.draft else self.network

    def fitted(self, evaluations: int) -> "Request":
        """Fit the request into memory, for a run of so many evaluations; see `memory.fitted`.

        Raises:
            InputError: the network lacks a layer, or there is too little memory.
        """
        require_layers(self.network, layers(self.settings))
        found = memory.fitted(*self._needs(evaluations))
        return replace(self, settings=replace(found, iterations=self.settings.iterations))

    def outlook(self, evaluations: int) -> str | None:
        """A line on the memory that it needs; None if that is little."""
        return memory.outlook(*self._needs(evaluations))

    def _needs(self, evaluations: int) -> tuple[Settings, Network, tuple[str, ...], memory.Size]:
        settings = replace(self.settings, iterations=evaluations)
        return settings, self.network, layers(settings), self.size

    @property
    def size(self) -> memory.Size:
        """The sizes of the pictures, for the estimate of memory."""
        content, styles, _, regions, *_ = self.pictures
        return size_of(content.rgb, styles, regions)

    def unchanged(self) -> Stylization:
        """The result without evaluations: the picture to start from, without losses."""
        content, styles, start, regions, *_ = self.pictures
        image = begun(self.settings, self.network, content.rgb, styles, start, regions)
        return self._result(np.asarray(image), {}, np.zeros(0, np.int32))

    def stylization(
        self, problem: Problem, outcome: Outcome, scales: Sequence[Scale] = ()
    ) -> Stylization:
        """Make the result of the minimisation; a picture at a smaller scale is enlarged."""
        content, rows = self.pictures.content, outcome.rows
        network = self.network_at(scales[-1]) if scales else self.network
        if self.settings.average:
            rows = joined([rows, _evaluated(problem, outcome)])
        image = np.asarray(problem.picture(outcome.x))
        if image.shape != content.rgb.shape:
            image = resizing.resize(image, content.rgb.shape[:2])
        return self._result(
            image,
            _losses(problem, rows),
            rows.evaluations,
            tuple(scales),
            network=network.name,
            network_digest=network.digest,
            status=outcome.status,
            restarts=outcome.restarts,
            compile_seconds=outcome.compile_seconds,
            run_seconds=outcome.run_seconds,
        )

    def _result(
        self,
        image: Float[np.ndarray, "h w 3"],
        losses: dict[str, Float[np.ndarray, " n"]],
        evaluations: Int[np.ndarray, " n"],
        scales: tuple[Scale, ...] = (),
        **how: Any,
    ) -> Stylization:
        content = self.pictures.content
        usual = {
            "network": self.network.name,
            "network_digest": self.network.digest,
            "status": "finished",
            "restarts": 0,
            "compile_seconds": 0.0,
            "run_seconds": 0.0,
        }
        return Stylization(
            image=image,
            losses=losses,
            evaluations=evaluations,
            settings=self.settings,
            alpha=content.alpha,
            icc=content.icc,
            sources=self.pictures.sources,
            scales=scales,
            style_scales=tuple(max(s.shape) / max(content.rgb.shape) for s in self.pictures.styles),
            **usual | how,
        )


def _losses(problem: Problem, rows: Rows) -> dict[str, Float[np.ndarray, " n"]]:
    """The total, then all terms of the registry and the problem, then the layers.

    Terms that are not part of the program are zero.
    """
    spec = problem.fn.spec
    left_out = np.zeros_like(rows.terms["total"])
    names = dict.fromkeys(("total", *TERMS, *(term.name for term in spec.terms), *spec.layers))
    return {name: rows.terms.get(name, left_out) for name in names}


def _evaluated(problem: Problem, outcome: Outcome) -> Rows:
    """Evaluate the losses of an average, which was not evaluated during the run."""
    evaluations = int(outcome.evaluations[-1])
    args = schedules.at(problem.args, evaluations)
    terms = jax.device_get(_value(problem.fn, outcome.x, args)[1])
    return Rows(
        {name: np.asarray(value)[None] for name, value in terms.items()},
        np.array([evaluations + 1], outcome.evaluations.dtype),
        np.array([False]),
    )


@jit(static=["fn"])
def _value(fn: ScaledObjective, x: Array, args: Arguments) -> tuple[Array, dict[str, Array]]:
    return fn(x, args)

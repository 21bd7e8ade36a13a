"""What a stylization starts from, settings, network and pictures; and what it comes to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jaxtyping import Float

from nst_jax.losses.objective import Targets
from nst_jax.losses.registry import TERMS
from nst_jax.networks.base import Network, require_layers
from nst_jax.options import WEIGHT
from nst_jax.pictures import resizing
from nst_jax.solvers import schedules
from nst_jax.solvers.outcome import Outcome
from nst_jax.solvers.stopping import Rows, joined
from nst_jax.stylizing import memory
from nst_jax.stylizing.inputs import Pictures
from nst_jax.stylizing.problem import Problem, prepare, size_of
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.settings import Settings
from nst_jax.stylizing.terms import layers

# Times the content's weight while the draft's network draws: it keeps less of the content at the
# same weight, and what it lost does not come back.
_DRAFT_CONTENT = 2.0


@dataclass(frozen=True)
class Request:
    """Everything that determines a result.

    Attributes:
        settings: what is wanted.
        network: the feature extractor, with its own options.
        pictures: what was read.
        draft: the network that draws first, if one does.
        also: terms that are part of the program even where they weigh nothing: those of other
            lanes that share it.
        targets: of the last scale, where they are known already.
    """

    settings: Settings
    network: Network
    pictures: Pictures
    draft: Network | None = None
    also: tuple[str, ...] = ()
    targets: Targets | None = None

    def at(self, scale: Scale, evaluations: int) -> "Request":
        """The same at another size, styles in proportion, for a run of so many evaluations.

        That all pictures shrink alike is what keeps the strokes as large as they are.
        """
        weight = self.settings.content_weight
        if scale.draft:
            weight = min(_DRAFT_CONTENT * weight, WEIGHT[2])
        return replace(
            self,
            settings=replace(self.settings, iterations=evaluations, content_weight=weight),
            network=self.network_at(scale),
            pictures=self.pictures.at(scale.height, scale.width),
            targets=None if scale.draft or scale[:2] != self.size[:2] else self.targets,
        )

    def network_at(self, scale: Scale) -> Network:
        """The network that draws a scale: at a scale of the draft, the draft's."""
        return self.draft if scale.draft and self.draft else self.network

    def fitted(self, evaluations: int) -> "Request":
        """The same with what memory has room for, for so many evaluations: see `memory.fitted`.

        Raises:
            InputError: a layer that the network lacks, too little memory.
        """
        require_layers(self.network, layers(self.settings))
        found = memory.fitted(*self._needs(evaluations))
        return replace(self, settings=replace(found, iterations=self.settings.iterations))

    def outlook(self, evaluations: int) -> str | None:
        """What it needs of memory, in a line, if it is much."""
        return memory.outlook(*self._needs(evaluations))

    def _needs(self, evaluations: int) -> tuple[Settings, Network, tuple[str, ...], memory.Size]:
        settings = replace(self.settings, iterations=evaluations)
        return settings, self.network, layers(settings), self.size

    @property
    def size(self) -> memory.Size:
        """What memory depends on, of the pictures."""
        content, styles, _, regions, _ = self.pictures
        return size_of(content.rgb, styles, regions)

    def problem(self) -> Problem:
        """The minimisation; see `prepare`."""
        content, styles, start, regions, _ = self.pictures
        return prepare(
            self.settings,
            self.network,
            content.rgb,
            styles,
            start,
            regions,
            targets=self.targets,
            also=self.also,
        )

    def stylization(
        self, problem: Problem, outcome: Outcome, scales: Sequence[Scale] = ()
    ) -> Stylization:
        """The result, when the minimisation is done; a run that ended early is enlarged."""
        content, rows = self.pictures.content, outcome.rows
        network = self.network_at(scales[-1]) if scales else self.network
        if self.settings.average:
            rows = joined([rows, _evaluated(problem, outcome)])
        image = np.asarray(problem.picture(outcome.x))
        if image.shape != content.rgb.shape:
            image = resizing.resize(image, content.rgb.shape[:2])
        return Stylization(
            image=image,
            losses=_losses(problem, rows),
            evaluations=rows.evaluations,
            status=outcome.status,
            restarts=outcome.restarts,
            compile_seconds=outcome.compile_seconds,
            run_seconds=outcome.run_seconds,
            settings=self.settings,
            network=network.name,
            network_digest=network.digest,
            alpha=content.alpha,
            icc=content.icc,
            sources=self.pictures.sources,
            scales=tuple(scales),
        )


def _losses(problem: Problem, rows: Rows) -> dict[str, Float[np.ndarray, " n"]]:
    """The total, every term of the registry and of the problem, and its layers, in this order."""
    spec = problem.fn.spec
    left_out = np.zeros_like(rows.terms["total"])
    names = dict.fromkeys(("total", *TERMS, *(term.name for term in spec.terms), *spec.layers))
    return {name: rows.terms.get(name, left_out) for name in names}


def _evaluated(problem: Problem, outcome: Outcome) -> Rows:
    """The losses of what an outcome comes to, which is no point that was evaluated."""
    evaluations = int(outcome.evaluations[-1])
    args = schedules.at(problem.args, evaluations)
    terms = jax.device_get(_value(problem.fn, outcome.x, args)[1])
    return Rows(
        {name: np.asarray(value)[None] for name, value in terms.items()},
        np.array([evaluations + 1], outcome.evaluations.dtype),
        np.array([False]),
    )


_value = jax.jit(lambda fn, x, args: fn(x, args), static_argnums=0)

"""What a stylization starts from, settings, network and pictures; and what it comes to."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.losses.objective import Targets
from nst_jax.losses.registry import TERMS
from nst_jax.networks.base import Network, Options, require_layers, require_network
from nst_jax.options import WEIGHT
from nst_jax.pictures import resizing
from nst_jax.pictures.reading import PictureSource
from nst_jax.solvers import schedules
from nst_jax.solvers.outcome import Outcome
from nst_jax.solvers.stopping import Rows, joined
from nst_jax.stylizing import memory
from nst_jax.stylizing.inputs import Pictures
from nst_jax.stylizing.presets import resolve
from nst_jax.stylizing.problem import Problem, prepare, size_of
from nst_jax.stylizing.result import Scale, Stylization
from nst_jax.stylizing.settings import INITS, PICTURE, Settings
from nst_jax.stylizing.terms import layers

# Times the content's weight while the draft's network draws: it keeps less of the content at the
# same weight, and what it lost does not come back.
_DRAFT_CONTENT = 2.0


@dataclass(frozen=True)
class Request:
    """Everything that determines a result.

    `also` are terms that are part of the program even where they weigh nothing: those of other
    lanes that share it.
    """

    settings: Settings
    network: Network
    pictures: Pictures
    draft: Network | None = None
    also: tuple[str, ...] = ()

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

    def problem(self, targets: Targets | None = None) -> Problem:
        """The minimisation, with targets that are known already; see `prepare`."""
        content, styles, start, regions, _ = self.pictures
        return prepare(
            self.settings,
            self.network,
            content.rgb,
            styles,
            start,
            regions,
            targets=targets,
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


def resolve_options(
    preset: str, network: Any, options: Mapping[str, Any]
) -> tuple[Settings, PictureSource | None]:
    """The settings, and the picture to start from if `init` is one.

    Raises:
        InputError: unknown options, values out of range; a network that is none.
    """
    start = options.get("init")
    if isinstance(start, os.PathLike):
        options = {**options, "init": os.fspath(start)}
    elif start is not None and not isinstance(start, str):
        options = {**options, "init": PICTURE}
    settings = _resolve(preset, network, options)
    return settings, None if settings.init in INITS else start


def network_options(settings: Settings) -> Options:
    """How the settings want a network to be run."""
    return Options(settings.pooling, settings.padding, settings.precision, settings.remat)


def without_content(preset: str, options: Mapping[str, Any], keep: Any) -> dict[str, Any]:
    """The options of a picture that has no content, but a map of its regions.

    Raises:
        InputError: options that need a content picture.
    """
    needing = [k for k in ("content_weight", "content_layers") if options.get(k)]
    if isinstance(options.get("init"), str) and options["init"] in ("content", "blend"):
        needing.append(f"init '{options['init']}'")
    needing += ["keep"] * (keep is not None)
    if needing:
        raise InputError(f"There is no content picture, but {needing[0]} needs one.")
    return {"init": "noise", **options, "content_layers": ""}


def _resolve(preset: str, network: Any, options: Mapping[str, Any]) -> Settings:
    """The settings; those of a network object are its own."""
    if isinstance(network, str | os.PathLike):
        return resolve(preset, network=os.fspath(network), **options)
    require_network(network)
    given = [f.name for f in fields(Options) if f.name in options]
    if given:
        raise InputError(
            f"The network object has its own {' and '.join(given)}: give that to load_network(), "
            "in Options, or name the network here."
        )
    how = getattr(network, "options", None)
    own = asdict(how) if isinstance(how, Options) else {}
    usual = resolve(preset)
    for name in ("content_layers", "style_layers"):
        # A network with other layers than the preset names brings its own.
        if name not in options and not set(getattr(usual, name)) <= set(network.widths):
            own[name] = getattr(network, name, None) or dict.fromkeys(network.widths, 1.0)
    return resolve(preset, network=network.name, **own, **options)

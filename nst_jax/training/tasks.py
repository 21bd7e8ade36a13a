"""Training tasks: initial parameters, the loss of a step's crops, and the data that it needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.errors import InputError
from nst_jax.losses import registry
from nst_jax.losses.content import Content, content_loss
from nst_jax.losses.objective import (
    Objective,
    Targets,
    Weights,
    content_targets,
    objective,
    style_targets,
)
from nst_jax.losses.regions import at_layers, require_all
from nst_jax.losses.statistics.base import Statistic
from nst_jax.losses.statistics.gram import Gram
from nst_jax.losses.statistics.moments import MeanDeviation
from nst_jax.losses.style import Style, StyleTarget
from nst_jax.models import stages, transfer, transformer
from nst_jax.models.stages import Parameters, Stage
from nst_jax.models.transformer import Architecture
from nst_jax.networks.base import Network, require_layers
from nst_jax.options import weighted
from nst_jax.pictures.reading import Picture
from nst_jax.training.recipe import OTHERS, Recipe

Crops = Float[np.ndarray, "b s s 3"]


class Task(NamedTuple):
    """What a training trains, and how.

    Attributes:
        loss: a function of (parameters, frozen, batch) that returns the mean loss over the batch
            and its terms. It is a static argument of `jit`: losses that compute the same are equal.
        parameters: initial parameters, float32.
        masks: 1 where parameters are trained, 0 where they stay as they are.
        frozen: data that the loss needs and that is not trained.
        batch: makes the loss's batch from a step's number and its crops; the first axis of each
            array is the batch.
    """

    loss: Callable[..., tuple[Array, dict[str, Array]]]
    parameters: dict[str, Array]
    masks: dict[str, Array]
    frozen: Any
    batch: Callable[[int, Crops], Any]


class Frozen(NamedTuple):
    """The data of a loss that is not trained.

    Attributes:
        network: the loss network.
        style: targets of the styles by layer, stacked along the first axis; empty for decoders.
        weights: weights of the terms and layers.
    """

    network: Network
    style: dict[str, Array]
    weights: Weights


@dataclass(frozen=True)
class StylizersLoss:
    """The loss of a transformer: the mean of the objective over the drawn crops, and its terms."""

    objective: Objective
    architecture: Architecture
    precision: str

    def __call__(
        self, parameters: Parameters, frozen: Frozen, batch: Any
    ) -> tuple[Array, dict[str, Array]]:
        """Compute the loss of a batch.

        Args:
            parameters: parameters of the transformer.
            frozen: loss network, style targets and weights.
            batch: crops (b, s, s, 3), their blends over all styles of the transformer, and their
                blends over the styles in `frozen`.
        """
        crops, blend, among = batch
        own = at_precision(parameters, self.precision)
        return self.measured(
            transformer.transform(self.architecture, own, crops, blend), crops, among, frozen
        )

    def measured(
        self, drawn: Array, crops: Array, among: Array, frozen: Frozen
    ) -> tuple[Array, dict[str, Array]]:
        """Compute the loss of drawings of crops, each in the style that `among` tells."""

        def one(image: Array, crop: Array, shares: Array) -> tuple[Array, dict[str, Array]]:
            content = content_targets(self.objective, frozen.network, crop)
            weights = frozen.weights._replace(blend=shares)
            targets = Targets({"content": content, "style": StyleTarget(frozen.style)})
            return objective(self.objective, image, frozen.network, targets, weights)

        totals, terms = jax.vmap(one)(drawn, crops, among)
        return totals.mean(), jax.tree.map(jnp.mean, terms)


def stylizers(
    recipe: Recipe,
    architecture: Architecture,
    network: Network,
    styles: Sequence[Picture],
    trained: Parameters | None = None,
) -> Task:
    """The task of training a transformer on styles (Johnson et al. 2016; Dumoulin et al. 2017).

    The loss is the same `objective` that `stylize` minimises; each crop is compared with the Gram
    matrices of one style.

    Args:
        recipe: settings.
        architecture: the transformer.
        network: the loss network.
        styles: pictures of the styles to train; transparent pixels are left out.
        trained: parameters of a network that has all other styles of `architecture`, which come
            first. Then only the scales and shifts of `styles` are trained. None trains everything.

    Raises:
        InputError: the network does not have a layer, or all style layers have weight 0.
    """
    loss = StylizersLoss(objective_of(recipe, network), architecture, recipe.precision)
    begin = jax.tree.map(jnp.asarray, stages.initial(architecture.shapes, recipe.seed))
    masks = {name: jnp.ones((1,) * value.ndim) for name, value in begin.items()}
    first = 0
    if trained is not None:
        first = architecture.styles - len(styles)
        begin, masks = _extended(begin, trained)
    matrices = [_matrices(loss.objective, network, style) for style in styles]
    frozen = Frozen(
        network,
        jax.tree.map(lambda *grams: jnp.stack(grams), *matrices),
        weights_of(recipe),
    )

    def batch(step: int, crops: Crops) -> Any:
        """Assign a style to each crop at random, each style about equally often."""
        rng = np.random.default_rng([recipe.seed, step, 1])
        rounds = -(-len(crops) // len(styles))
        chosen = np.concatenate([rng.permutation(len(styles)) for _ in range(rounds)])
        chosen = chosen[: len(crops)]
        blend = np.zeros((len(crops), architecture.styles), np.float32)
        blend[np.arange(len(crops)), first + chosen] = 1
        return crops, blend, blend[:, first:]

    return Task(loss, begin, masks, frozen, batch)


def _matrices(spec: Objective, network: Network, style: Picture) -> dict[str, Any]:
    """The Gram matrices of a style, over its visible pixels."""
    if style.alpha is None:
        return style_targets(spec, network, jnp.asarray(style.rgb))
    guides = at_layers(style.alpha[None], network, spec.term("style").layers)
    require_all(guides, ["that is opaque"], "style")
    return jax.tree.map(lambda gram: gram[0], style_targets(spec, network, style.rgb, guides))


@dataclass(frozen=True)
class AdainLoss:
    """The loss of AdaIN's decoder (Huang & Belongie 2017, eqs. 11 to 13).

    The content loss compares the drawn picture's features with the features that the decoder was
    given. The style loss compares means and deviations with the style's; distances are squared
    here, unlike in the paper.
    """

    objective: Objective
    decoder: tuple[Stage, ...]
    precision: str

    def __call__(
        self, parameters: Parameters, frozen: Frozen, batch: Any
    ) -> tuple[Array, dict[str, Array]]:
        """Compute the loss of a batch: crops of content pictures, and crops of style pictures."""
        crops, styles = batch
        (level,) = self.objective.term("content").layers
        features = transfer.encode(frozen.network, crops, level)
        given = jax.vmap(lambda s: transfer.statistics("adain", frozen.network(s, (level,))[level]))
        aims = jax.vmap(transfer.adain)(features, given(styles))
        drawn = transfer.decode(self.decoder, at_precision(parameters, self.precision), aims)

        def one(image: Array, aim: Array, style: Array) -> tuple[Array, dict[str, Array]]:
            wanted = StyleTarget(style_targets(self.objective, frozen.network, style))
            targets = Targets({"content": {level: aim}, "style": wanted})
            return objective(self.objective, image, frozen.network, targets, frozen.weights)

        totals, terms = jax.vmap(one)(drawn, aims, styles)
        return totals.mean(), jax.tree.map(jnp.mean, terms)


@dataclass(frozen=True)
class ReconstructionLoss:
    """The loss of WCT's decoders: reconstruct crops from their features (Li et al. 2017, eq. 4).

    It sums, over all levels, the squared distances of pixels in 0..255 and of features. There is no
    style in it.
    """

    decoders: tuple[tuple[Stage, ...], ...]
    precision: str

    def __call__(
        self, parameters: Parameters, frozen: Frozen, batch: Any
    ) -> tuple[Array, dict[str, Array]]:
        """Compute the loss of a batch; only its content crops are used."""
        crops, _ = batch
        terms, own = {}, at_precision(parameters, self.precision)
        for decoder in self.decoders:
            level, _, _ = decoder[0].name.partition(".")
            features = transfer.encode(frozen.network, crops, level)
            drawn = transfer.decode(decoder, own, features)
            again = transfer.encode(frozen.network, drawn, level)
            apart = jax.vmap(partial(content_loss, width=frozen.network.widths[level]))
            pixels = jnp.square(255 * (drawn - crops)).mean()
            terms[level] = frozen.weights.terms["content"] * apart(again, features).mean() + pixels
        total = sum(terms.values(), jnp.zeros(()))
        return total, terms | {"total": total}


def decoders(
    recipe: Recipe,
    method: transfer.Method,
    rows: tuple[tuple[Stage, ...], ...],
    network: Network,
    styles: Callable[[int, int], Crops] | None,
) -> Task:
    """The task of training the decoders of AdaIN or WCT.

    Args:
        recipe: settings.
        method: `adain` or `wct`.
        rows: the stages of each level's decoder.
        network: encoder and loss network.
        styles: returns crops of style pictures for a step's number and a count; None takes the
            content crops.

    Raises:
        InputError: the network does not have a layer, or AdaIN's content layer is not relu4_1.
    """
    loss: Any
    if method == "adain":
        spec = objective_of(recipe, network, MeanDeviation())
        if spec.term("content").layers != transfer.LEVELS["adain"]:
            raise InputError("The content layer of AdaIN is relu4_1, where its decoder begins.")
        loss = AdainLoss(spec, rows[0], recipe.precision)
    else:
        loss = ReconstructionLoss(rows, recipe.precision)
    shapes = {k: v for row in rows for k, v in stages.shapes(row).items()}
    begin = jax.tree.map(jnp.asarray, stages.initial(shapes, recipe.seed))
    masks = {name: jnp.ones((1,) * value.ndim) for name, value in begin.items()}

    def batch(step: int, crops: Crops) -> Any:
        seen = crops if styles is None else styles(step, len(crops))
        return crops, seen

    return Task(loss, begin, masks, Frozen(network, {}, weights_of(recipe)), batch)


def at_precision(parameters: Parameters, precision: str) -> dict[str, Array]:
    """The parameters in the dtype of a recipe's `precision`."""
    return {name: jnp.asarray(value, jnp.dtype(precision)) for name, value in parameters.items()}


def objective_of(recipe: Recipe, network: Network, statistic: Statistic | None = None) -> Objective:
    """The objective of a recipe; its style statistic is by default the Gram matrix.

    Raises:
        InputError: the network does not have a layer, or all style layers have weight 0.
    """
    content, style = weighted(recipe.content_layers or {}), weighted(recipe.style_layers or {})
    require_layers(network, (*content, *style))
    if not style:
        raise InputError("All style layers weigh nothing: give at least one a weight above 0.")
    others = [registry.term(name)() for name in OTHERS]
    return Objective((Content(content), Style(style, statistic or Gram()), *others))


def weights_of(recipe: Recipe) -> Weights:
    """The weights of a recipe's terms and layers."""
    content, style = (
        {k: jnp.float32(w) for k, w in (layers or {}).items() if w}
        for layers in (recipe.content_layers, recipe.style_layers)
    )
    names = ("content", "style", *OTHERS)
    each = {name: jnp.float32(getattr(recipe, f"{name}_weight") or 0.0) for name in names}
    return Weights(each, {"content": content, "style": style})


def _extended(
    begin: Mapping[str, Array], trained: Parameters
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Extend trained parameters by new styles, and make the masks that train only those.

    The new styles start from the mean of the old ones.
    """
    found, masks = {}, {}
    for name, value in begin.items():
        old = jnp.asarray(trained[name], jnp.float32)
        if stages.is_conditional(name):
            new = value.shape[0] - old.shape[0]
            found[name] = jnp.concatenate([old, jnp.repeat(old.mean(0, keepdims=True), new, 0)])
            masks[name] = jnp.float32(jnp.arange(value.shape[0]) >= old.shape[0])[:, None]
        else:
            found[name], masks[name] = old, jnp.zeros((1,) * value.ndim)
    return found, masks

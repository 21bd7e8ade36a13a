"""The task of training a network that predicts scales and shifts from a style picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.losses.content import content_loss
from nst_jax.losses.objective import (
    Objective,
    Targets,
    Weights,
    content_targets,
    objective,
    style_targets,
)
from nst_jax.losses.statistics.gram import style_loss
from nst_jax.losses.style import StyleTarget
from nst_jax.models import modelfile, stages, transformer
from nst_jax.models.predictor import (
    LAYERS,
    MEASURED,
    Predictor,
    embed,
    initial,
    measure,
    predict,
)
from nst_jax.models.stages import Parameters
from nst_jax.models.transformer import Architecture
from nst_jax.networks.base import Network
from nst_jax.programs import jit
from nst_jax.training.recipe import Recipe
from nst_jax.training.tasks import Crops, Task, at_precision, objective_of, weights_of

ENCODER = "vgg19-lite"  # the network whose features describe a style
_EACH = 0.1  # weight of each layer by itself
_FLOOR = 0.01  # shares of a layer's style loss below which it has next to no weight
_TINY = 1e-12  # added where a loss is divided by another that may be 0
_SAMPLE = 512  # style crops whose statistics give the mean and deviation of all styles


def predictor_for(recipe: Recipe, encoder: Network) -> Predictor:
    """The predictor of a recipe, for styles that `encoder` describes."""
    side = max(encoder.strides[layer] for layer in LAYERS)
    image = jax.ShapeDtypeStruct((side, side, 3), jnp.float32)
    found = jax.eval_shape(lambda x: encoder(x, LAYERS), image)
    transformer_ = Architecture(recipe.variant, blocks=recipe.blocks)
    return Predictor(transformer_, tuple(found[layer].shape[-1] for layer in LAYERS))


def predicted_model(
    predictor: Predictor, encoder: Network, parameters: Parameters
) -> modelfile.ModelFile:
    """The content of the model file with these parameters."""
    architecture = modelfile.plain(predictor) | {
        "encoder": encoder.name,
        "encoder_digest": encoder.digest,
    }
    return modelfile.ModelFile(modelfile.PREDICTED, architecture, jax.device_get(dict(parameters)))


class Frozen(NamedTuple):
    """The data of the loss that is not trained.

    Attributes:
        network: the loss network.
        encoder: the network whose features describe a style.
        weights: weights of the terms and layers.
    """

    network: Network
    encoder: Network
    weights: Weights


@dataclass(frozen=True)
class PredictedLoss:
    """The mean logarithm of a relative objective, so that all pairs of pictures pull alike.

    Content and style loss are shares of what they would be for a picture without any features, so
    that a pale style counts as much as a vivid one. Nearly all of the style loss is relu4_1's.
    Therefore the logarithm of each style layer's own share is added, with a small weight.
    """

    objective: Objective
    predictor: Predictor
    precision: str

    def __call__(
        self, parameters: Parameters, frozen: Frozen, batch: Any
    ) -> tuple[Array, dict[str, Array]]:
        """Compute the loss of a batch: crops of content pictures, and crops of style pictures.

        The term `spread` is the deviation of scales and shifts among the batch's styles. It is no
        part of the total; where it stays near zero, all styles are drawn alike.
        """
        crops, styles = batch
        measured = jax.vmap(lambda style: measure(frozen.encoder, style))(styles)
        embeddings = jax.vmap(lambda one: embed(parameters, one))(measured)
        own = predict(self.predictor, parameters, embeddings)
        kernels = {k: v for k, v in own.items() if not stages.is_conditional(k)}
        drawn = transformer.transform(
            self.predictor.transformer,
            own | at_precision(kernels, self.precision),
            crops,
            jnp.eye(len(crops)),
        )
        total, terms = self.compare(drawn, frozen, batch)
        among = [own[name].std(0).mean() for name in self.predictor.conditional]
        return total, terms | {"spread": jnp.stack(among).mean()}

    def compare(
        self, drawn: Float[Array, "b h w 3"], frozen: Frozen, batch: Any
    ) -> tuple[Array, dict[str, Array]]:
        """Compute the loss of drawn pictures; its terms `content` and `style` are shares."""
        spec, network, weights = self.objective, frozen.network, frozen.weights

        def one(image: Array, crop: Array, picture: Array) -> dict[str, Array]:
            content = content_targets(spec, network, crop)
            style = style_targets(spec, network, picture)
            targets = Targets({"content": content, "style": StyleTarget(style)})
            found = objective(spec, image, network, targets, weights)[1]
            # Of features that are all zero.
            blank = {
                "content": {
                    k: content_loss(0 * v, v, width=network.widths[k]) for k, v in content.items()
                },
                "style": {
                    k: style_loss(0 * v, v, width=network.widths[k]) for k, v in style.items()
                },
            }
            blank = {
                name: {
                    k: weights.terms[name] * weights.layers[name][k] * v for k, v in layers.items()
                }
                for name, layers in blank.items()
            }
            terms = found | {
                name: weights.terms[name] * found[name] / (sum(layers.values()) + _TINY)
                for name, layers in blank.items()
            }
            total = jnp.log(sum(terms[term.name] for term in spec.terms))
            for layer, whole in blank["style"].items():
                terms[layer] = found[layer] / (whole + _TINY)
                total += _EACH * jnp.log(terms[layer] + _FLOOR)
            return terms | {"total": total}

        terms = jax.tree.map(jnp.mean, jax.vmap(one)(drawn, *batch))
        return terms["total"], terms


def predicted(
    recipe: Recipe,
    predictor: Predictor,
    network: Network,
    encoder: Network,
    styles: Callable[[int, int], Crops],
) -> Task:
    """The task of training a predictor and its transformer (Ghiasi et al. 2017).

    Args:
        recipe: settings.
        predictor: what is trained.
        network: the loss network.
        encoder: the network whose features describe a style.
        styles: returns crops of style pictures for a step's number and a count.

    Raises:
        InputError: the network does not have a layer, or all style layers have weight 0.
    """
    loss = PredictedLoss(objective_of(recipe, network), predictor, recipe.precision)
    begin = stages.initial(predictor.transformer.shapes, recipe.seed)
    begin = {k: v for k, v in begin.items() if not stages.is_conditional(k)}
    begin |= initial(predictor, recipe.seed)
    rounds = -(-_SAMPLE // recipe.batch)
    seen = [_values(encoder, styles(step, recipe.batch)) for step in range(rounds)]
    begin |= standardized(np.concatenate(seen))
    return Task(
        loss,
        {name: jnp.asarray(value) for name, value in begin.items()},
        {
            name: jnp.full((1,) * value.ndim, np.float32(name not in MEASURED))
            for name, value in begin.items()
        },
        Frozen(network, encoder, weights_of(recipe)),
        lambda step, crops: (crops, styles(step, len(crops))),
    )


def standardized(values: Float[np.ndarray, "n m"]) -> dict[str, Float[np.ndarray, " m"]]:
    """The parameters `MEASURED`: mean and deviation of the statistics of many styles."""
    return dict(zip(MEASURED, (values.mean(0), values.std(0)), strict=True))


@jit()
def _values(encoder, styles):
    return jax.vmap(lambda style: measure(encoder, style).values)(styles)

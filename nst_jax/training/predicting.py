"""The task of training a network that predicts scales and shifts from a style picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.losses.objective import Objective, Weights, content_targets, style_targets
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
from nst_jax.training.relative import relative
from nst_jax.training.tasks import Crops, Task, at_precision, objective_of, weights_of

ENCODER = "vgg19-lite"  # the network whose features describe a style
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
    """The mean of `relative`, the logarithm of an objective in shares."""

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
        spec, network = self.objective, frozen.network

        def one(image: Array, crop: Array, picture: Array) -> dict[str, Array]:
            content = content_targets(spec, network, crop)
            style = style_targets(spec, network, picture)
            return relative(spec, network, frozen.weights, image, content, style)

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

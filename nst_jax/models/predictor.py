"""Predict a transformer's scales and shifts from statistics of a style picture.

After Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic
stylization network": a network turns a style picture into an embedding, a point of the style space,
and a linear map turns the embedding into the scales and shifts of every normalisation. Because the
map is linear, mixing the scales of several styles is the same as mixing their embeddings.

Their network for the embedding is a whole Inception. Ours is small, because it begins with
statistics of the features of an encoder: means, deviations, and the correlations between features
along a few trained directions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.linalg import dot, einsum
from nst_jax.models.stages import Parameters, is_conditional
from nst_jax.models.transformer import Architecture
from nst_jax.networks.base import Network
from nst_jax.typing import AnyArray

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_DIRECTIONS = 16  # of each layer, whose correlations are measured
_FARTHEST = 4.0  # deviations from the mean of all styles, beyond which a statistic is compressed
_LEAST = 1e-6  # added to variances
# Parameters that are measured before the training and not trained.
MEASURED = ("style.mean", "style.deviation")


@dataclass(frozen=True)
class Predictor:
    """The static description of a predictor; hashable.

    Attributes:
        transformer: the network whose scales and shifts are predicted, as a network of one style.
        widths: number of the encoder's channels at each of `LAYERS`.
        hidden: width of the two hidden layers; the second one has half of it.
        dimensions: dimensions of the style space.
    """

    transformer: Architecture
    widths: tuple[int, ...]
    hidden: int = 256
    dimensions: int = 100

    @property
    def conditional(self) -> dict[str, int]:
        """Scales and shifts of the transformer: their names and how many values each has."""
        shapes = self.transformer.shapes
        return {name: shape[1] for name, shape in shapes.items() if is_conditional(name)}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all parameters, those of the transformer included, by name."""
        pairs = len(_above(_DIRECTIONS)[0])
        moments, half = 2 * sum(self.widths), self.hidden // 2
        predicted = sum(self.conditional.values())
        found = {k: v for k, v in self.transformer.shapes.items() if not is_conditional(k)}
        found |= {
            f"style.{layer}.directions": (width, _DIRECTIONS)
            for layer, width in zip(LAYERS, self.widths, strict=True)
        }
        found |= dict.fromkeys(MEASURED, (moments,))
        sizes = [moments + pairs * len(LAYERS), self.hidden, half, self.dimensions, predicted]
        for name, (inputs, outputs) in zip(_DENSE, pairwise(sizes), strict=True):
            found |= {f"{name}.pointwise": (inputs, outputs), f"{name}.bias": (outputs,)}
        return found


_DENSE = ("style.hidden1", "style.hidden2", "style.embedding", "style.scales")


class Moments(NamedTuple):
    """Statistics of a style picture's features.

    Attributes:
        values: mean and standard deviation of each channel, all layers one after the other.
        covariances: the covariance matrix of each layer's channels.
    """

    values: Float[AnyArray, " n"]
    covariances: dict[str, Float[AnyArray, "c c"]]


def measure(
    encoder: Network,
    image: Float[AnyArray, "h w 3"],
    weights: Mapping[str, Float[AnyArray, "h2 w2"]] | None = None,
) -> Moments:
    """Compute the statistics of a style picture, in float32.

    Args:
        encoder: the network that has `LAYERS`.
        image: RGB in [0, 1].
        weights: for each layer the weights of its positions, with any sum above 0; None for equal
            weights.
    """
    values, covariances, features = [], {}, encoder(image, LAYERS)
    for layer in LAYERS:
        flat = jnp.asarray(features[layer], jnp.float32).reshape(-1, features[layer].shape[-1])
        over = jnp.ones(len(flat)) if weights is None else jnp.asarray(weights[layer]).reshape(-1)
        over = over / over.sum()
        mean = (flat * over[:, None]).sum(0)
        centred = flat - mean[None]
        covariances[layer] = einsum("pi,pj->ij", centred, centred * over[:, None])
        values += [mean, jnp.sqrt(jnp.diagonal(covariances[layer]))]
    return Moments(jnp.concatenate(values), covariances)


def embed(parameters: Parameters, moments: Moments) -> Float[Array, " d"]:
    """The embedding of a style: its point in the style space."""
    mean, deviation = (jnp.asarray(parameters[name]) for name in MEASURED)
    apart = (jnp.asarray(moments.values) - mean) / (deviation + _LEAST)
    x = [_FARTHEST * jnp.tanh(apart / _FARTHEST)]
    rows, columns = _above(_DIRECTIONS)
    for layer in LAYERS:
        covariance = jnp.asarray(moments.covariances[layer])
        directions = jnp.asarray(parameters[f"style.{layer}.directions"], jnp.float32)
        along = dot(directions.T, dot(covariance, directions))
        deviations = jnp.sqrt(jnp.diagonal(along) + _LEAST)
        x.append((along / deviations[None] / deviations[:, None])[rows, columns])
    hidden = jnp.concatenate(x)
    for name in _DENSE[:2]:
        hidden = jax.nn.relu(_normalized(_dense(parameters, name, hidden)))
    return _dense(parameters, _DENSE[2], hidden)


def predict(
    predictor: Predictor, parameters: Parameters, embeddings: Float[AnyArray, "k d"]
) -> dict[str, Array]:
    """The parameters of a transformer with a style for each embedding."""
    found = _dense(parameters, _DENSE[3], embeddings)
    own = {k: jnp.asarray(v) for k, v in parameters.items() if not k.startswith("style.")}
    ends = list(accumulate(predictor.conditional.values(), initial=0))
    for name, (first, last) in zip(predictor.conditional, pairwise(ends), strict=True):
        part = found[:, first:last]
        own[name] = 1 + part if name.endswith(".scale") else part
    return own


def initial(predictor: Predictor, seed: int = 0) -> dict[str, Float[np.ndarray, "..."]]:
    """Random initial parameters of the style's part in float32; `MEASURED` are still 0 and 1."""
    found = {}
    for number, (name, shape) in enumerate(predictor.shapes.items()):
        if not name.startswith("style."):
            continue
        noise = np.random.default_rng([seed, number, 1]).normal(size=shape)
        if name.endswith((".bias", ".mean")):
            noise = np.zeros(shape)
        elif name.endswith(".deviation"):
            noise = np.ones(shape)
        elif name == "style.scales.pointwise":
            noise *= 0.1  # the first scales are near 1, the first shifts near 0
        found[name] = noise.astype(np.float32)
    return found


def _dense(parameters: Parameters, name: str, x: AnyArray) -> Array:
    """A dense layer of weights near 1, which are divided by the root of the number of inputs here.

    A step of the optimiser then changes a layer of many inputs no more than one of few. If weights
    were small themselves, a few steps would turn off nearly all hidden units for good.
    """
    kernel, bias = (
        jnp.asarray(parameters[f"{name}.{part}"], jnp.float32) for part in ("pointwise", "bias")
    )
    return dot(x, kernel) / np.sqrt(len(kernel)) + bias[(None,) * (x.ndim - 1)]


def _normalized(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Mean 0 and deviation 1 over a layer's units, so that about half of them pass a ReLU."""
    return (x - x.mean()) / jnp.sqrt(x.var() + _LEAST)


def _above(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a symmetric matrix's entries above the diagonal."""
    return np.triu_indices(side, 1)

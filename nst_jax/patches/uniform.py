"""Penalties for `nearest` under which all of B is used, and no few vectors again and again."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from nst_jax.patches.nearest import CHUNK, SHARES, Metric, by_rows, nearest, prepared, squared
from nst_jax.programs import jit
from nst_jax.typing import AnyArray


def occurrence_penalty(
    a: Float[AnyArray, "n d"],
    b: Float[AnyArray, "m d"],
    weight: float | Float[Array, ""],
    *,
    metric: Metric = "euclidean",
    rounds: int = 6,
    chunk: int = CHUNK,
) -> Float[Array, " m"]:
    """A penalty on each vector of B in proportion to its use (after Fiser et al. 2016, EbSynth).

    It is `weight` for a vector used as often as the average one, n / m times. Use is counted with
    the penalty of the rounds before, as a mean over the rounds.

    Args:
        a: the vectors A, (n, d).
        b: the vectors B, (m, d).
        weight: in units of the metric's distance.
        metric: as for `nearest`.
        rounds: how often vectors are chosen and counted.
        chunk: as for `nearest`.
    """
    share = b.shape[0] / a.shape[0]

    def counted(n: Array, use: Array) -> Array:
        chosen = nearest(a, b, metric=metric, penalty=weight * use, chunk=chunk).indices[:, 0]
        now = jnp.zeros_like(use).at[chosen].add(share)
        return use + (now - use) / (n + 1)

    return weight * lax.fori_loop(0, rounds, counted, jnp.zeros(b.shape[0], jnp.float32))


@jit(static=["metric", "iterations", "chunk"])
def transport_penalty(
    a: Float[AnyArray, "n d"],
    b: Float[AnyArray, "m d"],
    *,
    metric: Metric = "euclidean",
    epsilon: float | Float[Array, ""] = 1e-2,
    iterations: int = 100,
    chunk: int = CHUNK,
) -> Float[Array, " m"]:
    """The penalty under which all vectors of B are used alike: optimal transport (Cuturi 2013).

    Sinkhorn's iteration on potentials, in logarithms. Under these penalties the nearest vector is
    the one to which the plan moves most. Distances are computed anew in each iteration, a chunk at
    a time, so that the plan is never stored.

    Args:
        a: the vectors A, (n, d).
        b: the vectors B, (m, d).
        metric: as for `nearest`.
        epsilon: the plan's blur, as a share of the mean distance. It falls to that from 1 in the
            first half of the iterations.
        iterations: how often both potentials are renewed.
        chunk: `chunk**2` distances are held at a time.
    """
    a, b = prepared(a, b, metric)
    mean = jnp.square(a).sum(1).mean() + jnp.square(b).sum(1).mean() - 2 * a.mean(0) @ b.mean(0)
    falling = jnp.clip(2 * jnp.arange(iterations) / iterations, 0, 1)

    def step(heights: tuple[Array, Array], power: Array) -> tuple[tuple[Array, Array], None]:
        width = mean * epsilon**power
        ours = _lowered(a, b, heights[1], width, chunk)
        return (ours, _lowered(b, a, ours, width, chunk)), None

    none = jnp.zeros(a.shape[0], jnp.float32), jnp.zeros(b.shape[0], jnp.float32)
    (_, height), _ = lax.scan(step, none, falling)
    return SHARES[metric] * (height.mean() - height)


def _lowered(
    a: Float[Array, "n d"], b: Float[Array, "m d"], height: Float[Array, " m"], width: Array, chunk
) -> Float[Array, " n"]:
    """The soft minimum over B of the squared distance less B's potential, for each vector of A."""

    def rows(x: Array) -> Array:
        costs = squared(x, b) + jnp.square(x).sum(1)[:, None] - height[None]
        return width * (jnp.log(float(b.shape[0])) - logsumexp(-costs / width, axis=1))

    return by_rows(rows, a, max(1, chunk**2 // b.shape[0]))

"""Square roots of symmetric positive matrices by matrix products alone, at home on any device."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nst_jax.typing import AnyArray

# Of the norm: square root of the least eigenvalue that is to come out right.
_LEAST = 1e-3


def _scales() -> tuple[float, ...]:
    """Factors before each step: the small roots grow 2.5-fold a step, and not 1.5-fold.

    After Chen & Chow 2014, "A stable scaling of Newton-Schulz", with a bound on the factors.
    """
    least, found = _LEAST, []
    while least < 1 - 1e-4:
        scale = min((3 / (1 + least + least**2)) ** 0.5, 1.6977)
        least = min(scale * x * (3 - scale**2 * x**2) / 2 for x in (least, 1.0))
        found.append(scale)
    return (*found, 1.0, 1.0)


def newton_schulz(
    matrix: Float[AnyArray, "c c"],
) -> tuple[Float[Array, "c c"], Float[Array, "c c"]]:
    """The square root of a symmetric positive definite matrix, and the root's inverse.

    The coupled Newton-Schulz iteration (Higham 2008, "Functions of Matrices", chapter 6), scaled.
    Converges for eigenvalues above 1e-6 of the norm; of those below, the root is too small.
    """
    norm = jnp.linalg.norm(matrix)
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)

    def step(roots: tuple[Array, Array], scale: Array) -> tuple[tuple[Array, Array], None]:
        root, inverse = roots
        middle = scale / 2 * (3 * identity - scale**2 * dot(inverse, root))
        return (dot(root, middle), dot(middle, inverse)), None

    scales = jnp.asarray(_scales(), matrix.dtype)
    (root, inverse), _ = lax.scan(step, (matrix / norm, identity), scales)
    return root * jnp.sqrt(norm), inverse / jnp.sqrt(norm)


@jax.custom_vjp
def trace_of_root(matrix: Float[AnyArray, "c c"]) -> Float[Array, ""]:
    """The trace of the square root of a symmetric positive definite matrix.

    Its gradient is half the root's inverse, which the iteration brings with it.
    """
    return jnp.trace(newton_schulz(matrix)[0])


def _forward(matrix):
    root, inverse = newton_schulz(matrix)
    return jnp.trace(root), inverse


def _backward(inverse, g):
    return (g / 2 * inverse,)


trace_of_root.defvjp(_forward, _backward)


def dot(a: AnyArray, b: AnyArray) -> Array:
    """A matrix product in full float32."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)

"""The relaxed earth mover's distance (Kolkin et al. 2019, STROTSS), as a statistic of style."""

from dataclasses import dataclass
from typing import ClassVar

from nst_jax.losses.statistics.base import Statistic
from nst_jax.losses.term import Term
from nst_jax.losses.transport import Transport


@dataclass(frozen=True)
class RelaxedTransport(Statistic):
    """Features at random pixels, all layers as one, compared with samples of the style.

    Attributes:
        count: how many pixels of the picture are compared.
        samples: how many of a style they are compared with.
        renew_every: evaluations until other pixels are drawn.
    """

    count: int = 1024
    samples: int = 5000
    renew_every: int = 1  # pyright: ignore[reportIncompatibleVariableOverride]
    name: ClassVar[str] = "remd"
    mixes: ClassVar[bool] = False
    joint: ClassVar[bool] = True
    copies: ClassVar[float] = 1.0

    def term(self, layers: tuple[str, ...]) -> Term:
        """The term that compares these layers."""
        return Transport(
            layers, count=self.count, samples=self.samples, renew_every=self.renew_every
        )

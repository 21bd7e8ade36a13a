"""Nearest neighbours of features (Kolkin et al. 2022, NNST), as a statistic of style."""

from dataclasses import dataclass, replace
from typing import ClassVar

from nst_jax.losses.hypercolumns import Hypercolumns
from nst_jax.losses.separate import SeparateLayers
from nst_jax.losses.statistics.base import Statistic
from nst_jax.losses.term import Term


@dataclass(frozen=True)
class Neighbours(Statistic):
    """Each position of the picture is drawn to the nearest feature of the style.

    There are two passes, as in the authors' code: all layers at once, then, at the end size, each
    layer by itself.

    Attributes:
        alpha: for which picture the nearest are chosen, from 0 (the one that is drawn) to 1 (the
            content). The authors' stylization level.
        turns: in how many quarter turns the style is looked at, 1 to 4.
        renew_every: evaluations until the nearest are chosen anew; that is also done where a scale
            begins.
        separate: whether each layer is compared by itself.
    """

    alpha: float = 0.75
    turns: int = 4
    renew_every: int = 200  # pyright: ignore[reportIncompatibleVariableOverride]
    separate: bool = False
    name: ClassVar[str] = "neighbours"
    mixes: ClassVar[bool] = False
    joint: ClassVar[bool] = True
    copies: ClassVar[float] = 1.0

    def term(self, layers: tuple[str, ...]) -> Term:
        """The term that compares these layers."""
        if self.separate:
            return SeparateLayers(layers, turns=self.turns, renew_every=self.renew_every)
        return Hypercolumns(
            layers, alpha=self.alpha, turns=self.turns, renew_every=self.renew_every
        )

    @property
    def last(self) -> "Neighbours | None":  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last pass, in which each layer is compared by itself."""
        return None if self.separate else replace(self, separate=True, renew_every=10)

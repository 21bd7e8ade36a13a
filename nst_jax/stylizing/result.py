"""What a stylization gives back."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nst_jax._version import __version__
from nst_jax.pictures import plots, writing
from nst_jax.solvers.stopping import Status
from nst_jax.stylizing.settings import Settings


class Scale(NamedTuple):
    """A size at which a picture is drawn, for how many evaluations; if by the draft's network."""

    height: int
    width: int
    evaluations: int
    draft: bool = False


@dataclass(frozen=True, eq=False)
class Stylization:
    """A stylized picture and how it came about.

    Attributes:
        image: RGB float32 in [0, 1], (h, w, 3), clipped once, at the end.
        losses: from `total`, `content`, `style`, `tv` and each layer to its weighted values, one
            per evaluation (one per step of a line search), of the unclipped picture.
        evaluations: the function evaluations used up to each of those values.
        status: `"finished"`; ended by a `"plateau"` or because the `"time"` was up; `"interrupted"`
            by Ctrl-C, `"stopped"` by the callback or `"diverged"`; `image` is the best picture of
            them all in every case, or with `average` the average.
        restarts: how often a blow-up made the optimiser start again from the best picture.
        compile_seconds: tracing and compilation of the loop.
        run_seconds: the evaluations.
        settings: what was asked for.
        network: name of the network that made it.
        network_digest: digest of its weights.
        alpha: the content's transparency, (h, w) in [0, 1], or None.
        icc: the content's colour profile, or None for sRGB; `save` converts back to it.
        sources: names of the pictures that went in, where they have one.
        scales: the sizes at which it was drawn, from coarse to fine, with the evaluations of each;
            losses of different sizes, or of a draft, are no two of a kind.
    """

    image: Float[np.ndarray, "h w 3"]
    losses: Mapping[str, Float[np.ndarray, " n"]]
    evaluations: Int[np.ndarray, " n"]
    status: Status
    restarts: int
    compile_seconds: float
    run_seconds: float
    settings: Settings
    network: str
    network_digest: str
    alpha: Float[np.ndarray, "h w"] | None = None
    icc: bytes | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    scales: tuple[Scale, ...] = ()

    @property
    def best(self) -> int:
        """The row of `losses` and `evaluations` that belongs to `image`."""
        total = self.losses["total"]
        if self.settings.average:
            return total.size - 1  # the average is evaluated last
        here = self.evaluations > sum(scale.evaluations for scale in self.scales[:-1])
        return int(np.argmin(np.where(here & np.isfinite(total), total, np.inf)))

    def record(self) -> dict[str, Any]:
        """What `save` embeds in the picture: settings, network, its losses, times; plain values.

        Files are there by name, without their folders.
        """
        settings = self.settings.to_dict()
        values = {name: float(rows[self.best]) for name, rows in self.losses.items()}
        return {
            "version": __version__,
            "settings": settings
            | {name: os.path.basename(settings[name]) for name in ("network", "init")},
            "sources": dict(self.sources),
            "network": self.network,
            "network_digest": self.network_digest,
            "status": self.status,
            "evaluations": int(self.evaluations[-1]),
            "scales": [list(scale) for scale in self.scales],
            "losses": {k: v if math.isfinite(v) else None for k, v in values.items()},
            "compile_seconds": round(self.compile_seconds, 3),
            "run_seconds": round(self.run_seconds, 3),
        }

    def save(self, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
        """Write PNG, JPEG, WebP or TIFF by suffix, atomically, with the settings embedded.

        Raises:
            InputError: an unknown suffix, a folder that cannot be written, or a file that is
                there already and `overwrite` is false.
        """
        return writing.save(
            path,
            self.image,
            alpha=self.alpha,
            icc=self.icc,
            settings=self.record(),
            overwrite=overwrite,
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses against the evaluations, with a line where a scale ends.

        Returns:
            The matplotlib axes.

        Raises:
            InputError: matplotlib is not installed.
        """
        ax = plots.axes(ax)
        for name, values in self.losses.items():
            if np.any(values > 0):
                ax.plot(self.evaluations, values, label=name, lw=2 if name == "total" else 1)
        ends = np.cumsum([scale.evaluations for scale in self.scales[:-1]])
        for end in ends:
            ax.axvline(end, color="0.8", lw=1, zorder=0)
        ax.set(xlabel="function evaluations", ylabel="weighted loss", yscale="log")
        ax.legend()
        return ax

    def _repr_png_(self) -> bytes:
        return writing.encode_png(self.image, self.alpha)

    def __repr__(self) -> str:
        h, w, _ = self.image.shape
        loss = self.losses["total"][self.best]
        return (
            f"Stylization({w}x{h}, {self.status} after {self.evaluations[-1]} evaluations, "
            f"loss {loss:.4g}, network {self.network}, {self.run_seconds:.1f} s)"
        )

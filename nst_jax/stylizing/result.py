"""The result of a stylization."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nst_jax._version import __version__
from nst_jax.errors import InputError
from nst_jax.losses import registry
from nst_jax.pictures import plots, writing
from nst_jax.solvers.stopping import Status
from nst_jax.stylizing.again import larger, longer
from nst_jax.stylizing.settings import Settings


class Scale(NamedTuple):
    """One step from coarse to fine.

    Attributes:
        height: height of the picture in pixels.
        width: width of the picture in pixels.
        evaluations: the number of function evaluations at this scale.
        draft: whether the draft's network draws it.
        last: whether it is the last pass of a statistic that has one (`Statistic.last`).
    """

    height: int
    width: int
    evaluations: int
    draft: bool = False
    last: bool = False


@dataclass(frozen=True, eq=False)
class Stylization:
    """A stylized picture, with its losses and its settings.

    Attributes:
        image: the picture, RGB float32 in [0, 1], (h, w, 3). Whatever the status, it is the best
            picture of the last scale, or with the option `average` the average. It is clipped only
            once, at the end.
        losses: the weighted losses of the unclipped picture: `total`, each term (`content`,
            `style`, `tv`, ...) and each layer by name. There is one value for each evaluation; with
            a line search, one for each step.
        evaluations: the number of function evaluations up to each of these values.
        status: how the run ended: `"finished"`, on a `"plateau"`, because the `"time"` was up,
            `"interrupted"` by Ctrl-C, `"stopped"` by the callback, or `"diverged"`.
        restarts: how often the optimiser blew up and started again from the best picture.
        compile_seconds: time spent on tracing and compiling the loop.
        run_seconds: time spent on the evaluations.
        settings: the settings of the run.
        network: the name of the network.
        network_digest: the digest of the network's weights.
        alpha: the transparency of the content, (h, w) in [0, 1], or None.
        icc: the colour profile of the content, or None for sRGB; `save` converts back to it.
        sources: the file names of the pictures that went in, if they had any.
        scales: the scales from coarse to fine, each with its evaluations. Losses at different
            sizes, or of a draft, cannot be compared.
        style_scales: long side of each style picture relative to the content's.
        plan: in one line, what `seconds` planned; None if it did not plan.
        redraw: draws with the same pictures, network and settings; options replace settings. None
            if the pictures are not known.
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
    style_scales: tuple[float, ...] = ()
    plan: str | None = None
    redraw: Callable[..., "Stylization"] | None = field(default=None, repr=False)

    @property
    def best(self) -> int:
        """The index into `losses` and `evaluations` that belongs to `image`."""
        total = self.losses["total"]
        if self.settings.average:
            return total.size - 1  # the average is evaluated last
        begin = sum(scale.evaluations for scale in self.scales[:-1])
        names = (registry.term(name) for name in self.settings.weighing)
        usual = registry.statistic(self.settings.statistic)
        renewing = (*self.settings.terms, *names, getattr(usual, "last", None) or usual)
        if every := math.gcd(*(getattr(one, "renew_every", 0) for one in renewing)):
            # A new target changes a term's loss, so totals compare only after the last renewal.
            begin = max(begin, (int(self.evaluations[-1]) - 1) // every * every)
        here = self.evaluations > begin
        return int(np.argmin(np.where(here & np.isfinite(total), total, np.inf)))

    def record(self) -> dict[str, Any]:
        """The plain values that `save` embeds in the file: settings, network, losses and times.

        They contain the names of files, but not their folders.
        """
        settings = self.settings.to_dict()
        drawn = self.evaluations.size > 0
        values = {name: float(rows[self.best]) for name, rows in self.losses.items() if drawn}
        return {
            "version": __version__,
            "settings": settings
            | {name: os.path.basename(settings[name]) for name in ("network", "init")},
            "sources": dict(self.sources),
            "network": self.network,
            "network_digest": self.network_digest,
            "status": self.status,
            "evaluations": int(self.evaluations[-1]) if drawn else 0,
            "scales": [list(scale) for scale in self.scales],
            "style_scales": list(self.style_scales),
            "losses": {k: v if math.isfinite(v) else None for k, v in values.items()},
            "compile_seconds": round(self.compile_seconds, 3),
            "run_seconds": round(self.run_seconds, 3),
            **({"plan": self.plan} if self.plan else {}),
        }

    def enlarge(self, size: int, **options: Any) -> "Stylization":
        """Draw the picture larger. It goes on from this one, so that the print looks like it.

        All larger scales are drawn, from coarse to fine, and the strokes keep their size relative
        to the picture.

        Args:
            size: long side of the new picture in pixels.
            **options: as for `stylize`; they replace the settings. `content` and `style` can be
                given again, and must be for a result whose pictures are not known.

        Raises:
            InputError: the new picture is not larger, or `stylize` raises it.
            KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
        """
        return self._again(larger(self.settings, self.image, self.style_scales, size) | options)

    def go_on(self, iterations: int, **options: Any) -> "Stylization":
        """Go on from this picture for so many function evaluations, at its own size.

        The optimiser starts afresh, from the best picture.

        Args:
            iterations: the number of function evaluations.
            **options: as for `enlarge`.

        Raises:
            InputError: `stylize` raises it.
            KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
        """
        return self._again(longer(self.image, iterations) | options)

    def _again(self, options: dict[str, Any]) -> "Stylization":
        if self.redraw is None:
            raise InputError(
                "The result does not know its pictures: draw it with stylize or sweep, or load it "
                "with load_sweep."
            )
        return self.redraw(**options)

    def save(self, path: str | os.PathLike, *, overwrite: bool = True) -> Path:
        """Write the picture, with its settings embedded.

        The suffix selects PNG, JPEG, WebP or TIFF. A file is written completely or not at all.

        Returns:
            The path of the file.

        Raises:
            InputError: the suffix is unknown, the folder cannot be written to, or the file exists
                and `overwrite` is false.
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
        """Plot the losses against the evaluations, with a vertical line where a scale ends.

        Args:
            ax: the matplotlib axes to draw on; None makes new ones.

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
        if not self.evaluations.size:
            return f"Stylization({w}x{h}, init '{self.settings.init}' without evaluations)"
        loss = self.losses["total"][self.best]
        return (
            f"Stylization({w}x{h}, {self.status} after {self.evaluations[-1]} evaluations, "
            f"loss {loss:.4g}, network {self.network}, {self.run_seconds:.1f} s)"
        )

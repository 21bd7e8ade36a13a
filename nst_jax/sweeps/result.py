"""The result of a sweep."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nst_jax.errors import InputError
from nst_jax.losses.registry import TERMS
from nst_jax.options import unknown
from nst_jax.pictures import plots, writing
from nst_jax.pictures.sheet import contact_sheet, square_sheet
from nst_jax.stylizing.result import Stylization
from nst_jax.sweeps.axes import described, shown
from nst_jax.sweeps.folder import Folder
from nst_jax.sweeps.plan import plan_of

# How a lane ends that the user ends: a folder does not keep it, and resuming draws it anew.
EARLY = ("interrupted", "stopped")


@dataclass(frozen=True, eq=False)
class Sweep:
    """The stylizations of a sweep, as a sequence in the order of the lanes.

    Lanes without a result, as after Ctrl-C, are left out of the sequence.

    Attributes:
        axes: the values of each axis, by name. Axes of pictures are called `content` and `style`.
        how: how the axes are combined, `"product"` or `"zip"`.
        points: the value of each axis, for each lane.
        results: the stylizations by the number of their lane, from 0.
        continued: goes on with lanes side by side; see `go_on`. None for a sweep from a folder.
    """

    axes: Mapping[str, tuple[Any, ...]]
    how: str
    points: tuple[Mapping[str, Any], ...]
    results: Mapping[int, Stylization]
    continued: Callable[..., dict[int, Stylization]] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, points: Sequence[Mapping[str, Any]], how: str) -> "Sweep":
        """A sweep over these points, without results."""
        axes = {
            name: tuple({shown(point[name]): point[name] for point in points}.values())
            for name in points[0]
        }
        return cls(axes, how, tuple(points), {})

    def __getstate__(self) -> dict[str, Any]:
        # Devices and networks are not copied; a copy goes on lane by lane.
        return {**self.__dict__, "continued": None}

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Stylization]:
        return (result for _, result in sorted(self.results.items()))

    def __getitem__(self, number: int) -> Stylization:
        return list(self)[number]

    @property
    def missing(self) -> tuple[int, ...]:
        """The numbers of the lanes without a result."""
        return tuple(i for i in range(len(self.points)) if i not in self.results)

    @property
    def unfinished(self) -> tuple[int, ...]:
        """The numbers of the lanes that are missing, were interrupted or stopped."""
        kept = {i for i, result in self.results.items() if result.status not in EARLY}
        return tuple(i for i in range(len(self.points)) if i not in kept)

    def at(self, **values: Any) -> Stylization:
        """The one stylization with these values: `sweep.at(style_weight=1e3, seed=0)`.

        Raises:
            InputError: the sweep does not have an axis or value, several lanes have these values,
                or the lane has no result.
        """
        found = self.where(**values)
        if len(found.points) > 1:
            free = [k for k in self.axes if k not in values]
            lanes = f"have {described(values)}" if values else "are in the sweep"
            raise InputError(
                f"{len(found.points)} lanes {lanes}: say which {' and '.join(free)}"
                f"{' too' * bool(values)}, or take where() for all of them."
            )
        if not found.results:
            raise InputError(f"The lane with {described(values)} is missing: it was not finished.")
        return found[0]

    def where(self, **values: Any) -> "Sweep":
        """The part of the sweep with these values, as a sweep with its lanes numbered anew.

        Raises:
            InputError: the sweep does not have an axis or value.
        """
        for name, value in values.items():
            if name not in self.axes:
                raise InputError(unknown("axis", name, self.axes))
            if not any(_same(value, known) for known in self.axes[name]):
                listed = ", ".join(shown(known) for known in self.axes[name])
                raise InputError(f"The axis {name} has no value {shown(value)}: it has {listed}.")
        chosen = [
            i
            for i, point in enumerate(self.points)
            if all(_same(value, point[name]) for name, value in values.items())
        ]
        # Its lanes have other numbers, so that it goes on by itself, lane by lane.
        part = Sweep.of([self.points[i] for i in chosen], self.how)
        kept = {n: self.results[i] for n, i in enumerate(chosen) if i in self.results}
        return replace(part, results=kept)

    def go_on(
        self, iterations: int, *, lanes: Collection[int] | None = None, progress: bool = True
    ) -> "Sweep":
        """Go on with some or all lanes from their pictures, for so many function evaluations.

        Each goes on as `Stylization.go_on` does; lanes run side by side as in the sweep itself.

        Args:
            iterations: the number of function evaluations of each lane.
            lanes: the numbers of the lanes; None for all that have a result.
            progress: show a bar.

        Returns:
            The sweep with the new results of these lanes, and the old ones of the others.

        Raises:
            InputError: a lane has no result, or its pictures or its network are gone.
            KeyboardInterrupt: Ctrl-C was pressed before there was a picture.
        """
        chosen = sorted(self.results if lanes is None else lanes)
        for number in chosen:
            if number not in self.results:
                raise InputError(f"Lane {number} has no result to go on from.")
        part = {number: self.results[number] for number in chosen}
        if self.continued is not None:
            found = self.continued(part, iterations, progress=progress)
        else:
            again = partial(Stylization.go_on, iterations=iterations, progress=progress)
            found = {number: again(result) for number, result in part.items()}
        return replace(self, results={**self.results, **found})

    def table(self) -> list[dict[str, Any]]:
        """One row for each lane that has a result, for `pandas.DataFrame` or a CSV file.

        The columns are the values of the axes; `status`, `evaluations` and `seconds`; the final
        weighted losses, `total` and by term; and the same without their weights,
        `content_unweighted`, `style_unweighted` and so on, to compare lanes of different weights
        (None where the weight is 0). An axis with the name of another column, as `content` and
        `style` have, is in the column `content_axis` or `style_axis`.
        """
        return [self._row(i, result) for i, result in sorted(self.results.items())]

    def _row(self, lane: int, result: Stylization) -> dict[str, Any]:
        figures = {
            "status": result.status,
            "evaluations": int(result.evaluations[-1]),
            "seconds": round(result.run_seconds, 3),
        }
        figures |= {term: _final(result, term) for term in ("total", *self._terms)}
        figures |= {f"{term}_unweighted": unweighted(result, term) for term in self._terms}
        values = {
            f"{name}_axis" if name in figures else name: _plain(value)
            for name, value in self.points[lane].items()
        }
        return values | figures

    @property
    def _terms(self) -> tuple[str, ...]:
        """The names of all terms of all lanes, those of the registry first."""
        own = (term.name for result in self for term in result.settings.terms)
        return tuple(dict.fromkeys((*TERMS, *own)))

    def grid(
        self, size: int | None = 192, *, running: Mapping[int, Any] | None = None
    ) -> Image.Image:
        """A contact sheet of all lanes.

        In a product of several axes, the last axis runs across and the others run down. Otherwise
        the lanes are set in rows, to about a square.

        Args:
            size: long side of each picture in pixels; None keeps the pictures' own sizes.
            running: pictures of lanes without a result, by their number; (h, w, 3) in [0, 1].
        """
        # As the lanes' files hold them: a sweep that was resumed has the same sheet.
        images = {i: np.rint(result.image * 255) / 255 for i, result in self.results.items()}
        drawn = dict(running or {}) | images
        pictures = [drawn.get(i) for i in range(len(self.points))]
        names = [described(point) for point in self.points]
        if self.how == "product" and sum(len(values) > 1 for values in self.axes.values()) > 1:
            *down, last = self.axes
            width = len(self.axes[last])
            rows = [{k: p[k] for k in down} for p in self.points[::width]]
            return contact_sheet(
                [pictures[i : i + width] for i in range(0, len(pictures), width)],
                size=size,
                columns=[f"{last} {shown(value)}" for value in self.axes[last]],
                beside=[described(row) for row in rows],
            )
        return square_sheet(pictures, names, size=size)

    def plot(self, ax: Any = None) -> Any:
        """Plot content loss against style loss, both without their weights.

        There is one line for each combination of the axes that are no weights. It connects the
        lanes that differ only in weights.

        Args:
            ax: matplotlib axes to draw on; None makes new ones.

        Returns:
            The matplotlib axes.

        Raises:
            InputError: matplotlib is not installed.
        """
        ax = plots.axes(ax)
        weights = [name for name in self.axes if name.endswith("_weight")]
        lines: dict[str, list[tuple[float, float, str]]] = {}
        for i, result in sorted(self.results.items()):
            content, style = unweighted(result, "content"), unweighted(result, "style")
            if content is None or style is None:
                continue
            point = self.points[i]
            others = {k: v for k, v in point.items() if k not in weights}
            mark = ", ".join(shown(point[k]) for k in weights)
            lines.setdefault(described(others), []).append((content, style, mark))
        for name, found in lines.items():
            found.sort()
            ax.plot([c for c, _, _ in found], [s for _, s, _ in found], "o-", label=name or None)
            for content, style, mark in found:
                ax.annotate(mark, (content, style), fontsize="x-small")
        ax.set(xlabel="content loss", ylabel="style loss", xscale="log", yscale="log")
        if any(lines):
            ax.legend()
        return ax

    def save(self, folder: str | os.PathLike, *, overwrite: bool = True) -> Path:
        """Write every picture with its settings embedded, the table, the sheet and `sweep.json`.

        Also write `index.html`, a page to look at the pictures, which needs no other file.

        Args:
            folder: a new or empty folder, or one with an earlier sweep. Its files are replaced once
                all new ones are written; other files in the folder are left alone.
            overwrite: replace an earlier sweep.

        Returns:
            The path of the folder.

        Raises:
            InputError: the sweep has no results; the folder holds a sweep and `overwrite` is false,
                or other files and no sweep; or it cannot be written to.
        """
        if not self.results:
            raise InputError("The sweep has no results, so there is nothing to save.")
        networks = {result.network: result.network_digest for result in self}
        settings = {i: result.settings for i, result in self.results.items()}
        # The settings of missing lanes are not known, and any will do: the folder needs some.
        every = [settings.get(i, self[0].settings) for i in range(len(self.points))]
        plan = plan_of(self.how, self.axes, self.points, every, {}, networks)
        with Folder(folder, plan).written_anew(overwrite=overwrite) as kept:
            for i, result in self.results.items():
                kept.keep(i, result)
            self.sum_up(kept)
        return Path(folder)

    def sum_up(self, folder: Folder) -> None:
        """Write the table, the contact sheet, the page and the status of each lane."""
        folder.finish(self.results, self.table(), self.grid())

    def _repr_png_(self) -> bytes:
        return writing.encode_png(np.asarray(self.grid(), np.float32) / 255)

    def __repr__(self) -> str:
        axes = ", ".join(f"{name}: {len(values)}" for name, values in self.axes.items())
        missing = f", {len(self.missing)} missing" if self.missing else ""
        return f"Sweep({axes or 'one lane'}; {len(self)} of {len(self.points)} lanes{missing})"


def unweighted(result: Stylization, term: str) -> float | None:
    """The final loss of a term divided by the term's weight.

    None if the weight is zero or the loss is not finite.
    """
    weight, value = result.settings.weight(term), _final(result, term)
    return None if not weight or value is None else value / weight


def _final(result: Stylization, term: str) -> float | None:
    # Results of earlier versions lack newer terms; lanes may differ in terms of the user's own.
    value = float(result.losses[term][result.best]) if term in result.losses else 0.0
    return value if np.isfinite(value) else None


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | None) else shown(value)


def _same(value: Any, known: Any) -> bool:
    return value == known or shown(value) == shown(known)

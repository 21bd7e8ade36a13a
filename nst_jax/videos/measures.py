"""Measures of films: how far results flicker, and what they have of the style and the content.

A blur wins every measure of flicker, so that the losses always stand beside them.
"""

import math
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Integral
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nst_jax.films import reading
from nst_jax.films.film import Film
from nst_jax.losses.content import Content
from nst_jax.losses.objective import Objective, Targets, Weights, content_targets, objective
from nst_jax.losses.objective import style_targets as targets_of_style
from nst_jax.losses.style import Style, StyleTarget
from nst_jax.motion.warping import warp
from nst_jax.networks.base import Network
from nst_jax.networks.load import load_network
from nst_jax.options import in_range
from nst_jax.pictures import transparency
from nst_jax.pictures.sources import PictureSource
from nst_jax.programs import jit
from nst_jax.typing import AnyArray
from nst_jax.videos.pairs import require_alike, together
from nst_jax.videos.passages import Method, Passage, passage

FAR = 10  # frames between those that the long-term error compares
_BOTH = Objective((Content(), Style()))
_CONTENT = Objective((Content(),))


@dataclass(frozen=True)
class Figures:
    """The measures of a film; nan where it is too short for one.

    Attributes:
        warping: warping error (Lai et al. 2018): the mean over neighbouring frames of
            sum M |V' - V|^2 / sum M, where V' is the next frame warped to a frame V, M where the
            original's motion can be trusted, and values are in [0, 1].
        long_term: the same of frames that are 10 apart.
        drift: the largest distance, over all frames, of the mean colour from that of the shot's
            first frame; the root of the mean square over channels, in [0, 1].
        style: style loss of the layers relu1_1 to relu5_1, the mean of some frames; None without a
            style.
        content: content loss of relu4_2 to the original, of the same frames.
    """

    warping: float
    long_term: float
    drift: float
    style: float | None
    content: float


@dataclass(frozen=True)
class Report:
    """The measures of a film beside those of its original and of others.

    Attributes:
        films: figures by name: "original" (the floor), "styled", and "each frame" (the ceiling).
        frames: number of frames.
        cuts: number of cuts between them.
    """

    films: Mapping[str, Figures]
    frames: int
    cuts: int

    def text(self) -> str:
        """A table for terminals."""
        names = ("warping", "long_term", "drift", "style", "content")
        heads = ("warping error", "long-term error", "drift", "style loss", "content loss")
        width = max(map(len, self.films))
        lines = [" " * width + "".join(f"{head:>17}" for head in heads)]
        for name, figures in self.films.items():
            values = asdict(figures)
            lines.append(f"{name:{width}}" + "".join(f"{_shown(values[n]):>17}" for n in names))
        return "\n".join([*lines, f"{self.frames} frames, {self.cuts} cuts"])

    def to_dict(self) -> dict[str, Any]:
        """The report in plain values; None in place of nan."""
        films = {
            name: {k: None if v is None or math.isnan(v) else v for k, v in asdict(f).items()}
            for name, f in self.films.items()
        }
        return {"films": films, "frames": self.frames, "cuts": self.cuts}


def measure(
    original: str | os.PathLike,
    styled: str | os.PathLike,
    *,
    per_frame: str | os.PathLike | None = None,
    style: PictureSource | None = None,
    network: str | Network = "vgg19-lite",
    method: Method = "auto",
    rate: float | None = None,
    every: int = 10,
) -> Report:
    """Measure a film that was drawn of another. Memory does not depend on the length.

    Args:
        original: the film, GIF or folder of pictures that it was drawn of.
        styled: the drawn film.
        per_frame: what the same model draws of each frame on its own, to compare with.
        style: the style picture, which is brought to the long side of the frames; None leaves the
            style loss out.
        network: of the losses.
        method: how the motion is found; see `passages.passage`.
        rate: frames per second of folders; None for 25.
        every: frames from one whose losses are computed to the next.

    Raises:
        InputError: a film or the style cannot be read, or the films do not belong together.
    """
    in_range(every, "every", Integral, 1, 10**9)
    places = {"original": original, "styled": styled}
    places |= {} if per_frame is None else {"each frame": per_frame}
    films: list[Film] = [
        reading.probe(place, rate=rate if os.path.isdir(place) else None)
        for place in places.values()
    ]
    for film in films[1:]:
        require_alike(films[0], film)
    loaded = load_network(network) if isinstance(network, str) else network
    target = None
    if style is not None:
        size = max(films[1].height, films[1].width)
        picture = transparency.read_style(style, size=size).rgb
        target = StyleTarget(targets_of_style(_BOTH, loaded, jnp.asarray(picture)))
    meters = {name: _Meter(loaded, target) for name in places}
    frames = cuts = 0
    past: deque[np.ndarray] = deque(maxlen=FAR)
    for frames, several in enumerate(together(films), 1):
        pictures = [frame.rgb.astype(np.float32) / 255 for frame in several]
        near = passage(pictures[0], past[-1], method=method) if past else None
        if near is not None and near.cut:
            cuts += 1
            past.clear()
        far = passage(pictures[0], past[0], method=method) if len(past) == FAR else None
        losses = (frames - 1) % every == 0
        for meter, picture in zip(meters.values(), pictures, strict=True):
            meter.add(picture, pictures[0] if losses else None, near, far)
        past.append(pictures[0])
    found = {name: meter.figures() for name, meter in meters.items()}
    return Report(found, frames, cuts)


def warping_error(
    picture: Float[AnyArray, "h w 3"], following: Float[AnyArray, "h w 3"], passage: Passage
) -> float:
    """The warping error of a pair of frames; see `Figures`.

    Args:
        picture: V, in [0, 1].
        following: the later frame.
        passage: from the later frame to V: `passage(later, V)` of the original's frames.

    Returns:
        The mean over trusted pixels and channels; nan if there are none.
    """
    found, trusted = _apart(picture, following, passage.flow, passage.reliable)
    return float(found) / float(trusted) if trusted else math.nan


@jit()
def _apart(picture, following, flow, reliable):
    squares = jnp.square(warp(following, flow)[0] - picture).mean(-1)
    return (reliable * squares).sum(), jnp.asarray(reliable).sum()


@dataclass
class _Meter:
    """What is measured of one film, frame by frame."""

    network: Network
    style: StyleTarget | None
    past: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=FAR))
    means: dict[str, "_Mean"] = field(default_factory=dict)
    drift: float = 0.0
    first: np.ndarray | None = None

    def add(
        self,
        picture: np.ndarray,
        original: np.ndarray | None,
        near: Passage | None,
        far: Passage | None,
    ) -> None:
        """Add a frame, with the original where losses are due, and its passages."""
        if near is None or near.cut:
            self.past.clear()
            self.first = picture.mean((0, 1))
        else:
            self._note("warping", warping_error(self.past[-1], picture, near))
        if far is not None:
            self._note("long_term", warping_error(self.past[0], picture, far))
        assert self.first is not None
        apart = np.square(picture.mean((0, 1)) - self.first).mean()
        self.drift = max(self.drift, float(np.sqrt(apart)))
        if original is not None:
            for name, loss in _losses(picture, original, self.network, self.style).items():
                self._note(name, float(loss))
        self.past.append(picture)

    def figures(self) -> Figures:
        """The measures of all frames."""
        every = {name: mean.value for name, mean in self.means.items()}
        found = {name: every.get(name, math.nan) for name in ("warping", "long_term", "content")}
        return Figures(**found, drift=self.drift, style=every.get("style"))

    def _note(self, name: str, value: float) -> None:
        self.means.setdefault(name, _Mean()).add(value)


@dataclass
class _Mean:
    """The mean of values that come one by one; nan is none of them."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        if not math.isnan(value):
            self.total, self.count = self.total + value, self.count + 1

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else math.nan


@jit()
def _losses(picture, original, network, style) -> dict[str, Array]:
    spec = _CONTENT if style is None else _BOTH
    targets: dict[str, Any] = {"content": content_targets(_CONTENT, network, original)}
    if style is not None:
        targets["style"] = style
    weights = Weights({"content": 1.0, "style": 1.0}, {})
    _, terms = objective(spec, picture, network, Targets(targets), weights)
    return {name: terms[name] for name in ("content", "style") if name in terms}


def _shown(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4g}"

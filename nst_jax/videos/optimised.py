"""Frames by optimisation, each from the ones before (Ruder, Dosovitskiy & Brox 2016).

The first frame of a shot is drawn as a picture is. A later frame begins with what was drawn of the
last one, warped to it, and the term `temporal` holds it to several earlier ones. This start is
nearly at the minimum, so that a few evaluations take the place of a thousand.

The style loss is of the whole frame, and hardly notices small parts without style. So what comes
into sight begins with a quick drawing of the frame by itself.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from nst_jax.errors import InputError
from nst_jax.losses.regions import Regions
from nst_jax.losses.term import Earlier
from nst_jax.motion.warping import warp_sharp
from nst_jax.options import in_range
from nst_jax.pictures import resizing
from nst_jax.pictures.reading import Picture
from nst_jax.solvers.ahead import compiling
from nst_jax.stylizing.problem import Problem
from nst_jax.stylizing.request import Request
from nst_jax.stylizing.result import Scale
from nst_jax.stylizing.run import draw
from nst_jax.stylizing.settings import PICTURE
from nst_jax.videos.earlier import (
    agreement,
    closest_first,
    hole_of,
    start_of,
    stillness_of,
    strange_in,
)
from nst_jax.videos.minimum import lowered, minimum
from nst_jax.videos.passages import Method, passage

Frame = Float[np.ndarray, "h w 3"]

# Where nothing moves, nothing is blurred by warping, so that the weight may be higher by this much.
_STILL = 4.0
# What comes into sight: less than this share of a frame may be a fault of the flow. It is drawn at
# half the size first, in so many evaluations.
_SEEN, _COARSE = 0.005, 40


@dataclass(frozen=True)
class Plan:
    """How the frames after the first one of a shot are drawn.

    Attributes:
        evaluations: function evaluations of a frame.
        lags: to which earlier frames a frame is held: how many frames back, the nearest first.
        seconds: time limit for a frame; None for none.
        method: how the motion is found; see `passages.passage`.
        coherent: whether frames are drawn from earlier ones; else each is drawn by itself, in about
            as much time.

    Raises:
        InputError: a value is out of its range.
    """

    evaluations: int = 20
    lags: tuple[int, ...] = (1, 2, 4)
    seconds: float | None = None
    method: Method = "auto"
    coherent: bool = True

    def __post_init__(self):
        """Check every value."""
        in_range(self.evaluations, "evaluations", Integral, 1, 10_000_000)
        in_range(self.seconds, "seconds_per_frame", Real, 0, 10**9, optional=True)
        lags = self.lags
        if not lags or lags[0] != 1 or list(lags) != sorted(set(lags)) or lags[-1] > 100:
            raise InputError(
                f"lags is {lags!r}, but must be whole numbers that rise from 1, up to 100."
            )


class Past(NamedTuple):
    """An earlier frame, what was drawn of it, and its regions."""

    frame: Frame
    drawn: Frame
    regions: Regions | None = None


class _Known(NamedTuple):
    """What is known of a frame from earlier ones, and where it shows something new."""

    earlier: Earlier
    strange: Float[np.ndarray, "h w"]


class Optimised:
    """Draws the frames of a film one after another; frames and results are RGB in [0, 1].

    Args:
        request: how a frame is drawn as a picture. Its content is replaced by each frame, and so
            are its regions; if its colours are matched, then to this content for the whole film.
        plan: how later frames are drawn.

    Attributes:
        since: frames of the shot so far.
    """

    def __init__(self, request: Request, plan: Plan):
        self._first, self._plan = _matched(request), plan
        self._past: list[Past] = []
        self._regions: Regions | None = None
        self._ahead: list[Future] | None = None
        self.since = 0
        settings = replace(self._first.settings, min_size=None, draft=False)
        later = replace(settings, iterations=plan.evaluations, init=PICTURE)
        coarse = replace(settings, iterations=_COARSE, init="content", temporal_weight=0.0)
        network = self._first.draft or self._first.network
        self._later = replace(self._first, settings=later, draft=None)
        self._coarse = replace(self._first, settings=coarse, network=network, draft=None)

    @property
    def reach(self) -> int:
        """How many earlier frames may be needed."""
        return self._plan.lags[-1]

    def resume(self, past: Sequence[Past], since: int) -> None:
        """Go on after these frames, the oldest first, of a shot that has had `since` frames."""
        self._past, self.since = list(past)[-since:], since

    def draw(self, frame: Frame, regions: Regions | None = None) -> Frame:
        """Draw the next frame.

        Args:
            frame: the frame.
            regions: its regions; None for none.

        Raises:
            InputError: it does not fit into memory, or a region is empty.
            KeyboardInterrupt: Ctrl-C was pressed before the frame was drawn.
        """
        began, self._regions = time.perf_counter(), regions
        if not self._plan.coherent:
            return self._alone(frame)
        known = self._known(frame, self._past)
        if known is None:
            self._past, self.since = [], 0
            drawn = self._anew(frame)
        else:
            drawn = self._refined(frame, known, began)
        self._past = [*self._past, Past(frame, drawn, regions)][-self.reach :]
        self.since += 1
        return drawn

    def again(
        self, frame: Frame, drawn: Frame, past: Sequence[Past], regions: Regions | None = None
    ) -> Frame:
        """Draw a frame once more.

        Args:
            frame: the frame.
            drawn: what was drawn of it.
            past: frames that follow or precede it and were drawn again, the nearest last.
            regions: its regions; None for none.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed before the frame was drawn.
        """
        began, self._regions = time.perf_counter(), regions
        known = self._known(frame, past)
        earlier = self._unknown(frame) if known is None else known.earlier
        # The blending of the paper, of what was drawn and its neighbour.
        share = np.minimum(earlier.weights[0], 1)[..., None]
        start = (drawn + share * earlier.pictures[0]) / (1 + share)
        return self._minimum(frame, earlier, start, began)

    def _unknown(self, frame: Frame) -> Earlier:
        """Earlier frames of which nothing is known."""
        h, w, _ = frame.shape
        pictures = np.zeros((len(self._plan.lags), h, w, 3), np.float32)
        return Earlier(pictures, np.zeros(pictures.shape[:3], np.float32))

    def _known(self, frame: Frame, before: Sequence[Past]) -> "_Known | None":
        """What was drawn of earlier frames, brought to this one; None at the start of a shot."""
        pictures, _ = self._unknown(frame)
        strange = np.ones(pictures.shape[1:3], np.float32)
        reliable, stillness = np.zeros((2, *pictures.shape[:3]), np.float32)
        for n, lag in enumerate(lag for lag in self._plan.lags if lag <= len(before)):
            past = before[-lag]
            way = passage(past.frame, frame, method=self._plan.method)
            if lag == 1 and way.cut:
                return None
            if lag == 1:
                strange = strange_in(past.frame, frame, way.flow)
            pictures[n] = warp_sharp(past.drawn, way.flow)
            reliable[n], stillness[n] = way.reliable, stillness_of(way.flow)
            if self._regions is not None and past.regions is not None:
                size = frame.shape[0], frame.shape[1]
                there, here = past.regions.drawn(size), self._regions.drawn(size)
                agree = agreement(there, here, way.flow)
                reliable[n] *= agree
                strange = np.maximum(strange, 1 - agree) if lag == 1 else strange
        if not before:
            return None
        weights = closest_first(reliable) * (1 + _STILL * stillness)
        # Where flow fails its checks but leads to what looks alike, strokes stay as well.
        weights[0] = np.maximum(weights[0], 1 - strange)
        return _Known(Earlier(pictures, weights), strange)

    def _anew(self, frame: Frame) -> Frame:
        """Draw the first frame of a shot; the programs for later ones are compiled meanwhile."""
        if self._ahead is None:
            problems = self._problem(frame, self._unknown(frame), frame), self._small(frame)
            self._ahead = [compiling(lowered(problem)) for problem in problems]
        result = draw(self._of(self._first, frame))
        if result.status == "interrupted":
            raise KeyboardInterrupt
        return result.image

    def _refined(self, frame: Frame, known: "_Known", began: float) -> Frame:
        """Draw a frame from earlier ones."""
        earlier = known.earlier
        start, hole = start_of(earlier), hole_of(earlier, known.strange)
        if hole.mean() > _SEEN:
            began += self._waited()
            start += hole[..., None] * (self._alone(frame) - start)
        return self._minimum(frame, earlier, start, began)

    def _alone(self, frame: Frame) -> Frame:
        """Draw a frame by itself, in less time than the first one of a shot."""
        h, w, _ = frame.shape
        # Half of the time is for the frame itself.
        part = None if self._plan.seconds is None else self._plan.seconds / 4
        small = resizing.resize(minimum(self._small(frame), _COARSE, part), (h, w))
        problem = self._problem(frame, self._unknown(frame), small)
        return minimum(problem, self._plan.evaluations, part, begin=True)

    def _minimum(self, frame: Frame, earlier: Earlier, start: Frame, began: float) -> Frame:
        """Draw a frame from a start, within the time that is left since it began."""
        problem = self._problem(frame, earlier, start)
        began += self._waited()
        seconds = self._plan.seconds
        if seconds is not None:
            seconds -= time.perf_counter() - began
        return minimum(problem, self._plan.evaluations, seconds, begin=True)

    def _waited(self) -> float:
        """Wait for programs, and return for how long: it does not count as a frame's time."""
        began = time.perf_counter()
        while self._ahead:
            self._ahead.pop().result()
        return time.perf_counter() - began

    def _problem(self, frame: Frame, earlier: Earlier, start: Frame) -> Problem:
        h, w, _ = frame.shape
        request = self._of(self._later, frame, start=start, earlier=earlier)
        evaluations = self._plan.evaluations
        return request.problem_at(Scale(h, w, evaluations), evaluations)

    def _small(self, frame: Frame) -> Problem:
        h, w, _ = frame.shape
        request = self._of(self._coarse, frame)
        return request.problem_at(Scale((h + 1) // 2, (w + 1) // 2, _COARSE), _COARSE)

    def _of(self, request: Request, frame: Frame, **more: Any) -> Request:
        """The request with this frame as its content, and the frame's regions."""
        pictures = request.pictures._replace(content=Picture(frame), regions=self._regions, **more)
        return replace(request, pictures=pictures)


def _matched(request: Request) -> Request:
    """The request with styles in the colours of its content, if they are to be matched.

    Colours that are matched to each frame would change from frame to frame.
    """
    settings = request.settings
    if not settings.color.startswith("match-"):
        return request
    h, w, _ = request.pictures.content.rgb.shape
    scene = request.problem_at(Scale(h, w, 1), 1).scene
    styles = [np.asarray(style) for style in scene.styles]
    return replace(
        request,
        settings=replace(settings, color="none"),
        pictures=request.pictures._replace(styles=styles),
    )

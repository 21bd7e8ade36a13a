"""Draw the frames of a film with a model, coherent within each shot."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from nst_jax.models.model import Painter
from nst_jax.videos.coherent import carried, composed, denoised
from nst_jax.videos.passages import Passage

Picture = Float[np.ndarray, "h w 3"]
State = dict[str, Float[np.ndarray, "h w 3"]]


class Shots:
    """Draws frames, and keeps of the last one what the next is drawn from.

    A cut begins anew. A state is `seen`, what the model saw of a frame, and `result`, in float16;
    frames follow from these numbers, so that a run that goes on from them gives the same bits.

    Args:
        states: of the last frames that are done, the oldest first.
        carries: whether painters take the last result.
    """

    def __init__(self, states: Sequence[Mapping[str, np.ndarray]] = (), *, carries: bool):
        self._carries = carries
        self._done = [_wide(state["seen"]) for state in states]
        self._seen = self._done[-1] if states else None
        self._result = _wide(states[-1]["result"]) if states else None

    def drawn(
        self,
        paint: Painter,
        pictures: Float[np.ndarray, "b h w 3"],
        ways: Sequence[Passage | None],
        number: int,
        there: int = 0,
    ) -> Iterator[tuple[Picture, State]]:
        """Yield the result and the state of each frame.

        Args:
            paint: draws the frames, from `Model.painter`.
            pictures: the frames, in [0, 1], which the model draws together.
            ways: for each its passage from the frame before; None at the start of a film.
            number: of the first frame.
            there: how many of them are done already, and only drawn for the others' sake.
        """
        seen = self._done[max(0, len(self._done) - there) :]
        seen = [*pictures[: there - len(seen)], *seen]
        for picture, way in zip(pictures[there:], ways[there:], strict=True):
            self._seen = _rounded(
                denoised(picture, self._seen, way)
                if self._seen is not None and way is not None and not way.cut
                else picture
            )
            seen.append(self._seen)
        found = seen if self._carries else paint(np.stack(seen))
        for i in range(there, len(seen)):
            self._result = _rounded(self._next(paint, found[i], ways[i], number + i))
            state = {"seen": seen[i], "result": self._result}
            yield self._result, {name: value.astype(np.float16) for name, value in state.items()}

    def _next(self, paint: Painter, found: Picture, way: Passage | None, number: int) -> Picture:
        if self._result is None or way is None or way.cut:
            return paint(found[None])[0] if self._carries else found
        if self._carries:
            return paint(found[None], carried(self._result, way)[None])[0]
        return composed(found, self._result, way, number)


def _rounded(picture: Picture) -> Picture:
    return _wide(picture.astype(np.float16))


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)

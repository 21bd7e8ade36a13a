"""Schedules as text: how a weight or the learning rate gets where it is at the end. No JAX."""

from dataclasses import dataclass
from typing import get_args

from nst_jax.choices import Course
from nst_jax.errors import InputError

CONSTANT = "constant"
_FORM = (
    f"'{CONSTANT}' or KIND:START:END[:PART], such as 'linear:0.1:1:0.5': KIND is one of "
    f"{', '.join(get_args(Course))}, START and END are multiples of the option, PART is the share "
    "of the evaluations in which END is reached"
)


@dataclass(frozen=True)
class Schedule:
    """From `start` times to `end` times an option, over the first `part` of the evaluations."""

    course: Course
    start: float
    end: float
    part: float = 1.0


def parse_schedule(text: str, what: str) -> Schedule | None:
    """The schedule that a text says, `KIND:START:END[:PART]`; None for `constant`.

    Raises:
        InputError: another form, a number out of its range, or an exponential course from or to 0.
    """
    if text == CONSTANT:
        return None
    course, *numbers = text.split(":")
    try:
        start, end, part = (*map(float, numbers), *([1.0] * (3 - len(numbers))))
    except ValueError:
        start, end, part = -1.0, -1.0, -1.0
    kinds: dict[str, Course] = {kind: kind for kind in get_args(Course)}
    if (
        len(numbers) not in (2, 3)
        or course not in kinds
        or not (0 <= start <= 1e6 and 0 <= end <= 1e6 and 0 < part <= 1)
    ):
        raise InputError(
            f"{what} is '{text}', but must be {_FORM}; multiples from 0 to 1e6, PART above 0 and "
            "at most 1."
        )
    if course == "exponential" and not (start and end):
        raise InputError(
            f"{what} is '{text}', but an exponential course neither starts nor ends at zero: take "
            "a small multiple, such as 0.01, or a linear course."
        )
    return Schedule(kinds[course], start, end, part)

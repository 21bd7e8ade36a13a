"""The choices that options have, and parsers that turn option values into one form.

This module does not import JAX.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from nst_jax.errors import InputError

Pooling = Literal["max", "average", "average-rescaled"]
Padding = Literal["zero", "reflect", "replicate"]
Precision = Literal["float32", "tf32", "bfloat16"]
Normalization = Literal["gatys", "paper", "neural-style"]
Method = Literal["lbfgs", "lbfgs-zoom", "adam", "rmsprop", "sgd"]
Course = Literal["linear", "cosine", "exponential"]
Init = Literal["content", "noise", "blend", "style", "anystyle"]
ColorMatch = Literal["symmetric", "pca", "cholesky", "histogram", "sliced"]
ColorSpace = Literal["rgb", "oklab"]
Color = Literal[
    "none",
    "luminance",
    "luminance-after",
    "palette-after",
    "match-symmetric",
    "match-pca",
    "match-cholesky",
    "match-histogram",
    "match-sliced",
]

# Type and range of a weight. The upper end is far below the largest float32.
WEIGHT = (Real, 0, 1e30)
_NUMBERS: dict[str, tuple[type, float, float]] = {
    "style_scale": (Real, 0.01, 100),
    "style_blend": WEIGHT,
}


def is_number(value: Any, kind: type, low: int | float, high: int | float) -> bool:
    """Whether `value` is a number of type `kind` from `low` to `high`.

    Numbers of numpy count too. Booleans do not, and NaN is in no range.
    """
    return isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high


def in_range(
    value: Any,
    what: str,
    kind: type,
    low: int | float,
    high: int | float,
    *,
    optional: bool = False,
) -> int | float | None:
    """Check that a value is a number in a range, and return it as a plain int or float.

    Args:
        value: what was given.
        what: name of the option, for the error message.
        kind: `Integral` or `Real`.
        low: smallest value allowed.
        high: largest value allowed.
        optional: whether None is allowed; it is returned as it is.

    Raises:
        InputError: the value has another type or is out of the range.
    """
    if value is None and optional:
        return None
    if not is_number(value, kind, low, high):
        whole, none = "whole " * (kind is Integral), ", or None" * optional
        raise InputError(
            f"{what} is {value!r}, but must be a {whole}number from {low} to {high}{none}."
        )
    plain: Any = int if kind is Integral else float
    return plain(value)


def parse_layers(layers: Any, what: str) -> dict[str, float]:
    """Parse layers into a dict from name to weight.

    Args:
        layers: a text `NAME[:WEIGHT],...`, a sequence of such parts, or a mapping from name to
            weight. A weight that is not given is 1.
        what: name of the option, for the error message.

    Raises:
        InputError: `layers` has another form, or a weight is not a number from 0 to 1e30.
    """
    if isinstance(layers, str):
        layers = [part for part in layers.replace(" ", "").split(",") if part]
    if not isinstance(layers, Mapping):
        if not isinstance(layers, Iterable):
            raise InputError(f"{what} is {layers!r}, but must be names or a mapping to weights.")
        layers = dict(_name_and_weight(item, what) for item in layers)
    for name, weight in layers.items():
        if not is_number(weight, *WEIGHT):
            _, low, high = WEIGHT
            raise InputError(
                f"{what}: the weight of {name} is {weight!r}, but must be a number from {low} to "
                f"{high}."
            )
    return {str(name): float(weight) for name, weight in layers.items()}


def weighted(layers: Mapping[str, float]) -> tuple[str, ...]:
    """The names of the layers whose weight is not zero."""
    return tuple(layer for layer, weight in layers.items() if weight)


def parse_numbers(numbers: Any, what: str) -> tuple[float, ...] | None:
    """Parse one or several numbers into a tuple; None is returned as it is.

    Args:
        numbers: a number, a text `NUMBER,...`, or a sequence of numbers.
        what: name of the option, which sets the range: `"style_scale"` or `"style_blend"`.

    Raises:
        InputError: there is no number, or one is out of the range.
    """
    if numbers is None:
        return None
    if isinstance(numbers, str):
        numbers = [_number_or_text(part) for part in numbers.split(",")]
    elif not isinstance(numbers, Iterable):
        numbers = [numbers]
    numbers = list(numbers)
    kind, low, high = _NUMBERS[what]
    for number in numbers or [None]:
        if not is_number(number, kind, low, high):
            raise InputError(
                f"{what} is {number!r}, but must be numbers from {low} to {high}, or None."
            )
    return tuple(float(number) for number in numbers)


def parse_choices(choices: Any) -> dict[str, int] | None:
    """Parse region styles into a dict from label to whole number; None is returned as it is.

    Args:
        choices: a text `LABEL:NUMBER,...`, or a mapping from label to number.

    Raises:
        InputError: `choices` is empty or has another form.
    """
    if choices is None:
        return None
    if isinstance(choices, str):
        parts = [part.rpartition(":") for part in choices.split(",")]
        choices = {label: number for label, _, number in parts}
    if not isinstance(choices, Mapping) or not choices:
        raise InputError(f"region_styles is {choices!r}, but must be a mapping to whole numbers.")
    for label, number in choices.items():
        text = number.strip() if isinstance(number, str) else str(number)
        if not str(label).strip() or not text.isdecimal():
            raise InputError(
                f"region_styles: '{label}:{number}' is not LABEL:NUMBER, with the number of a "
                "style from 1, or 0."
            )
    return {str(label).strip(): int(number) for label, number in choices.items()}


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _name_and_weight(item: Any, what: str) -> tuple[str, float]:
    name, colon, weight = str(item).partition(":")
    try:
        return name, float(weight) if colon else 1.0
    except ValueError:
        raise InputError(f"{what}: '{item}' is not NAME or NAME:WEIGHT.") from None


def unknown(what: str, given: Any, known: Any) -> str:
    """An error message for an unknown name, with the most similar known name as a hint."""
    known = list(known)
    near = difflib.get_close_matches(str(given), known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"There is no {what} '{given}'.{hint} There is {', '.join(known)}."


CONSTANT = "constant"
_FORM = (
    f"'{CONSTANT}' or KIND:START:END[:PART], such as 'linear:0.1:1:0.5': KIND is one of "
    f"{', '.join(get_args(Course))}, START and END are multiples of the option, PART is the share "
    "of the evaluations in which END is reached"
)


@dataclass(frozen=True)
class Schedule:
    """How an option changes during a run.

    Attributes:
        course: shape of the change.
        start: factor on the option at the first evaluation.
        end: factor on the option once `part` of the evaluations are done.
        part: share of the evaluations over which the change takes place, in (0, 1].
    """

    course: Course
    start: float
    end: float
    part: float = 1.0


def parse_schedule(text: str, what: str) -> Schedule | None:
    """Parse a schedule `KIND:START:END[:PART]`; `constant` gives None.

    Args:
        text: the schedule.
        what: name of the option, for the error message.

    Raises:
        InputError: the text has another form, a number is out of its range, or an exponential
            course starts or ends at 0.
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

"""Options as they are written: choices by name, and values brought into one form. No JAX."""

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
Method = Literal["lbfgs", "lbfgs-zoom", "adam", "sgd"]
Course = Literal["linear", "cosine", "exponential"]
Init = Literal["content", "noise", "blend", "style"]
ColorMatch = Literal["symmetric", "pca", "cholesky", "histogram", "sliced"]
ColorSpace = Literal["rgb", "oklab"]
Color = Literal[
    "none",
    "luminance",
    "luminance-after",
    "match-symmetric",
    "match-pca",
    "match-cholesky",
    "match-histogram",
    "match-sliced",
]

# Kind and range of a weight; the upper end is far within float32.
WEIGHT = (Real, 0, 1e30)
_NUMBERS: dict[str, tuple[type, float, float]] = {
    "style_scale": (Real, 0.01, 100),
    "style_blend": WEIGHT,
}


def is_number(value: Any, kind: type, low: int | float, high: int | float) -> bool:
    """Whether a number of that kind (numpy's too, no bool), and in the range: NaN is in none."""
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
    """A number as a plain int or float; where it is optional, None stays.

    Raises:
        InputError: another kind, or out of the range.
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
    """Layer names, `NAME[:WEIGHT],...`, or a mapping, as a dict from name to weight.

    Raises:
        InputError: no names, or a weight that is not a number, negative or not finite.
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
    """The layers that weigh something."""
    return tuple(layer for layer, weight in layers.items() if weight)


def parse_numbers(numbers: Any, what: str) -> tuple[float, ...] | None:
    """A number, `NUMBER,...`, or a sequence of numbers, as a tuple; None stays.

    Raises:
        InputError: no number, or one out of its range.
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
    """`LABEL:NUMBER,...`, or a mapping, as a dict from label to whole number; None stays.

    Raises:
        InputError: nothing at all, or what is not of that form.
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
    """A sentence for a name that is none of the known ones, with the nearest of them."""
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

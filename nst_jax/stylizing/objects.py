"""Terms, statistics and optimisers that are given as objects, not by name. No JAX is imported."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nst_jax.errors import InputError
from nst_jax.losses.registry import TERMS
from nst_jax.options import WEIGHT, is_number, unknown


@dataclass(frozen=True)
class Lost:
    """Stands for an object of which a file holds only the name; nothing can be drawn with it."""

    name: str


def parse_terms(terms: Any) -> tuple[dict[str, float], dict[Any, float]]:
    """Read terms and their weights.

    Args:
        terms: a text `NAME[:WEIGHT],...`, an object, a list of such names and objects, or a mapping
            from them to weights. Without a weight, a term has weight 1. None is no terms.

    Returns:
        The weights of the registry's terms by name, and the weights of the terms that are objects.

    Raises:
        InputError: a name is unknown, two terms have the same name, a weight is out of its range,
            or an object lacks an attribute.
    """
    if terms is None:
        return {}, {}
    if isinstance(terms, str):
        terms = [part for part in terms.replace(" ", "").split(",") if part]
    if not isinstance(terms, Mapping):
        several = list(terms) if isinstance(terms, Iterable) else [terms]
        for term in several:
            if not isinstance(term, str):
                require_term(term)
        terms = dict(_weighed(term) for term in several)
    named, objects = {}, {}
    for term, weight in terms.items():
        if not is_number(weight, *WEIGHT):
            _, low, high = WEIGHT
            raise InputError(
                f"terms: the weight of {_called(term)} is {weight!r}, but must be a number from "
                f"{low} to {high}."
            )
        if isinstance(term, str):
            if term not in TERMS:
                raise InputError(
                    f"{unknown('term', term, TERMS)[:-1]}; a term of your own is given as an "
                    "object."
                )
            named[term] = float(weight)
        else:
            require_term(term)
            objects[term] = float(weight)
    names = [*TERMS, *(term.name for term in objects)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Two terms are called '{name}': give one of them another name.")
    return named, objects


def _weighed(term: Any) -> tuple[Any, float]:
    if not isinstance(term, str):
        return term, 1.0
    name, colon, weight = term.partition(":")
    try:
        return name, float(weight) if colon else 1.0
    except ValueError:
        raise InputError(f"terms: '{term}' is not NAME or NAME:WEIGHT.") from None


def require_term(given: Any) -> None:
    """Raise `InputError` if the object is not a term."""
    _require(
        "term",
        given,
        ("name", "layers", "target", "measure", "loss", "__hash__"),
        "class Grey(nst.Term): name = 'grey'; loss = lambda self, seen, target: "
        "seen.picture.var(-1).mean()",
    )


def require_statistic(given: Any) -> None:
    """Raise `InputError` if the object is not a statistic."""
    _require(
        "statistic",
        given,
        ("name", "additive", "projects", "mixes", "copies", "of", "loss", "__hash__"),
        "class Peaks(nst.Statistic): name = 'peaks'; of = lambda self, features, weights, "
        "directions: features.max((0, 1)); loss = lambda self, found, target, normalization, "
        "width: ((found - target) ** 2).sum() / width",
    )


def require_optimizer(given: Any) -> None:
    """Raise `InputError` if the object is not an optax transformation."""
    _require("optimizer", given, ("init", "update"), "optax.adam(0.02)")


def _require(what: str, given: Any, parts: Iterable[str], smallest: str) -> None:
    if isinstance(given, Lost):
        return
    if isinstance(given, type):
        raise InputError(f"The {what} {given.__name__} is a class: give an instance of it.")
    missing = [part for part in parts if getattr(given, part, None) is None]
    if missing:
        raise InputError(
            f"The {what} of type {type(given).__name__} lacks {', '.join(missing)}; the smallest "
            f"one that works is: {smallest}."
        )


def require_found(objects: Iterable[Any]) -> None:
    """Raise `InputError` if one of the objects is `Lost`."""
    for one in objects:
        if isinstance(one, Lost):
            raise InputError(
                f"'{one.name}' was an object of which the file keeps the name alone: give it again."
            )


def _called(term: Any) -> str:
    return term if isinstance(term, str) else getattr(term, "name", type(term).__name__)

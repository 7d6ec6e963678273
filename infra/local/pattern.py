"""EventBridge event patterns: which events does a rule select.

Rules, from the EventBridge user guide ("Creating Amazon EventBridge event patterns" and "Comparison
operators"):

1. A pattern is an object. Each of its keys must match; what the pattern does not name may be anything.
2. A nested object descends into the event. Where the event has an array of objects, one of them must match.
3. A leaf is an array of alternatives, one of which must match. Where the event's value is itself an array,
   one element must match.
4. A literal matches by type and value: ``"1"`` is not ``1``, ``true`` is not ``1``, ``null`` matches only
   null.
5. An object in an array is an operator: prefix, suffix, equals-ignore-case, anything-but, exists, numeric. An
   operator that is not known here is an error and not a rule that never matches.
6. ``exists`` is about leaves: ``false`` matches when the key is absent, also when its parent is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

_SHAPE: Final = "an event pattern is an object of objects and arrays"


class PatternError(ValueError):
    """The pattern is not one that EventBridge would accept, or uses an operator that is not known here."""


def matches(pattern: Mapping[str, object], event: Mapping[str, object]) -> bool:
    """Say whether the rule with this pattern selects the event."""
    return all(_matches_key(condition, key, event) for key, condition in pattern.items())


def check(pattern: Mapping[str, object]) -> None:
    """Raise PatternError if any part of the pattern is wrong, also a part that an event might never reach."""
    for key, condition in pattern.items():
        if isinstance(condition, Mapping):
            check(condition)
            continue
        if not isinstance(condition, list) or not condition:
            raise PatternError(f"{_SHAPE}, but {key!r} holds {condition!r}: write a non-empty array")
        for alternative in condition:
            if isinstance(alternative, Mapping) and "exists" not in alternative:
                _operator(alternative)


def _matches_key(condition: object, key: str, event: Mapping[str, object]) -> bool:
    present = key in event
    value = event.get(key)
    if isinstance(condition, Mapping):
        if isinstance(value, list):
            return any(isinstance(item, Mapping) and matches(condition, item) for item in value)
        return matches(condition, value if isinstance(value, Mapping) else {})
    if not isinstance(condition, list) or not condition:
        raise PatternError(f"{_SHAPE}, but {key!r} holds {condition!r}: write a non-empty array")
    values: list[object] = list(value) if isinstance(value, list) else [value]
    return any(_matches_alternative(alternative, present, values) for alternative in condition)


def _matches_alternative(alternative: object, present: bool, values: list[object]) -> bool:
    if isinstance(alternative, Mapping):
        if "exists" in alternative:
            return alternative["exists"] is present
        operator = _operator(alternative)
        return present and any(operator(value) for value in values)
    return present and any(_same(alternative, value) for value in values)


def _operator(expression: Mapping[str, object]) -> Callable[[object], bool]:
    if len(expression) != 1:
        raise PatternError(f"an operator has exactly one key: {dict(expression)!r}")
    [(name, operand)] = expression.items()
    if name == "anything-but":
        return _anything_but(operand)
    if name == "numeric":
        return _numeric(operand)
    if not isinstance(operand, str):
        raise PatternError(f"the operator {name!r} takes a string, not {operand!r}")
    if name == "prefix":
        return lambda value: isinstance(value, str) and value.startswith(operand)
    if name == "suffix":
        return lambda value: isinstance(value, str) and value.endswith(operand)
    if name == "equals-ignore-case":
        return lambda value: isinstance(value, str) and value.lower() == operand.lower()
    raise PatternError(f"the operator {name!r} is not known")


def _anything_but(operand: object) -> Callable[[object], bool]:
    if isinstance(operand, Mapping):
        refused = _operator(operand)
        return lambda value: not refused(value)
    refusals = operand if isinstance(operand, list) else [operand]
    return lambda value: not any(_same(refusal, value) for refusal in refusals)


_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": lambda value, limit: value == limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
}


def _numeric(operand: object) -> Callable[[object], bool]:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise PatternError(f"numeric takes one or two comparisons, not {operand!r}")
    limits: list[tuple[Callable[[float, float], bool], float]] = []
    for sign, limit in zip(operand[::2], operand[1::2], strict=True):
        if sign not in _COMPARISONS or not _is_number(limit):
            raise PatternError(f"numeric compares with one of {sorted(_COMPARISONS)} and a number, not {operand!r}")
        limits.append((_COMPARISONS[sign], float(limit)))

    def within(value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return all(compare(value, limit) for compare, limit in limits)

    return within


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(expected: object, value: object) -> bool:
    if isinstance(expected, bool) or isinstance(value, bool):
        return expected is value
    return type(expected) is type(value) and expected == value

"""Whether an input fits the ECS API: names and types of its fields at any depth, by the model that botocore ships.

What AWS's own tools refuse before they ask ECS is refused here, with the path of the field and the name that was
probably meant.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

_UNKNOWN: Final = re.compile(r'Unknown parameter in (.*): "(.*)", must be one of: (.*)')
_MISSING: Final = re.compile(r'Missing required parameter in (.*): "(.*)"')
_TYPE: Final = re.compile(
    r"Invalid type for parameter (.*?), value: (.*), type: <class '(\w+)'>, valid types: (.*)", re.DOTALL
)
_CLASS: Final = re.compile(r"<class '(?:\w+\.)*(\w+)'>")
_TYPES: Final = {
    "int": "a whole number",
    "str": "a string",
    "bool": "true or false",
    "list": "a list",
    "dict": "an object",
}
MOST_SHOWN: Final = 200  # characters of a value
_PYTHON_ONLY: Final = ("tuple", "bytes", "bytearray")


def mistakes(operation: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the input of an operation of ECS, nothing if it fits."""
    return [_said(line) for line in _report(operation, parameters)]


def misfits(operation: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with known fields. ECS may know more of them than this model does."""
    return [_said(line) for line in _report(operation, parameters) if not _UNKNOWN.fullmatch(line)]


def unknown(operation: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return the fields that this model does not know."""
    return [_said(line) for line in _report(operation, parameters) if _UNKNOWN.fullmatch(line)]


def meant(name: str, known: Iterable[str]) -> str:
    """Return the question for the name that was probably meant, the known ones if none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if not near:
        near = [each for each in names if each.lower() == name.lower()]
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names) or 'none'}"


def _report(operation: str, parameters: Mapping[str, Any]) -> list[str]:
    report = ParamValidator().validate(dict(parameters), _input(operation))
    return [line for line in report.generate_report().splitlines() if line]


@functools.cache
def _input(operation: str) -> Shape:
    model = ServiceModel(Loader().load_service_model("ecs", "service-2"))
    return model.operation_model(operation).input_shape or model.shape_for(f"{operation}Request")


def _said(line: str) -> str:
    if match := _UNKNOWN.fullmatch(line):
        return f"{_path(match[1], match[2])} is not known: {meant(match[2], match[3].split(', '))}"
    if match := _MISSING.fullmatch(line):
        return f"{_path(match[1], match[2])} is missing"
    if match := _TYPE.fullmatch(line):
        wanted = " or ".join(
            dict.fromkeys(_TYPES.get(name, name) for name in _CLASS.findall(match[4]) if name not in _PYTHON_ONLY)
        )
        hint = "; JSON in a label is written as a string" if ".dockerLabels." in f".{match[1]}" else ""
        shown = match[2] if len(match[2]) <= MOST_SHOWN else f"{match[2][:MOST_SHOWN]}…"
        return f"{match[1]} must be {wanted}, not {_quoted(shown, match[3])}{hint}"
    return line


def _quoted(value: str, kind: str) -> str:
    """Return a value as JSON has it where that is short: "256" and 256 are not the same."""
    return f'"{value}"' if kind == "str" else {"None": "null", "True": "true", "False": "false"}.get(value, value)


def _path(parent: str, name: str) -> str:
    return name if parent in ("input", "") else f"{parent}.{name}"

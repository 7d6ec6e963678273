"""Keys that do nothing, many meant to be others: labels `tramo.…`, and fields of the label's JSON. Pure.

Rules:
1. An unknown key is a warning and never an error: ECS may give its serviceConnectConfiguration a new field.
2. A key that is like a known one names it. What is wrong with a known key is said elsewhere (`label.py`).
3. A field of ECS's that the mesh has no use for is a warning too, if something else does here what it does there.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from registry.domain.bounds import LABEL_BYTES, QUOTED_CHARACTERS, shortened
from registry.domain.containers import labels

MOST_WARNINGS: Final = 16  # of one task definition

_LABELS: Final = ("tramo.service-connect", "tramo.sidecar", "tramo.gate")
_CONFIGURATION: Final = (
    *("enabled", "namespace", "services", "logConfiguration", "accessLogConfiguration"),
    *("standalone", "mesh"),  # ours
)
_UNUSED: Final = {"accessLogConfiguration": "set TRAMO_ACCESS_LOG of the sidecar's container to json or text"}
"""Fields of ECS's that do nothing here, and what to do instead."""
_SERVICE: Final = ("portName", "discoveryName", "clientAliases", "ingressPortOverride", "timeout", "tls")
_ALIAS: Final = ("port", "dnsName", "testTrafficRules")
_TIMEOUT: Final = ("idleTimeoutSeconds", "perRequestTimeoutSeconds")


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """A key that does nothing: the container it stands on, its place, and the key that it is like (else empty).

    `instead` says what to do in place of a field that ECS knows; it is empty for a key that nobody knows.
    """

    container: str
    path: str
    meant: str
    instead: str = ""

    def __str__(self) -> str:
        remedy = f"did you mean {self.meant}?" if self.meant else "remove it, if it was not meant for other programs"
        return f"container {self.container}, {self.path}: {self.mistake}; {self.instead or remedy}"

    @property
    def mistake(self) -> str:
        """What is wrong with it."""
        return "the mesh does not read this field" if self.instead else "this key is not known and does nothing"


def unknown_keys(task_definition: Mapping[str, Any]) -> list[UnknownKey]:
    """Return the unknown keys of DescribeTaskDefinition's `taskDefinition`, at most MOST_WARNINGS."""
    return list(islice(_all(task_definition), MOST_WARNINGS))


def _all(task_definition: Mapping[str, Any]) -> Iterator[UnknownKey]:
    for container in task_definition.get("containerDefinitions") or ():
        name = str(container.get("name"))
        found = labels(container)
        for label in found:
            if label.startswith("tramo.") and label not in _LABELS:
                yield UnknownKey(name, f"label {_shown(label)}", _like(label, _LABELS))
        configuration = _read(found.get("tramo.service-connect"))
        for path, key, known in _of_configuration(configuration):
            yield UnknownKey(name, f"label tramo.service-connect at {path}.{_shown(key)}", _like(key, known))
        for key, instead in _UNUSED.items():
            if isinstance(configuration, dict) and configuration.get(key) is not None:
                yield UnknownKey(name, f"label tramo.service-connect at $.{key}", "", instead)


def _read(text: Any) -> Any:
    """Return the label's JSON; None if it is none, which is an error of the label."""
    if not isinstance(text, str) or len(text) > LABEL_BYTES:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _of_configuration(configuration: Any) -> Iterator[tuple[str, str, Collection[str]]]:
    yield from _of(configuration, "$", _CONFIGURATION)
    for index, service in enumerate(_list(configuration, "services")):
        path = f"$.services[{index}]"
        yield from _of(service, path, _SERVICE)
        if isinstance(service, dict):
            yield from _of(service.get("timeout"), f"{path}.timeout", _TIMEOUT)
        for number, alias in enumerate(_list(service, "clientAliases")):
            yield from _of(alias, f"{path}.clientAliases[{number}]", _ALIAS)


def _of(value: Any, path: str, known: Collection[str]) -> Iterator[tuple[str, str, Collection[str]]]:
    if isinstance(value, dict):
        yield from ((path, key, known) for key in value if key not in known)


def _list(value: Any, field: str) -> list[Any]:
    found = value.get(field) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _like(key: str, known: Collection[str]) -> str:
    return next(iter(difflib.get_close_matches(key[:QUOTED_CHARACTERS], known, 1)), "")


def _shown(key: str) -> str:
    return shortened(key, QUOTED_CHARACTERS)

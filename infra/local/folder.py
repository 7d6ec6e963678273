"""The folder that `tramo up` brings up: `services.json`, and a task definition in every other `*.json`.

    {"cluster": "shop", "services": [{"serviceName": "web", "taskDefinition": "web", "desiredCount": 2}]}

A task definition is an input of RegisterTaskDefinition, a service one of CreateService. All of it is read and checked
before anything starts, and every mistake is reported with the file it is in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.local import api_model, definition, ecs_rules
from infra.local.settings import LocalError

SERVICES_FILE: Final = "services.json"
_KEYS: Final = ("cluster", "services")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder asks for."""

    cluster: str
    definitions: Sequence[Json]
    services: Sequence[Json]


def read(directory: Path, region: str) -> Folder:
    """Return what the folder asks for. Raises LocalError with every mistake in it."""
    mistakes: list[str] = []
    definitions: dict[str, Json] = {}
    for path in sorted(directory.glob("*.json")):
        if path.name == SERVICES_FILE:
            continue
        try:
            document = _read(path)
            if "family" not in document and "containerDefinitions" not in document:
                raise LocalError(f"{path}: not a task definition, and nothing else belongs into this folder as *.json")
            family = definition.parse(document, revision=1, region=region).family
        except definition.DefinitionError as error:
            mistakes.append(f"{path}: {error}")
            definitions.setdefault(str(document.get("family")), document)
        except LocalError as error:
            mistakes.append(str(error))
        else:
            if family in definitions:
                mistakes.append(f"{path}: family {family!r} is that of another file")
            definitions[family] = document
    cluster, services = "default", list[Json]()
    try:
        plan = _read(directory / SERVICES_FILE)
    except LocalError as error:
        mistakes.append(str(error))
    else:
        mistakes += [f"{directory / SERVICES_FILE}: {mistake}" for mistake in _plan(plan, definitions)]
        cluster, services = str(plan.get("cluster", cluster)), plan.get("services", services)
    if mistakes:
        raise LocalError("\n  ".join(mistakes if len(mistakes) == 1 else [f"{len(mistakes)} mistakes:", *mistakes]))
    return Folder(cluster, tuple(definitions.values()), services)


def _read(path: Path) -> Json:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise LocalError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise LocalError(f"{path}: not a JSON object")
    return document


def _plan(plan: Json, definitions: Mapping[str, Json]) -> list[str]:
    """Return the mistakes of services.json."""
    found = [f"{key!r} is not known: {api_model.meant(key, _KEYS)}" for key in plan if key not in _KEYS]
    services = plan.get("services")
    if not isinstance(services, list):
        return [*found, "'services' must be a list of CreateService inputs"]
    names: set[object] = set()
    for place, service in enumerate(services):
        where = f"services[{place}]"
        if not isinstance(service, dict):
            found.append(f"{where} must be an object")
            continue
        mistakes = api_model.mistakes("CreateService", service) or ecs_rules.service(service)
        found += [f"{where}.{mistake}" for mistake in mistakes]
        name, wanted = service.get("serviceName"), service.get("taskDefinition")
        if name in names:
            found.append(f"{where}.serviceName {name!r} is that of another service")
        names.add(name)
        if isinstance(wanted, str) and wanted.partition(":")[0] not in definitions:
            found.append(
                f"{where}.taskDefinition {wanted!r} is not in this folder: {api_model.meant(wanted, definitions)}"
            )
    return found

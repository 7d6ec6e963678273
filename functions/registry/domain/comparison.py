"""What the published snapshot says against what the registry says. Pure.

A snapshot is built from changes, so a change that was lost on its way (a stream record given up, a mistake in
the publisher) would stay lost. Here the two are compared as a whole.

Rule: a task that changed less than `PUBLISHING_SECONDS` ago is left out on both sides, since its publication
may still be under way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from registry.domain.rules import TaskRecord
from registry.domain.service import ServiceRecord
from registry.domain.snapshot import Document, Part, endpoints_of, same_content, service_document

PUBLISHING_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Difference:
    """Tasks (ids) whose endpoints, and services (names) whose content is published otherwise than it should be.

    `services` has the services of these tasks, too: those in which they are published and should not be.
    """

    tasks: frozenset[str]
    services: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.tasks or self.services)


def compare(
    tasks: Iterable[TaskRecord], services: Mapping[str, ServiceRecord], parts: Iterable[Part], now: float
) -> Difference:
    """Return what must be published again."""
    wanted, unsettled = _wanted(tasks, services, now)
    published = {name: document for part in parts for name, document in part.services.items()}
    wrong_tasks: set[str] = set()
    wrong_services: set[str] = set()
    for name in wanted.keys() | services.keys() | published.keys():
        document = published.get(name)
        service = services.get(name)
        found = {} if document is None else {each["id"]: each for each in document["endpoints"]}
        for endpoint in found.keys() | wanted[name].keys():
            task = endpoint.partition("/")[0]
            if task not in unsettled and found.get(endpoint) != wanted[name].get(endpoint):
                wrong_tasks.add(task)
                wrong_services.add(name)
        settled = [each for each in found.values() if each["id"].partition("/")[0] in unsettled]
        endpoints = [*settled, *wanted[name].values()]
        expected = None if service is None else service_document(service, endpoints, 0, document)
        if not same_content(expected, document):
            wrong_services.add(name)
    return Difference(frozenset(wrong_tasks), frozenset(wrong_services))


def _wanted(
    tasks: Iterable[TaskRecord], services: Mapping[str, ServiceRecord], now: float
) -> tuple[defaultdict[str, dict[str, Document]], frozenset[str]]:
    """Return the endpoints that settled tasks should have, by service and id, and the tasks not settled."""
    wanted: defaultdict[str, dict[str, Document]] = defaultdict(dict)
    unsettled: set[str] = set()
    for task in tasks:
        if now - max(task.changed_at, task.health_at or 0.0) < PUBLISHING_SECONDS:
            unsettled.add(task.task_id)
            continue
        for name, endpoint in endpoints_of(task).items():
            if name in services and services[name].refusal(task) is None:
                wanted[name][endpoint["id"]] = endpoint
    return wanted, frozenset(unsettled)

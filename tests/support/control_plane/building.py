"""Records of the registry for tests, made from the events and definitions of tests/support/control_plane/ecs.py."""

from __future__ import annotations

import dataclasses
from typing import Any

from registry.domain.definition import parse
from registry.domain.events import parse_event
from registry.domain.offer import Definition, Offer
from registry.domain.rules import Endpoint, TaskRecord, record_of
from registry.domain.service import Declaration, ServiceRecord, declaration_of
from registry.dynamodb.store import Store
from tests.support.control_plane.ecs import NAMESPACE, event, task_definition


def definition(**arguments: Any) -> Definition:
    """Return what a task definition of tests/support/control_plane/ecs.py offers."""
    found = parse(task_definition(**arguments))
    assert found is not None
    return found


def offer(service: str = "orders", **arguments: Any) -> Offer:
    """Return the offer of a service on port 8080 of the application."""
    services = [{"portName": "http", "discoveryName": service, "clientAliases": [{"port": 80}]}]
    return definition(services=services, **arguments).offers[0]


def declaration(
    service: str = "orders",
    *,
    name: str = "orders:7",
    at: float = 1.0,
    ecs_service: str | None = None,
    **arguments: Any,
) -> Declaration:
    """Return what a task definition declares of a service, as a task created at `at` brought it."""
    return declaration_of(offer(service, **arguments), name, at, ecs_service)


def service(name: str = "orders", *declarations: Declaration, **changes: Any) -> ServiceRecord:
    """Return a service that holds what its declarations want; without any it is declared by orders:7."""
    declarations = declarations or (declaration(name),)
    wanted = {alias for each in declarations for alias in each.aliases}
    return ServiceRecord(
        **{"name": name, "vip": "127.254.0.2", "declarations": declarations, "holders": dict.fromkeys(wanted, name)}
        | changes
    )


def declare(store: Store, service: str = "orders", namespace: str = NAMESPACE, **arguments: Any) -> None:
    """Declare a service as `declaration` has it."""
    store.services.declare(namespace, service, declaration(service, **arguments), 1_795_345_200.0, record())


def record(name: str = "fargate_running", **changes: Any) -> TaskRecord:
    """Return the record of an event of tests/events, with changes."""
    return dataclasses.replace(record_of(parse_event(event(name)), definition(), None), **changes)


def task(task_id: str, service: str = "orders", **changes: Any) -> TaskRecord:
    """Return the record of a running task with one endpoint."""
    endpoint = Endpoint(service, "http", "http", 15100, 8080)
    arn = f"arn:aws:ecs:us-east-1:123456789012:task/example/{task_id}"
    return record(**({"task_arn": arn, "endpoints": (endpoint,)} | changes))

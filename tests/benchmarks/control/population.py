"""A namespace of 3,000 services and 20,000 endpoints: ten times what Service Connect allows in services."""

from __future__ import annotations

import dataclasses
import random
import zlib
from collections.abc import Iterator

from registry.domain.rules import Endpoint, TaskRecord
from registry.dynamodb.keys import alias_key, namespace_key, service_key, task_key
from registry.dynamodb.models import AliasMap, DeclarationMap, EndpointMap
from registry.dynamodb.store import Store
from tests.support.control_plane.building import task

NAMESPACE = "bench.local"
SERVICES = 3_000
ENDPOINTS = 20_000
CLUSTERS = 50
_WORDS = ("orders", "stock", "payments", "users", "search", "mail", "cart", "ledger")


def names(services: int = SERVICES) -> list[str]:
    """Return the names of the services."""
    return [f"{_WORDS[number % 8]}-{_WORDS[number // 8 % 8]}-{number}" for number in range(services)]


def tasks(
    services: int = SERVICES, endpoints: int = ENDPOINTS, seed: int = 1, namespace: str = NAMESPACE
) -> Iterator[TaskRecord]:
    """Yield running tasks with one endpoint each, of ids and addresses as ECS gives them."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    base = task("aa", namespace=namespace)
    known = names(services)
    for number in range(endpoints):
        name = known[number % services]
        identity = f"{chance.getrandbits(128):032x}"
        yield dataclasses.replace(
            base,
            task_arn=f"arn:aws:ecs:us-east-1:123456789012:task/production/{identity}",
            cluster_arn=f"arn:aws:ecs:us-east-1:123456789012:cluster/production-{number % CLUSTERS:02d}",
            address=f"10.{chance.randrange(16)}.{chance.randrange(256)}.{chance.randrange(256)}",
            task_definition=f"{name}:{number % services % 90}",
            started_by=f"ecs-svc/{zlib.crc32(name.encode()) * 4_000_000_007:019d}",
            started_at=1_795_000_000 + chance.random() * 300_000,
            zone=f"us-east-1{'abc'[number % 3]}",
            endpoints=(Endpoint(name, "http", "http", 15100, 8080),),
        )


def fill(
    store: Store, services: int = SERVICES, endpoints: int = ENDPOINTS, namespace: str = NAMESPACE
) -> list[TaskRecord]:
    """Write a namespace in batches, which the functions themselves never do, and return its tasks."""
    table = store.tasks._table
    key = namespace_key(namespace)
    store.tasks.ensure_namespace(namespace, 0.0)
    with table.services.batch_write() as batch, table.aliases.batch_write() as holders:
        for number, name in enumerate(names(services)):
            aliases = [AliasMap(dns_name=each, port=80) for each in (name, f"{name}.{namespace}")]
            vip = f"127.254.{(number + 2) // 256}.{(number + 2) % 256}"
            definition = f"{name}:{number % services % 90}"  # as the tasks have it
            declared = DeclarationMap(task_definition=definition, protocol="http", aliases=aliases, declared_at=1.0)
            batch.save(table.services(key, service_key(name), declarations=[declared], vip=vip, revision=1))
            for alias in aliases:
                holders.save(table.aliases(key, alias_key(alias.dns_name, 80), service=name))
    records = list(tasks(services, endpoints, namespace=namespace))
    facts = [each.name for each in dataclasses.fields(TaskRecord) if each.name not in ("namespace", "endpoints")]
    with table.tasks.batch_write() as batch:
        for record in records:
            # As the registrar writes them: what is false or unknown is not there.
            known = {name: value for name in facts if (value := getattr(record, name))}
            item = table.tasks(key, task_key(record.task_id), **known)
            item.endpoints = [EndpointMap(**dataclasses.asdict(each)) for each in record.endpoints]
            batch.save(item)
    return records

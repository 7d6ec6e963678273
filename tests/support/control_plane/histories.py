"""Histories of services: tasks that start and stop, registrars, reconcilers and publishers call by call in any order.

Some events are lost, some come twice or late, and functions die between two calls. Now and then a week passes in which
nobody starts anything. At the end everything that lives is swept a few times, a week passes once more, and what has no
task goes. What must then be published is worked out here from the tasks alone.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from reconciler.publications import Publications
from reconciler.sweep import Sweep
from registry.aws.ecs import Lookups
from registry.domain.events import parse_event
from registry.domain.leftovers import IDLE_SECONDS, QUARANTINE_SECONDS
from registry.domain.snapshot import Document
from registry.dynamodb.store import Store
from registry.publishing import Changes, PublishConflictError, Publisher
from registry.registration import register
from tests.support.control_plane.ecs import ACCOUNT, CLUSTER, FakeEcs, definition_arn, event, task_definition
from tests.support.control_plane.memory_table import MemoryTable
from tests.support.stepping import Stepped

SERVICES: Final = ("orders", "stock", "mail")
PROTOCOLS: Final = ("http", "http2", "grpc")
PORTS: Final = (80, 81, 82)  # of the one name that all services want
WORKERS: Final = 4
SETTLING_SWEEPS: Final = 4
RUNNING: Final = event("fargate_running")


@dataclass(slots=True)
class Task:
    """A task as ECS has it. `claims` is the mesh's service, `owner` the ECS service that started it."""

    task_id: str
    claims: str
    owner: str
    definition: str
    created_at: int
    version: int = 1

    @property
    def lives(self) -> bool:
        return self.version < 3

    @property
    def is_ready(self) -> bool:
        return self.version == 1

    def detail(self, version: int) -> dict[str, Any]:
        """Return what ECS says of a version: 1 running, 2 stopping, 3 stopped."""
        detail: dict[str, Any] = copy.deepcopy(RUNNING["detail"])
        minute = f"2026-11-22T12:{self.created_at:02d}"
        detail |= {
            "taskArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/example/{self.task_id}",
            "taskDefinitionArn": definition_arn(self.definition),
            "group": f"service:{self.owner}",
            "createdAt": f"{minute}:00Z",
            "startedAt": f"{minute}:10Z",
            "updatedAt": f"{minute}:{10 + version}Z",
            "version": version,
            "lastStatus": ("RUNNING", "RUNNING", "STOPPED")[version - 1],
            "desiredStatus": ("RUNNING", "STOPPED", "STOPPED")[version - 1],
        }
        return detail


class World:
    """One table, the functions that work on it, and ECS."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.stores = [self.table.open() for _ in range(WORKERS + 1)]
        self.numbers = itertools.count()

    def run(self, seed: int, steps: int) -> None:
        """Live through one history. Raises AssertionError where the registry differs from what it should be."""
        self.table.items.clear()
        _History(self, random.Random(seed), f"n{next(self.numbers)}.local").run(steps)  # noqa: S311 - repeatable


def silent(*_: Any, **__: Any) -> None:
    """Log nothing."""


class _History:
    def __init__(self, world: World, dice: random.Random, namespace: str) -> None:
        self.stores = world.stores
        self.dice = dice
        self.namespace = namespace
        self.now = parse_event(RUNNING).changed_at + 86_400.0
        self.tasks: list[Task] = []
        self.running: dict[int, Stepped] = {}
        self.ecs = FakeEcs()
        self.ecs.tasks[CLUSTER] = []
        self.wants: dict[str, frozenset[int]] = {}
        self.protocols: dict[str, str] = {}
        self.addresses: dict[str, tuple[str, float]] = {}  # whose each was last seen to be, and when
        for owner in (*SERVICES, "thief"):
            for revision in (1, 2, 3):
                self._define(owner, revision)

    def _define(self, owner: str, revision: int) -> None:
        name = f"{owner}:{revision}"
        ports = self.dice.sample(PORTS, self.dice.randint(1, 2))
        self.protocols[name] = self.dice.choice(PROTOCOLS)
        self.wants[name] = frozenset(ports)
        claims = SERVICES[0] if owner == "thief" else owner
        aliases = [{"port": port, "dnsName": "web"} for port in ports]
        services = [{"portName": "http", "discoveryName": claims, "clientAliases": aliases}]
        found = task_definition(
            name, services=services, namespace=self.namespace, app_protocol=self.protocols[name], role=owner
        )
        self.ecs.definitions[found["taskDefinitionArn"]] = found

    def _lookups(self) -> Lookups:
        return Lookups(lambda: self.ecs, lambda: self.ecs)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            action = self.dice.choice(
                (*(("start", "stop", "hear", "hear", "sweep", "publish", "step", "step", "step", "die") * 4), "rest")
            )
            getattr(self, f"_{action}")()
            self._watch_addresses()
        for worker in sorted(self.running):
            self._finish(worker)
        for _ in range(SETTLING_SWEEPS):
            self._settle()
        before = self._documents()
        assert self._settle() == 0, "a sweep still finds something to repair"
        assert self._documents() == before
        self._check(before)
        self.now += IDLE_SECONDS
        for _ in range(SETTLING_SWEEPS):
            self._settle()
            self._watch_addresses()
        assert self._settle() == 0, "a sweep still finds something to repair after the week"
        after = self._documents()
        self._check(after)
        used = {task.claims for task in self.tasks if task.lives}
        assert after.keys() <= used, f"{after.keys() - used} have no task and stay"
        _, holders = self.stores[WORKERS].services.registered(self.namespace)
        assert set(holders.values()) <= after.keys(), "a service that went has aliases"

    # What happens

    def _rest(self) -> None:
        """A week passes, and the time in which an address of a service that went is nobody's begins to count."""
        self.now += IDLE_SECONDS

    def _start(self) -> None:
        owner = self.dice.choice((*SERVICES, *SERVICES, "thief"))
        claims = SERVICES[0] if owner == "thief" else owner
        number = len(self.tasks)
        self.tasks.append(Task(f"t{number:02d}", claims, owner, f"{owner}:{self.dice.randint(1, 3)}", number))
        self._tell_ecs()

    def _stop(self) -> None:
        living = [task for task in self.tasks if task.lives]
        if living:
            self.dice.choice(living).version += 1
            self._tell_ecs()

    def _tell_ecs(self) -> None:
        self.ecs.tasks[CLUSTER] = [task.detail(task.version) for task in self.tasks]

    def _hear(self) -> None:
        """Some event of what has happened comes to a registrar: the first time, again, or late."""
        if self.tasks:
            task = self.dice.choice(self.tasks)
            version = self.dice.randint(1, task.version)
            heard = parse_event({**RUNNING, "detail": task.detail(version)})
            self._work(lambda store: register(heard, store, self._lookups(), self.now))

    def _sweep(self) -> None:
        self.now += 120.0
        self._work(lambda store: self._reconcile(store))

    def _publish(self) -> None:
        changes = Changes(frozenset(task.task_id for task in self.tasks), frozenset(SERVICES))
        self._work(lambda store: self._publisher(store).publish(self.namespace, changes))

    def _publisher(self, store: Store) -> Publisher:
        return Publisher(store, lambda: self.now, silent)

    def _reconcile(self, store: Store) -> int:
        report = Sweep(
            store,
            self._lookups(),
            Publications(store, self._publisher(store), self.now, silent),
            (),
            self.now,
            lambda: 1000.0,
            silent,
        ).run()
        return report.drift + report.published

    def _work(self, work: Callable[[Store], object]) -> None:
        free = [worker for worker in range(WORKERS) if worker not in self.running]
        if free:
            store = self.stores[free[0]]
            self.running[free[0]] = Stepped(store, lambda: work(store))
            self._drop(free[0])

    def _step(self) -> None:
        if self.running:
            worker = self.dice.choice(sorted(self.running))
            for _ in range(self.dice.randint(1, 12)):
                if self.running[worker].finished:
                    break
                self.running[worker].step()
            self._drop(worker)

    def _die(self) -> None:
        if self.running and self.dice.random() < 0.5:
            worker = self.dice.choice(sorted(self.running))
            self.running.pop(worker).die()

    def _finish(self, worker: int) -> None:
        while not self.running[worker].finished:
            self.running[worker].step()
        self._drop(worker)

    def _drop(self, worker: int) -> None:
        stepped = self.running[worker]
        if stepped.finished:
            del self.running[worker]
            if stepped.error is not None and not isinstance(stepped.error, PublishConflictError):
                raise stepped.error

    def _settle(self) -> int:
        self.now += 120.0
        return self._reconcile(self.stores[WORKERS])

    # What must be

    def _watch_addresses(self) -> None:
        """No address passes from one service to another within the quarantine."""
        services, _ = self.stores[WORKERS].services.registered(self.namespace)
        for name, service in services.items():
            owner, seen_at = self.addresses.get(service.vip, (name, self.now))
            assert owner == name or self.now - seen_at >= QUARANTINE_SECONDS, f"{owner}'s address is {name}'s already"
            self.addresses[service.vip] = (name, self.now)

    def _documents(self) -> dict[str, Document]:
        store = self.stores[WORKERS]
        head = store.snapshots.head(self.namespace, consistent=True)
        if head is None:
            return {}
        parts = store.snapshots.readable(self.namespace, head)
        return {name: document for part in parts.values() for name, document in part.services.items()}

    def _check(self, documents: dict[str, Document]) -> None:
        services, holders = self.stores[WORKERS].services.registered(self.namespace)
        by_service: defaultdict[str, list[Task]] = defaultdict(list)
        for task in self.tasks:
            if task.lives:
                by_service[task.claims].append(task)
        living: set[tuple[str, int]] = set()
        for name, tasks in by_service.items():
            assert name in documents or not any(task.is_ready for task in tasks), f"{name} is not published"
            if name not in documents:
                continue
            (owner,) = {principal.rpartition("/")[2] for principal in services[name].owners}
            mine = [task for task in tasks if task.owner == owner]
            found = {each["id"].partition("/")[0]: each for each in documents[name]["endpoints"]}
            # A task that stops before anybody has heard of it is of no use to callers.
            assert {task.task_id for task in mine if task.is_ready} <= found.keys(), f"tasks of {name} are missing"
            assert found.keys() <= {task.task_id for task in mine}, (
                f"{name} has endpoints of tasks that are gone or refused"
            )
            mine = [task for task in mine if task.task_id in found]
            for task in mine:
                assert found[task.task_id]["protocol"] == self.protocols[task.definition]
            ready = [task for task in mine if task.is_ready]
            if ready:
                newest = max(ready, key=lambda task: task.created_at)
                assert documents[name]["declared_by"] == newest.definition
                assert documents[name]["protocol"] == self.protocols[newest.definition]
            living |= {(name, port) for task in mine for port in self.wants[task.definition]}
        for name, document in documents.items():
            if name not in by_service:
                assert document["endpoints"] == []
        listed = [(alias["port"], name) for name, document in documents.items() for alias in document["aliases"]]
        assert len({port for port, _ in listed}) == len(listed), "an alias stands in two services"
        holder_of = {alias.port: name for alias, name in holders.items()}
        for port, name in listed:
            assert holder_of[port] == name, "an alias is listed for another than its holder"
        for port in PORTS:
            wanting = {name for name, wanted in living if wanted == port}
            if wanting:
                assert holder_of.get(port) in wanting, f"port {port} is kept from {wanting}"
        for name, tasks in by_service.items():
            for task in tasks:
                if task.is_ready and (name, task.owner) == (name, services[name].owners[0].rpartition("/")[2]):
                    for port in self.wants[task.definition]:
                        assert (port, name) in listed or holder_of[port] != name, "a ready task's alias is missing"

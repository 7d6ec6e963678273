"""Publishers at the same time, call by call in any order, some of which die.

Readers see whole snapshots only, none goes back, and what a publisher says it published stays published.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from registry.domain.snapshot import Document, assemble
from registry.dynamodb.snapshot_store import SnapshotStore
from registry.dynamodb.store import Store, open_store
from registry.publishing import Changes, PublishConflictError, Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.building import declare, task
from tests.support.stepping import Stepped

# Many histories: moto, which copies its table for each transaction, would take most of the time.

NOW = 1_795_345_200.0
SERVICES = ("orders", "stock", "mail")
NOISE = "".join(f"{number * 7919 % 65536:04x}" for number in range(1500))  # so that a base costs more than changes


@dataclass(slots=True)
class Mesh:
    """A namespace of its own with three tasks, each in a service of its own."""

    stores: tuple[Store, ...]
    namespace: str
    seen: dict[int, Document] = field(default_factory=dict)
    published: list[int] = field(default_factory=lambda: [0, 0, 0])
    written: list[int] = field(default_factory=lambda: [0, 0, 0])
    running: dict[int, tuple[Stepped, list[tuple[int, int]]]] = field(default_factory=dict)

    def begin(self, store: Store) -> None:
        """Register the services."""
        for name in SERVICES:
            declare(store, name, self.namespace)
        store.services.set_policy(self.namespace, "orders", {"noise": NOISE}, None, now=1.0)

    def change(self, store: Store, number: int) -> None:
        """Give a task a new address: the octet counts its changes."""
        self.written[number] += 1
        count = self.written[number]
        address, version = f"10.0.{number}.{count}", 10 + count
        changed = task(f"t{number}", SERVICES[number], namespace=self.namespace, address=address, version=version)
        store.tasks.apply(changed)  # not asserted: a call made again after a time-out finds itself too late

    def start(self, place: int, numbers: frozenset[int]) -> None:
        """Start a publisher of some tasks as they are written now."""
        store = self.stores[place]
        publisher = Publisher(store, lambda: NOW, lambda _: None)
        changes = Changes(frozenset(f"t{number}" for number in numbers))
        promised = [(number, self.written[number]) for number in numbers]
        self.running[place] = (Stepped(store, lambda: publisher.publish(self.namespace, changes)), promised)

    def look(self, reader: Store) -> None:
        """Check what a reader sees now."""
        head = reader.snapshots.head(self.namespace, consistent=True)
        if head is None:
            assert not self.seen
            return
        head, parts = reader.snapshots.read(self.namespace, head)
        document = assemble(self.namespace, head, parts.values())
        assert head.revision >= max(self.seen, default=0)
        assert self.seen.setdefault(head.revision, document) == document
        for service in document["services"]:
            for endpoint in service["endpoints"]:
                number, count = map(int, endpoint["address"].split(".")[2:])
                assert count >= self.published[number], "a task went back"
                self.published[number] = count

    def step(self, place: int, calls: int, reader: Store) -> None:
        """Let a publisher make some calls, and look after each that writes."""
        stepped = self.running[place][0]
        while calls and not stepped.finished:
            writes = stepped.waits_before.startswith("UpdateItem")
            stepped.step()
            calls -= 1
            if writes:
                self.look(reader)
        if stepped.finished:
            self._settle(place)

    def _settle(self, place: int) -> None:
        """Check the promise of a publisher that has finished."""
        stepped, promised = self.running.pop(place)
        assert stepped.error is None or isinstance(stepped.error, PublishConflictError)
        if stepped.result is not None:
            assert all(self.published[number] >= count for number, count in promised), "an update is lost"


EXAMPLES = itertools.count()
LONG = 1000  # calls: all that a publisher makes


@pytest.fixture
def stores(dynamodb_endpoint: str, table: str) -> tuple[Store, ...]:
    """Stores with connections of their own: of three publishers, a writer and a reader."""
    return tuple(open_store(table, aws.REGION, dynamodb_endpoint) for _ in range(5))


def afresh(store: Store) -> Store:
    """A store that remembers nothing."""
    return dataclasses.replace(store, snapshots=SnapshotStore(store.snapshots._table))


TASKS = st.frozensets(st.integers(0, 2), min_size=1)
# What happens, to which publisher or task, what a new publisher publishes, and how many calls are made in a row.
Step = tuple[str, int, frozenset[int], int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["step", "step", "step", "step", "change", "die"]),
        st.integers(0, 2),
        TASKS,
        st.integers(1, 8),
    ),
    min_size=25,
    max_size=40,
)


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.generate],  # to make a failure smaller takes minutes here
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS)
def test_publishers_in_any_order_lose_nothing(stores: tuple[Store, ...], steps: list[Step]) -> None:
    *_, writer, reader = stores
    mesh = Mesh(stores, f"n{next(EXAMPLES)}.local")
    mesh.begin(writer)
    for number in range(3):
        mesh.change(writer, number)
    for action, place, numbers, calls in steps:
        if action == "change":
            mesh.change(writer, place)
        elif action == "die" and place in mesh.running:
            mesh.running.pop(place)[0].die()
        else:
            if place not in mesh.running:
                mesh.start(place, numbers)
            mesh.step(place, calls, reader)
    for place in sorted(mesh.running):
        mesh.step(place, LONG, reader)
    mesh.start(0, frozenset({0, 1, 2}))
    mesh.step(0, LONG, reader)
    mesh.look(afresh(reader))
    assert mesh.published == mesh.written

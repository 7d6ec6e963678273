"""Both ends of the feed: what the functions write is what the sidecar's own client reads from DynamoDB and S3."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec.structs import astuple

from api import reading
from reconciler.publications import Publications
from registry.aws.documents import Documents
from registry.domain.feed import COPIES
from registry.domain.lineage import parse_version
from registry.domain.snapshot import assemble
from registry.dynamodb.feed_store import FeedStore
from registry.dynamodb.keys import HEAD, namespace_key
from registry.dynamodb.store import Store, open_store
from registry.feeding import Feeder
from registry.publishing import Changes, Publisher
from sidecar.aws_calls import CallError
from sidecar.core.snapshot import Snapshot, apply, decode
from sidecar.credentials import TaskCredentials
from sidecar.registry import feed as sidecar_feed
from sidecar.registry.client import Answer
from sidecar.registry.feed import FeedClient, FeedError, copy_of
from sidecar.registry.sources import Source, Sources
from tests.support.control_plane import aws
from tests.support.control_plane.building import declare, task
from tests.support.control_plane.ecs import NAMESPACE

NOW = 1_795_345_200.0


class NoApi:
    """An API that is away."""

    def fetch(self, etag: str, since: str | None) -> Answer:
        raise CallError("the API is away")


@dataclass
class Case:
    """A control plane with a feed, and sidecars that have no API."""

    store: Store
    feeder: Feeder
    publisher: Publisher
    table: str
    dynamodb: str
    s3: str

    def publish(self, task_id: str, **changes: Any) -> None:
        self.store.tasks.apply(task(task_id, **changes))
        self.publisher.publish(NAMESPACE, Changes(frozenset({task_id})))
        self.feeder.bring_up(NAMESPACE)

    def client(self, copy: int, table: str) -> FeedClient:
        return FeedClient(table, NAMESPACE, copy, aws.REGION, TaskCredentials(), self.dynamodb, self.s3)

    def sidecar(self, copy: int = 3) -> Reader:
        return Reader(self.client(copy, self.table))

    def truth(self) -> Any:
        head = self.store.snapshots.head(NAMESPACE, consistent=True)
        assert head is not None
        head, parts = self.store.snapshots.read(NAMESPACE, head)
        return apply(None, decode(json.dumps(assemble(NAMESPACE, head, parts.values())).encode(), NAMESPACE))


class Reader:
    """What of a sidecar reads the feed."""

    def __init__(self, client: FeedClient) -> None:
        self.sources = Sources(NoApi(), client, lambda: 0.0)
        self.snapshot: Snapshot | None = None

    def read(self) -> int:
        """Read until there is nothing new; return how many documents came."""
        for count in range(10):
            version = self.snapshot.version if self.snapshot is not None else None
            answer = self.sources.fetch(f'"{version}"' if version else "", version)
            if answer.body is None:
                return count
            self.snapshot = apply(self.snapshot, decode(answer.body, NAMESPACE))
            assert answer.etag == f'"{self.snapshot.version}"'
        raise AssertionError("there is always something new")

    def knows(self, truth: Snapshot) -> bool:
        return bool(says(self.snapshot) == says(truth))


def says(snapshot: Snapshot | None) -> Any:
    """Return what a snapshot says, as values that can be compared: a policy is kept as the text that came."""
    assert snapshot is not None
    services = snapshot.services.items()
    return snapshot.version, {
        name: (*astuple(service)[:-1], json.loads(bytes(service.policy))) for name, service in services
    }


@pytest.fixture
def case(store: Store, dynamodb_endpoint: str, moto_endpoint: str) -> Case:
    declare(store, "orders")
    declare(store, "stock")
    bucket = f"tramo-{uuid.uuid4().hex[:12]}"
    s3 = aws.client("s3", moto_endpoint)
    s3.create_bucket(Bucket=bucket)
    table = aws.create_feed(dynamodb_endpoint)
    feed = FeedStore(table, aws.REGION, dynamodb_endpoint)
    feeder = Feeder(store, feed, Documents(bucket, lambda: s3), 1, lambda: NOW)
    publisher = Publisher(store, lambda: NOW, lambda _: None)
    return Case(store, feeder, publisher, table, dynamodb_endpoint, moto_endpoint)


def test_a_sidecar_starts_and_follows_by_the_feed_alone(case: Case) -> None:
    case.publish("t1")
    case.publish("t2", service="stock")
    reader = case.sidecar()
    assert reader.read() == 2, "the whole document, and the changes since"
    assert reader.knows(case.truth())
    assert reader.read() == 0
    case.publish("t3")
    case.publish("t1", version=20, address="10.9.9.9")
    assert reader.read() == 1
    assert reader.knows(case.truth())
    assert reader.sources.state is Source.FEED


def test_every_copy_says_the_same(case: Case) -> None:
    case.publish("t1")
    for copy in range(COPIES):
        reader = case.sidecar(copy)
        reader.read()
        assert reader.knows(case.truth())


def test_sidecars_that_stopped_reading_at_any_revision_catch_up(case: Case) -> None:
    readers = []
    for number in range(12):
        # Endpoints whose ids do not compress: the changes soon reach back to the last few revisions only.
        case.publish(uuid.uuid4().hex, service=("orders", "stock")[number % 2], address=f"10.1.0.{number}")
        reader = case.sidecar(number % COPIES)
        reader.read()
        readers.append(reader)
    for reader in readers:
        reader.read()
        assert reader.knows(case.truth())


def test_another_epoch_is_taken_whole(case: Case) -> None:
    case.publish("t1")
    case.publish("t2")
    reader = case.sidecar()
    reader.read()
    Publisher(case.store, lambda: NOW, lambda _: None, stream="of the restored table").publish(NAMESPACE, Changes())
    case.feeder.bring_up(NAMESPACE)
    assert reader.read() >= 1
    assert reader.knows(case.truth())


class ApiReader:
    """What of a sidecar reads the API."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def read(self, store: Store) -> None:
        since = parse_version(self.snapshot.version) if self.snapshot is not None else None
        head = reading.head_of(store, NAMESPACE, [since] if since else [])
        document = reading.snapshot(store, NAMESPACE, head, since, None)
        self.snapshot = apply(self.snapshot, decode(json.dumps(document).encode(), NAMESPACE))


def swept(case: Case, stream: str) -> None:
    """Do what the first sweep of a stack does for a namespace."""
    publisher = Publisher(case.store, lambda: NOW, lambda _: None, stream=stream)
    publications = Publications(case.store, publisher, NOW, lambda *_, **__: None, case.feeder)
    publications.repair(NAMESPACE, list(case.store.tasks.all(NAMESPACE)))


def test_a_table_of_an_earlier_version_is_updated_and_restored_and_readers_follow(case: Case, table: str) -> None:
    """The procedure of docs/upgrade.md."""
    case.publish("t1")
    assert case.store.services.set_policy(NAMESPACE, "orders", {"retries": {"count": 1}}, None, NOW)
    heads = case.store.snapshots._table.heads
    heads(namespace_key(NAMESPACE), HEAD).update(actions=[heads.epoch.remove(), heads.stream.remove()])
    swept(case, "of the table")  # the update
    case.publish("t2")
    copied = restored(case.dynamodb, table)
    case.publish("t3")  # the old table goes on: readers are ahead of what is restored
    case.publish("t4")
    by_feed, by_api = case.sidecar(), ApiReader()
    by_feed.read()
    by_api.read(case.store)
    assert by_feed.knows(case.truth())

    store = open_store(copied, aws.REGION, case.dynamodb)
    # The sweep leaves to publishers what was published just now: a minute has gone by.
    feeder = Feeder(store, case.feeder._feed, case.feeder._documents, 1, lambda: NOW + 60)
    publisher = Publisher(store, lambda: NOW, lambda _: None, stream="of the restored table")
    later = replace(case, store=store, feeder=feeder, publisher=publisher)
    swept(later, "of the restored table")
    for _ in range(2):
        by_feed.read()
        by_api.read(later.store)
        truth = later.truth()
        assert by_feed.knows(truth)
        assert says(by_api.snapshot) == says(truth)
        later.publish("t5")
    record = later.store.services.get(NAMESPACE, "orders")
    assert record is not None
    assert record.policy == {"retries": {"count": 1}}


def restored(endpoint: str, table: str) -> str:
    """Return a new table with the items that a table has now, as a restore to a point in time makes it."""
    copied, client = aws.create_table(endpoint), aws.client("dynamodb", endpoint)
    for item in client.scan(TableName=table)["Items"]:
        client.put_item(TableName=copied, Item=item)
    return copied


def test_a_table_that_is_not_there_is_named(case: Case) -> None:
    with pytest.raises(FeedError, match="DynamoDB answered 400 ResourceNotFoundException for tramo-none: there is no"):
        case.client(3, "tramo-none").head()


def test_both_ends_agree_on_the_copies() -> None:
    assert sidecar_feed.COPIES == COPIES
    assert {copy_of(uuid.UUID(int=number).hex) for number in range(100)} == set(range(COPIES))

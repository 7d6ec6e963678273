"""The feed's copies in DynamoDB: written after HEAD, repaired wherever a publisher died."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import pytest

from api import asking
from api.problems import Problem
from publisher.app import metrics, publish_all
from reconciler.publications import Publications
from registry.aws.documents import Documents
from registry.domain.feed import COPIES, WHOLE_SECONDS, Changes, FeedHead, document_key
from registry.domain.leftovers import EMPTY_SECONDS
from registry.domain.lineage import Version
from registry.domain.questions import Question, Subject
from registry.domain.snapshot import decompress
from registry.dynamodb.feed_store import FeedStore, feed_key
from registry.dynamodb.store import Store
from registry.feeding import Feeder, WholeDocumentError
from registry.publishing import Changes as Changed
from registry.publishing import Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.building import declare, task
from tests.support.control_plane.ecs import NAMESPACE
from tests.support.control_plane.memory_table import MemoryTable
from tests.support.stepping import Crash

NOW = 1_795_345_200.0


class FakeS3:
    """Keeps what is put; refuses when told to."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fails = False

    def put_object(self, **arguments: Any) -> Any:
        if self.fails:
            raise OSError("no bucket")
        self.objects[arguments["Key"]] = arguments["Body"]


def connection_of(feed: FeedStore) -> Any:
    return feed._heads._get_connection().connection


class Case:
    """A publisher with its feed, and what readers find."""

    def __init__(self, store: Store, open_feed: Callable[[], FeedStore]) -> None:
        self.store = store
        self.s3 = FakeS3()
        self.now = NOW
        self.open = open_feed
        self.feed = self.open()
        self.feeder = Feeder(store, self.feed, Documents("bucket", lambda: self.s3), 1, lambda: self.now)
        self.publisher = Publisher(store, lambda: self.now, lambda _: None)

    def publish(self, task_id: str, **changes: Any) -> None:
        self.store.tasks.apply(task(task_id, **changes))
        self.publisher.publish(NAMESPACE, Changed(frozenset({task_id})))

    def version(self) -> Version:
        head = self.store.snapshots.head(NAMESPACE, consistent=True)
        assert head is not None
        return head.version

    def heads(self) -> list[FeedHead | None]:
        return self.open().heads(NAMESPACE)

    def feed_items(self, namespace: str) -> list[tuple[str, str]]:
        """Return the keys of a namespace's feed."""
        keys = [(feed_key(namespace, copy), sk) for copy in range(COPIES) for sk in ("CHANGES", "HEAD")]
        return sorted({(item.pk, item.sk) for item in self.open()._heads.batch_get(keys)})

    def changes(self, copy: int) -> Any:
        item = self.open()._changes.get(feed_key(NAMESPACE, copy), "CHANGES")
        return decompress(item.data) if item.data else None

    def check(self) -> None:
        """Every copy says what HEAD says, and the whole document with the changes tells all."""
        for copy, head in enumerate(self.heads()):
            assert head is not None
            assert head.version == self.version(), copy
            assert head.whole is not None
            assert head.whole >= head.since
            assert document_key(NAMESPACE, Version(head.version.epoch, head.whole)) in self.s3.objects
            changes = self.changes(copy)
            if changes is not None:
                assert (changes["revision"], changes["since"]) == (head.version.revision, head.since)


@pytest.fixture
def case(store: Store, dynamodb_endpoint: str) -> Case:
    declare(store, "orders")
    table = aws.create_feed(dynamodb_endpoint)

    def opened() -> FeedStore:
        feed = FeedStore(table, aws.REGION, dynamodb_endpoint)
        connection_of(feed)._client = store.tasks._table.connection.client  # it takes long to make
        return feed

    return Case(store, opened)


@pytest.fixture
def in_memory() -> Case:
    """The same with tables in memory, for what takes thousands of calls."""
    registry, copies = MemoryTable(), MemoryTable()

    def opened() -> FeedStore:
        feed = FeedStore("memory", aws.REGION, "http://memory.invalid")
        connection_of(feed).dispatch = copies.dispatch
        return feed

    store = registry.open()
    declare(store, "orders")
    return Case(store, opened)


@pytest.fixture
def counted() -> Iterator[Mapping[str, Any]]:
    """The publisher's counts. All functions of a process share them, so none is left for the next test."""
    metrics.clear_metrics()
    yield metrics.metric_set
    metrics.clear_metrics()


@contextmanager
def dying_at(feed: FeedStore, place: int, after: bool) -> Iterator[list[str]]:
    """Die at the place-th call of the feed's table, before it is made or when it is done; yield the calls made."""
    connection = connection_of(feed)
    dispatch = connection.dispatch
    made: list[str] = []

    def dying(operation: str, arguments: Any) -> Any:
        if len(made) == place and not after:
            raise Crash
        answer = dispatch(operation, arguments)
        made.append(operation)
        if len(made) == place + 1 and after:
            raise Crash
        return answer

    connection.dispatch = dying
    try:
        yield made
    finally:
        connection.dispatch = dispatch


def test_what_is_published_stands_in_every_copy(case: Case) -> None:
    case.publish("t1")
    assert case.feeder.bring_up(NAMESPACE) == COPIES
    case.check()
    assert case.heads()[0] == FeedHead(case.version(), 1, 1, "bucket", 1, NOW)
    case.publish("t2")
    case.publish("t3")
    assert case.feeder.bring_up(NAMESPACE) == COPIES
    case.check()
    (orders,) = case.changes(7)["services"]
    assert [each["id"][:2] for each in orders["endpoints"]] == ["t1", "t2", "t3"]
    assert len(case.s3.objects) == 1, "the changes reach back to it"
    assert case.feeder.bring_up(NAMESPACE) == 0, "nothing is written twice"


def test_a_namespace_that_is_not_published_has_no_feed(case: Case) -> None:
    assert case.feeder.bring_up(NAMESPACE) == 0
    assert case.heads() == [None] * COPIES


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_publisher_that_dies_is_made_up_for_by_the_next_or_by_the_reconciler(in_memory: Case, after: bool) -> None:
    case, place = in_memory, 0
    while True:
        case.publish("t1", version=10 + place, address=f"10.1.0.{place}")
        case.now += 60.0
        try:
            with dying_at(case.feed, place, after) as made:
                case.feeder.bring_up(NAMESPACE)
            break
        except Crash:
            for copy, head in enumerate(case.heads()):
                if head is not None and head.version == case.version():
                    assert case.changes(copy) is None or case.changes(copy)["revision"] == head.version.revision
            if place % 2:
                assert case.feeder.bring_up(NAMESPACE) <= COPIES
            else:
                publications = Publications(case.store, case.publisher, case.now, lambda *_, **__: None, case.feeder)
                repaired = publications.repair(NAMESPACE, list(case.store.tasks.all(NAMESPACE)))
                assert repaired.feed_drift == COPIES - max(0, place + after - 1) // 2
            case.check()
        place += 1
    assert made == ["BatchGetItem", *["UpdateItem"] * 2 * COPIES]


def test_the_reconciler_leaves_alone_what_is_on_its_way(case: Case) -> None:
    case.publish("t1")
    case.now += 5.0
    assert case.feeder.bring_up(NAMESPACE, settled=True) == 0
    case.now += 6.0
    assert case.feeder.bring_up(NAMESPACE, settled=True) == COPIES
    case.check()


def test_a_late_writer_puts_nothing_older_over_what_is_there(case: Case) -> None:
    case.publish("t1")
    case.publish("t2")
    case.feeder.bring_up(NAMESPACE)
    version = case.version()
    late = FeedHead(Version(version.epoch, version.revision - 1), 1, 1)
    for copy in range(COPIES):
        case.feed.write(NAMESPACE, copy, late, Changes(1, b"old"))
    case.check()


def test_another_epoch_replaces_the_feed_whatever_its_revision(case: Case) -> None:
    for number in range(3):
        case.publish("t1", version=10 + number, address=f"10.1.0.{number}")
    case.feeder.bring_up(NAMESPACE)
    before = case.version()
    restored = Publisher(case.store, lambda: case.now, lambda _: None, stream="of the restored table")
    restored.publish(NAMESPACE, Changed())
    assert case.version().epoch != before.epoch
    assert case.feeder.bring_up(NAMESPACE) == COPIES
    case.check()
    assert len(case.s3.objects) == 2, "a whole document of the new epoch"


def test_the_whole_document_is_written_anew_when_it_is_a_day_old(case: Case) -> None:
    case.publish("t1")
    case.feeder.bring_up(NAMESPACE)
    case.now += WHOLE_SECONDS
    case.s3.objects.clear()
    assert case.feeder.bring_up(NAMESPACE, settled=True) == COPIES
    case.check()


def test_a_bucket_that_takes_nothing_costs_the_whole_document_and_not_the_news(case: Case) -> None:
    case.publish("t1")
    case.s3.fails = True
    with pytest.raises(WholeDocumentError):
        case.feeder.bring_up(NAMESPACE)
    assert case.heads() == [FeedHead(case.version(), 1, 1)] * COPIES, "no copy names a document that is not there"
    case.s3.fails = False
    assert case.feeder.bring_up(NAMESPACE) == COPIES
    case.check()


def test_a_bucket_that_refuses_does_not_bring_the_records_again_nor_keep_names_from_the_zone(
    in_memory: Case, counted: Mapping[str, Any]
) -> None:
    case = in_memory
    case.store.tasks.apply(task("t1"))
    case.s3.fails = True
    renamed: list[str] = []
    changed = {NAMESPACE: Changed(frozenset({"t1"}))}
    assert publish_all(case.publisher, changed, rename=lambda: renamed.append("zone"), feeder=case.feeder) == {}
    assert renamed == ["zone"]
    assert sum(counted["PublishFailures"]["Value"]) == 1
    assert [each.version if each else None for each in case.heads()] == [case.version()] * COPIES


@pytest.mark.usefixtures("counted")
def test_names_reach_the_zone_also_when_the_feeds_table_fails(in_memory: Case) -> None:
    case = in_memory
    case.store.tasks.apply(task("t1"))
    renamed: list[str] = []

    def refuse(operation: str, arguments: Any) -> Any:
        raise OSError("no table")

    connection_of(case.feed).dispatch = refuse
    changed = {NAMESPACE: Changed(frozenset({"t1"}))}
    failed = publish_all(case.publisher, changed, rename=lambda: renamed.append("zone"), feeder=case.feeder)
    assert (list(failed), renamed) == ([NAMESPACE], ["zone"])


def test_a_bucket_that_refuses_does_not_keep_the_reconciler_from_what_is_left_over(in_memory: Case) -> None:
    case = in_memory
    case.store.tasks.ensure_namespace("empty.local", case.now)
    case.publisher.publish("empty.local", Changed())
    case.s3.fails = True
    case.now += EMPTY_SECONDS
    warned: list[str] = []
    publications = Publications(
        case.store, case.publisher, case.now, lambda message, **_: warned.append(message), case.feeder
    )
    assert publications.repair("empty.local", []).feed_drift == COPIES
    assert warned == ["the whole document is not written", "an empty namespace is removed"]
    assert case.store.tasks.namespaces() == []


def test_without_a_bucket_there_is_the_feed_alone(case: Case) -> None:
    feeder = Feeder(case.store, case.feed, None, 2, lambda: case.now)
    case.publish("t1")
    assert feeder.bring_up(NAMESPACE) == COPIES
    assert case.heads()[0] == FeedHead(case.version(), 1, 2)
    assert feeder.bring_up(NAMESPACE) == 0


def test_copies_that_were_lost_are_written_and_the_others_are_not(case: Case) -> None:
    case.publish("t1")
    case.feeder.bring_up(NAMESPACE)
    for model, sk in ((case.feed._heads, "HEAD"), (case.feed._changes, "CHANGES")):
        model.get(feed_key(NAMESPACE, 3), sk).delete()
    assert case.feeder.bring_up(NAMESPACE) == 1
    case.check()


def test_another_interval_is_told_to_the_sidecars(case: Case) -> None:
    case.publish("t1")
    case.feeder.bring_up(NAMESPACE)
    slower = Feeder(case.store, case.feed, Documents("bucket", lambda: case.s3), 2, lambda: case.now)
    assert slower.bring_up(NAMESPACE) == COPIES
    assert {each.seconds for each in case.heads() if each} == {2}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_feed_of_a_namespace_goes_with_it_whatever_call_the_reconciler_dies_at(
    in_memory: Case, after: bool
) -> None:
    case, place = in_memory, 0
    while True:
        case.store.tasks.ensure_namespace("empty.local", case.now)
        case.publisher.publish("empty.local", Changed())
        case.feeder.bring_up("empty.local")
        case.now += EMPTY_SECONDS
        publications = Publications(case.store, case.publisher, case.now, lambda *_, **__: None, case.feeder)
        try:
            with dying_at(case.feed, place, after) as made:
                publications.repair("empty.local", [])
            break
        except Crash:
            assert case.store.tasks.namespaces() == ["empty.local"], "the next sweep finds it"
            publications.repair("empty.local", [])
            assert case.feed_items("empty.local") == []
        place += 1
    assert made.count("DeleteItem") == 2 * COPIES
    assert case.feed_items("empty.local") == []
    assert case.store.tasks.namespaces() == []


def test_copies_that_are_written_during_the_removal_stay(in_memory: Case) -> None:
    case = in_memory
    case.publish("t1")
    case.feeder.bring_up(NAMESPACE)
    connection = connection_of(case.feed)
    dispatch = connection.dispatch
    later = FeedHead(Version("of-the-new-table", 1), 1, 1)

    def write_first(operation: str, arguments: Any) -> Any:
        if operation == "DeleteItem" and arguments["Key"]["pk"]["S"] == feed_key(NAMESPACE, 3):
            case.open().write(NAMESPACE, 3, later, Changes(1, b"new"))
        return dispatch(operation, arguments)

    connection.dispatch = write_first
    case.feeder.remove(NAMESPACE)
    assert case.feed_items(NAMESPACE) == [(feed_key(NAMESPACE, 3), "CHANGES"), (feed_key(NAMESPACE, 3), "HEAD")]
    assert case.heads()[3] == later


class Overtaken:
    """A feed before each write to which something else happens, as long as there is something left."""

    def __init__(self, feed: FeedStore, first: list[Callable[[], object]]) -> None:
        self._feed = feed
        self._first = first

    def ask(self, namespace: str, questions: str) -> None:
        if self._first:
            self._first.pop()()
        self._feed.ask(namespace, questions)


def asked_in_feed(case: Case) -> list[set[str]]:
    keys = [(feed_key(NAMESPACE, copy), "HEAD") for copy in range(COPIES)]
    return [{each["id"] for each in json.loads(item.questions)} for item in case.open()._heads.batch_get(keys)]


def test_of_questions_asked_at_the_same_time_all_reach_every_copy(in_memory: Case) -> None:
    case = in_memory
    case.publish("t1")
    case.feeder.bring_up(NAMESPACE)
    slow, fast = (Question(each, Subject.STAT, NOW + 20) for each in ("a1", "b2"))
    feed = Overtaken(case.feed, [lambda: asking.ask(case.store, case.feed, NAMESPACE, fast, NOW)])
    asking.ask(case.store, cast(FeedStore, feed), NAMESPACE, slow, NOW)
    assert asked_in_feed(case) == [{"a1", "b2"}] * COPIES


def test_a_question_asked_while_another_one_ends_reaches_every_copy(case: Case) -> None:
    case.publish("t1")
    case.feeder.bring_up(NAMESPACE)
    first, second = (Question(each, Subject.STAT, NOW + 20) for each in ("a1", "b2"))
    asking.ask(case.store, case.feed, NAMESPACE, first, NOW)
    feed = Overtaken(case.feed, [lambda: asking.ask(case.store, case.feed, NAMESPACE, second, NOW)])
    asking.answer(case.store, cast(FeedStore, feed), NAMESPACE, "a1", "t1", "{}", NOW)
    assert asked_in_feed(case) == [{"b2"}] * COPIES


def test_who_is_overtaken_each_time_is_told_that_the_question_may_be_missing(in_memory: Case) -> None:
    case = in_memory
    case.publish("t1")
    case.feeder.bring_up(NAMESPACE)

    def ask_another(number: int) -> None:
        # Each question ends a second after it is asked, so that the text differs each time and there is room.
        now = NOW + number
        case.store.questions.ask(NAMESPACE, Question(f"q{number}", Subject.STAT, now + 1), [], now)

    others: list[Callable[[], object]] = [partial(ask_another, number) for number in range(asking.BRINGINGS, 0, -1)]
    question = Question("a1", Subject.STAT, NOW + 60)
    with pytest.raises(Problem, match="some sidecars may not be asked"):
        asking.ask(case.store, cast(FeedStore, Overtaken(case.feed, others)), NAMESPACE, question, NOW)
    assert others == []

"""Feed or API: who is asked, what is made of the answers, and what happens when one or both are away."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest

from sidecar.aws_calls import CallError
from sidecar.registry.client import Answer, NamespaceUnknownError
from sidecar.registry.feed import FeedChanges, FeedError, FeedHead
from sidecar.registry.sources import MAX_RETRY_SECONDS, PATIENCE, Source, Sources


@dataclass
class World:
    """A feed and an API that tell of the same registry, each of which may be away, and a clock."""

    epoch: str = "a1"
    revision: int = 42
    since: int = 40
    whole: int | None = 41
    changes_revision: int | None = None
    consistent_revision: int | None = None
    has_changes: bool = True
    has_namespace: bool = True
    feed_away: bool = False
    bucket_away: bool = False
    api_away: bool = False
    time: float = 1_000.0
    calls: list[str] = field(default_factory=list)

    def head(self) -> FeedHead | None:
        self.calls.append("head")
        if self.feed_away:
            raise FeedError("the feed is away")
        if not self.has_namespace:
            return None
        return FeedHead(self.epoch, self.revision, self.since, 1.0, "bucket", self.whole)

    def changes(self, consistent: bool) -> FeedChanges | None:
        self.calls.append("changes, consistently" if consistent else "changes")
        if not self.has_changes:
            return None
        found = self.consistent_revision if consistent else self.changes_revision
        revision = self.revision if found is None else found
        return FeedChanges(self.epoch, revision, self.since, b"changes to %d" % revision)

    def whole_document(self, head: FeedHead) -> bytes:
        self.calls.append("whole")
        if self.bucket_away:
            raise FeedError("the bucket is away")
        return b"whole %d" % (head.whole or 0)

    def fetch(self, etag: str, since: str | None) -> Answer:
        self.calls.append("api whole" if since is None else f"api since {since}")
        if self.api_away:
            raise CallError("the API is away")
        if not self.has_namespace:
            raise NamespaceUnknownError("unknown")
        if since == f"{self.epoch}-{self.revision}":
            return Answer(None, etag, 5.0)
        return Answer(b"of the API", f'"{self.epoch}-{self.revision}"', 5.0)


class Feed:
    """The feed of a world."""

    def __init__(self, world: World) -> None:
        self.head = world.head
        self.changes = world.changes
        self.whole = world.whole_document


class Case:
    def __init__(self, **changes: object) -> None:
        self.world = World(**changes)  # type: ignore[arg-type]
        self.sources = Sources(self.world, Feed(self.world), lambda: self.world.time, lambda: 1.0)

    def fetch(self, since: str | None) -> Answer:
        self.world.calls.clear()
        return self.sources.fetch(f'"{since}"' if since else "", since)

    @property
    def calls(self) -> list[str]:
        return self.world.calls


def test_without_news_one_read_is_all() -> None:
    case = Case()
    answer = case.fetch("a1-42")
    assert (answer.body, answer.etag, answer.poll_seconds, answer.source) == (None, '"a1-42"', 1.0, "feed")
    assert case.calls == ["head"]
    assert case.sources.state is Source.FEED


def test_news_are_the_changes_of_the_feed() -> None:
    case = Case()
    answer = case.fetch("a1-40")
    assert (answer.body, answer.etag, answer.more) == (b"changes to 42", '"a1-42"', False)
    assert case.calls == ["head", "changes"]


@pytest.mark.parametrize("known", range(36, 43))
@pytest.mark.parametrize("api_away", [False, True])
def test_readers_at_any_distance_get_what_they_lack(known: int, api_away: bool) -> None:
    case = Case(api_away=api_away)
    answer = case.fetch(f"a1-{known}")
    if known == 42:
        assert (answer.body, case.calls) == (None, ["head"])
    elif known >= 40:
        assert (answer.body, case.calls) == (b"changes to 42", ["head", "changes"])
    elif api_away:
        assert (answer.body, answer.etag, answer.more) == (b"whole 41", '"a1-41"', True)
        assert case.calls == ["head", f"api since a1-{known}", "whole"]
    else:
        assert (answer.body, case.calls) == (b"of the API", ["head", f"api since a1-{known}"])
    assert answer.poll_seconds == 1.0
    assert case.sources.state is Source.FEED


def test_changes_that_lag_behind_are_read_once_more_consistently() -> None:
    case = Case(changes_revision=41)
    assert case.fetch("a1-41").body == b"changes to 42"
    assert case.calls == ["head", "changes", "changes, consistently"]


def test_changes_that_still_lag_behind_are_the_apis_to_tell() -> None:
    case = Case(changes_revision=41, consistent_revision=41)
    assert case.fetch("a1-41").body == b"of the API"
    assert case.calls == ["head", "changes", "changes, consistently", "api since a1-41"]


def test_changes_that_are_too_large_for_the_feed_are_the_apis_to_tell() -> None:
    case = Case(has_changes=False)
    assert case.fetch("a1-41").body == b"of the API"
    assert case.fetch("a1-42").body is None
    assert case.calls == ["head"]


def test_a_copy_that_is_older_than_what_is_known_has_no_news() -> None:
    case = Case()
    assert case.fetch("a1-43").body is None
    assert case.calls == ["head"]


@pytest.mark.parametrize("since", [None, "b2-50", "42"], ids=["nothing", "another epoch", "no epoch"])
def test_whoever_has_nothing_of_the_epoch_takes_the_whole_document(since: str | None) -> None:
    case = Case(api_away=True)
    answer = case.fetch(since)
    assert (answer.body, answer.etag, answer.more, answer.source) == (b"whole 41", '"a1-41"', True, "feed")
    assert case.calls == ["head", "whole"]
    assert case.fetch("a1-41").body == b"changes to 42"


@pytest.mark.parametrize("change", [{"whole": None}, {"bucket_away": True}], ids=["no bucket", "away"])
def test_without_a_whole_document_the_api_has_it(change: dict[str, object]) -> None:
    case = Case(**change)
    answer = case.fetch(None)
    assert (answer.body, answer.poll_seconds) == (b"of the API", 1.0)
    case.world.api_away = True
    with pytest.raises(CallError):
        case.fetch(None)
    assert case.sources.describe()["state"] == "held"


def test_one_failure_of_the_feed_sends_nobody_to_the_api() -> None:
    case = Case(feed_away=True)
    for _ in range(PATIENCE - 1):
        with pytest.raises(FeedError):
            case.fetch("a1-42")
        assert case.calls == ["head"]
        assert case.sources.findings() == []
    assert case.fetch("a1-42").poll_seconds == 5.0
    assert case.calls == ["head", "api since a1-42"]
    assert case.sources.state is Source.API
    assert case.sources.is_feed_away
    (finding,) = case.sources.findings()
    assert (finding.code, finding.what) == ("TRM0309", "the feed is away")


def test_whoever_starts_does_not_wait_for_the_feed() -> None:
    case = Case(feed_away=True)
    assert case.fetch(None).body == b"of the API"
    assert case.sources.state is Source.API


def test_the_feed_is_tried_again_ever_more_seldom_and_comes_back() -> None:
    case = Case(feed_away=True)
    case.fetch(None)
    tried = []
    for _ in range(600):
        case.world.time += 1.0
        case.fetch("a1-42")
        if "head" in case.calls:
            tried.append(case.world.time)
    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_RETRY_SECONDS
    case.world.feed_away = False
    case.world.time += MAX_RETRY_SECONDS
    assert case.fetch("a1-42").source == "feed"
    assert (case.sources.state, case.sources.findings()) == (Source.FEED, [])


def gone(world: World) -> None:
    world.feed_away = world.api_away = True


def test_with_both_away_the_last_snapshot_is_held_until_either_answers() -> None:
    for comes_back, state in (("feed_away", Source.FEED), ("api_away", Source.API)):
        case = Case()
        case.fetch("a1-42")
        gone(case.world)
        for _ in range(10):
            case.world.time += 60.0
            with pytest.raises(CallError):
                case.fetch("a1-42")
        assert case.sources.state is Source.HELD
        assert case.sources.is_feed_away
        setattr(case.world, comes_back, False)
        case.world.time += 60.0
        assert case.fetch("a1-42").body is None
        assert case.sources.state is state


def test_a_namespace_that_neither_knows_is_unknown_and_known_as_soon_as_it_is() -> None:
    case = Case(has_namespace=False)
    with pytest.raises(NamespaceUnknownError):
        case.fetch(None)
    case.world.api_away = True
    with pytest.raises(NamespaceUnknownError):
        case.fetch(None)
    case.world.has_namespace = True
    assert case.fetch(None).body == b"whole 41"


def test_a_document_of_the_feed_that_did_not_fit_is_not_read_again_at_once() -> None:
    case = Case()
    assert case.fetch(None).body == b"whole 41"
    assert case.fetch(None).body == b"of the API"
    assert case.calls == ["api whole"]
    assert case.sources.is_feed_away
    case.world.time += MAX_RETRY_SECONDS
    assert case.fetch("a1-41").body == b"changes to 42"
    assert not case.sources.is_feed_away


def test_without_a_feed_the_api_is_polled() -> None:
    world = World()
    sources = Sources(world, None, lambda: 0.0)
    assert sources.fetch("", None).body == b"of the API"
    assert (sources.state, sources.is_feed_away, sources.describe()["feed_reads"]) == (Source.API, False, 0)
    world.api_away = True
    with pytest.raises(CallError):
        sources.fetch("", None)
    assert sources.state is Source.HELD


def test_the_page_says_who_answers_and_why_not_the_feed() -> None:
    case = Case(feed_away=True)
    case.fetch(None)
    assert case.sources.describe() == {
        "state": "api",
        "feed_reads": 1,
        "api_calls": 1,
        "feed_failures": 1,
        "feed_error": "the feed is away",
    }

"""Where the snapshot comes from: the feed when it is configured, the API when it is not or when the feed fails.

             the feed fails, PATIENCE times in a row
        FEED ───────────────────────────────────────▶ API ◀── the API answers ── HELD
         ▲                                            │ │                         ▲ │
         └────────────── the feed answers ────────────┘ └───── the API fails ─────┘ │
         └───────────────────────── the feed answers ───────────────────────────────┘

- FEED: the feed is read, about every second. What it does not have is asked of the API, or taken from the bucket.
- API: the API is polled. The feed is tried again ever more seldom, at last every `MAX_RETRY_SECONDS`.
- HELD: neither answers. The last good snapshot stays, for as long as it must.

Rules:
- One failed read of the feed does not send a fleet to the API, unless this sidecar has nothing to route by yet.
- A reader within the feed's changes applies them. One that is further behind asks the API for what it lacks, and takes
  the whole document from the bucket if the API fails. One without a snapshot, or with one of another epoch, takes the
  whole document first: so a task starts without the API.
- A feed that is older than what is known here lags behind: there is no news in it.
- A document of the feed that did not fit is not read again at once: whoever asks for a whole one right after it gets
  that of the API.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, Final, Protocol

from sidecar.aws_calls import CallError
from sidecar.core.findings import Finding, feed_not_read
from sidecar.registry.client import Answer, NamespaceUnknownError
from sidecar.registry.feed import FeedChanges, FeedError, FeedHead

PATIENCE: Final = 3
RETRY_SECONDS: Final = 2.0
MAX_RETRY_SECONDS: Final = 30.0

log = logging.getLogger("tramo.registry")


class Source(Enum):
    """What answered last."""

    FEED = "feed"
    API = "api"
    HELD = "held"


class Api(Protocol):
    """What is needed of the API's client."""

    def fetch(self, etag: str, since: str | None) -> Answer:
        """See RegistryClient.fetch."""


class Feed(Protocol):
    """What is needed of the feed's client."""

    def head(self) -> FeedHead | None:
        """See FeedClient.head."""

    def changes(self, consistent: bool) -> FeedChanges | None:
        """See FeedClient.changes."""

    def whole(self, head: FeedHead) -> bytes:
        """See FeedClient.whole."""


class Sources:
    """Fetches from wherever there is an answer. `now` is a monotonic clock, `spread` a number from 0 to 1."""

    def __init__(
        self,
        api: Api,
        feed: Feed | None,
        now: Callable[[], float],
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.state = Source.API if feed is None else Source.FEED
        self.reads = 0  # of the feed
        self.calls = 0  # of the API
        self._api = api
        self._feed = feed
        self._now = now
        self._spread = spread
        self._failures = 0  # of the feed, in a row
        self._error = ""  # the last of them
        self._retry_at = 0.0
        self._from_feed = False  # whether the last document was the feed's

    def fetch(self, etag: str, since: str | None) -> Answer:
        """Return the newest document unless the version `since` is the newest. Raises CallError."""
        refused = since is None and self._from_feed
        self._from_feed = False
        if self._feed is not None and self._now() >= self._retry_at:
            if refused:
                self._feed_failed("a document of the feed did not fit", has_snapshot=False)
            else:
                answer = self._by_feed(self._feed, etag, since)
                if answer is not None:
                    return answer
        try:
            answer = self._ask(etag, since)
        except NamespaceUnknownError:
            self.state = Source.API
            raise
        except CallError:
            self.state = Source.HELD
            raise
        self.state = Source.API
        return answer

    def _by_feed(self, feed: Feed, etag: str, since: str | None) -> Answer | None:
        """Return the answer with the feed's help, None when it is the API's to answer. Raises CallError."""
        try:
            self.reads += 1
            head = feed.head()
            answer = None if head is None else self._news(feed, head, etag, since)
        except FeedError as error:
            if self._feed_failed(str(error), has_snapshot=since is not None):
                raise
            return None
        self._feed_answers()
        if head is None:
            return self._not_in_feed(etag, since)
        if answer is None:
            answer = replace(self._beyond(feed, head, etag, since), poll_seconds=head.seconds)
        self.state = Source.FEED
        return replace(answer, questions=head.questions)

    def _news(self, feed: Feed, head: FeedHead, etag: str, since: str | None) -> Answer | None:
        """Return what the feed itself has to say, None when this reader needs more. Raises FeedError."""
        known = _parsed(since)
        if known is None or known[0] != head.epoch:
            return None
        if head.revision <= known[1]:
            return Answer(None, etag, head.seconds, Source.FEED.value)
        if known[1] < head.since:
            return None
        for consistent in (False, True):
            changes = feed.changes(consistent)
            if changes is None or changes.epoch != head.epoch or changes.since > known[1]:
                return None
            if changes.revision > known[1]:
                self._from_feed = True
                tag = f'"{changes.epoch}-{changes.revision}"'
                return Answer(changes.body, tag, head.seconds, Source.FEED.value)
        return None

    def _beyond(self, feed: Feed, head: FeedHead, etag: str, since: str | None) -> Answer:
        """Return the answer to a reader for whom the feed's changes are not enough. Raises CallError."""
        known = _parsed(since)
        if known is None or known[0] != head.epoch:
            if head.whole is None:
                return self._ask_or_hold(etag, since)
            try:
                return self._whole(feed, head)
            except FeedError as error:
                log.warning("the API is asked for a whole snapshot: %s", error)
                return self._ask_or_hold(etag, since)
        try:
            return self._ask(etag, since)
        except CallError:
            if head.whole is None or head.whole <= known[1]:
                self.state = Source.HELD
                raise
            return self._whole(feed, head)

    def _whole(self, feed: Feed, head: FeedHead) -> Answer:
        body = feed.whole(head)
        self._from_feed = True
        return Answer(
            body, f'"{head.epoch}-{head.whole}"', head.seconds, Source.FEED.value, head.whole != head.revision
        )

    def _not_in_feed(self, etag: str, since: str | None) -> Answer | None:
        """Return the API's answer for a namespace that the feed does not have: nothing is published yet."""
        try:
            answer = self._ask(etag, since)
        except NamespaceUnknownError:
            raise
        except CallError as error:
            raise NamespaceUnknownError(f"the feed has nothing of the namespace, and {error}") from error
        self.state = Source.API
        return answer

    def _ask_or_hold(self, etag: str, since: str | None) -> Answer:
        try:
            return self._ask(etag, since)
        except CallError:
            self.state = Source.HELD
            raise

    def _ask(self, etag: str, since: str | None) -> Answer:
        self.calls += 1
        return self._api.fetch(etag, since)

    def _feed_failed(self, error: str, has_snapshot: bool) -> bool:
        """Count a failure; return whether the feed is still waited for."""
        self._failures += 1
        if self._failures == 1:
            log.warning("the feed is not read for now: %s", error)
        self._error = error
        if self.state is Source.FEED and has_snapshot and self._failures < PATIENCE:
            return True
        doubled = RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10)
        self._retry_at = self._now() + min(doubled, MAX_RETRY_SECONDS) * (0.5 + self._spread() / 2.0)
        return False

    def _feed_answers(self) -> None:
        if self._failures:
            log.info("the feed answers again after %d failures", self._failures)
        self._failures = 0
        self._error = ""
        self._retry_at = 0.0

    @property
    def is_feed_away(self) -> bool:
        """Whether there is a feed and it is not read."""
        return self._feed is not None and bool(self._error) and self.state is not Source.FEED

    def findings(self) -> Sequence[Finding]:
        """Return what is wrong with the feed."""
        return [feed_not_read(self._error)] if self.is_feed_away else []

    def describe(self) -> dict[str, Any]:
        """Return the admin page."""
        page: dict[str, Any] = {"state": self.state.value, "feed_reads": self.reads, "api_calls": self.calls}
        if self._error:
            page["feed_failures"] = self._failures
            page["feed_error"] = self._error
        return page


def _parsed(since: str | None) -> tuple[str, int] | None:
    """Epoch and revision of a version, None when there is none, or none with an epoch."""
    epoch, dash, revision = (since or "").rpartition("-")
    return (epoch, int(revision)) if dash and revision.isdigit() else None

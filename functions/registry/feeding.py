"""Bringing the feed up to what HEAD says.

Rules:
1. HEAD is read after it was written, and the copies that differ from it are written. So it does not matter which
   publisher writes, in which order, nor where one died: the next publication or the reconciler finds the rest.
2. Whole document, then the changes and HEAD of copy after copy: what a reader is pointed to is there.
3. A bucket that takes nothing costs the whole document, not the news: the copies are written and name none, then
   WholeDocumentError is raised. Readers ask the API for the whole meanwhile. Each later `bring_up` tries it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from registry.aws.clients import open_documents
from registry.aws.documents import Documents
from registry.domain.feed import Changes, FeedHead, changes_of, document_key, recent
from registry.domain.layout import Head
from registry.domain.snapshot import assemble, compress
from registry.dynamodb.feed_store import FeedStore
from registry.dynamodb.store import Store
from registry.settings import Settings

SETTLING_SECONDS: Final = 10.0
"""What was published so recently is on its way to the feed: the reconciler leaves it alone."""


class WholeDocumentError(Exception):
    """The whole document could not be written. All copies say what HEAD says."""


class Feeder:
    """Writes the feed of the namespaces of one store; without `documents` there are no whole ones."""

    def __init__(
        self,
        store: Store,
        feed: FeedStore,
        documents: Documents | None,
        seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._feed = feed
        self._documents = documents
        self._seconds = seconds
        self._clock = clock

    def bring_up(self, namespace: str, settled: bool = False) -> int:
        """Write the copies that do not say what HEAD says; return how many those were.

        With `settled` only what was published a while ago is looked at. Raises what AWS raises, SnapshotBusyError, and
        WholeDocumentError.
        """
        head = self._store.snapshots.head(namespace, consistent=True)
        if head is None or not head.epoch:
            return 0  # nothing is published, or not yet with an epoch, without which readers cannot compare
        now = self._clock()
        if settled and now - head.generated_at < SETTLING_SECONDS:
            return 0
        present = self._feed.heads(namespace)
        if all(each is not None and self._is_current(each, head, now) for each in present):
            return 0
        head, parts = self._store.snapshots.read(namespace, head, numbers=recent(head))
        changes = changes_of(namespace, head, parts)
        known = next((each for each in present if each and each.has_whole(head.version, changes.since, now)), None)
        wanted = FeedHead(head.version, changes.since, self._seconds)
        failed: Exception | None = None
        if known is not None:
            wanted = replace(wanted, bucket=known.bucket, whole=known.whole, whole_at=known.whole_at)
        elif self._documents is not None:
            try:
                whole = self._put_whole(self._documents, namespace, head)
                wanted = replace(wanted, bucket=self._documents.bucket, whole=whole, whole_at=now)
            except Exception as error:
                failed = error
        written = self._write(namespace, present, wanted, changes)
        if failed is not None:
            raise WholeDocumentError(f"namespace {namespace}: the whole document is not in the bucket") from failed
        return written

    def remove(self, namespace: str) -> None:
        """Delete the copies of a namespace that goes. Its whole documents end with the bucket's lifecycle."""
        self._feed.remove(namespace)

    def _is_current(self, each: FeedHead, head: Head, now: float) -> bool:
        if each.version != head.version or each.seconds != self._seconds:
            return False
        if self._documents is None:
            return each.whole is None
        return each.bucket == self._documents.bucket and each.has_whole(head.version, each.since, now)

    def _put_whole(self, documents: Documents, namespace: str, head: Head) -> int:
        """Write the whole document, of this head or a later one; return its revision."""
        head, parts = self._store.snapshots.read(namespace, head)
        documents.put(document_key(namespace, head.version), compress(assemble(namespace, head, parts.values())))
        return head.revision

    def _write(self, namespace: str, present: list[FeedHead | None], wanted: FeedHead, changes: Changes) -> int:
        behind = [copy for copy, each in enumerate(present) if each != wanted]
        for copy in behind:
            self._feed.write(namespace, copy, wanted, changes)
        return len(behind)


def open_feeder(store: Store, settings: Settings) -> Feeder | None:
    """Return what writes the feed that these settings name, None when they name none."""
    if not settings.feed_table:
        return None
    documents = open_documents(settings.feed_bucket, settings.region) if settings.feed_bucket else None
    return Feeder(store, FeedStore(settings.feed_table, settings.region), documents, settings.feed_seconds)

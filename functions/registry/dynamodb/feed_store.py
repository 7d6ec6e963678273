"""The feed in DynamoDB, in a table of its own: task roles may read it, and nothing else of the registry. IO.

| pk | sk | model |
|---|---|---|
| FEED#{namespace}#{0..7} | HEAD | FeedHeadItem |
| FEED#{namespace}#{0..7} | CHANGES | FeedChangesItem |

Rule of writing: of a copy the changes come first and HEAD last, so that whoever sees a revision in HEAD finds its
changes. Neither goes back within an epoch, however late a writer is.
"""

# PynamoDB's maps have no annotations on some of their methods.
# mypy: allow-untyped-calls

from __future__ import annotations

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition

from registry.domain.feed import COPIES, Changes, FeedHead
from registry.domain.lineage import Version
from registry.dynamodb.keys import HEAD
from registry.dynamodb.models import Item
from registry.dynamodb.table import change, connected, delete_if, maybe, update_if, whole

CHANGES = "CHANGES"


def feed_key(namespace: str, copy: int) -> str:
    """Return the partition key of a copy."""
    return f"FEED#{namespace}#{copy}"


class FeedHeadItem(Item):
    """What sidecars read every second."""

    epoch = UnicodeAttribute(null=True)
    revision = NumberAttribute(null=True)
    since = NumberAttribute(null=True)
    seconds = NumberAttribute(null=True)
    bucket = UnicodeAttribute(null=True)
    whole = NumberAttribute(null=True)
    whole_at = NumberAttribute(null=True)
    questions = UnicodeAttribute(null=True)


class FeedChangesItem(Item):
    """The latest changes as gzip over JSON. `data` is absent when they do not fit."""

    epoch = UnicodeAttribute(null=True)
    revision = NumberAttribute(null=True)
    since = NumberAttribute(null=True)
    data = BinaryAttribute(legacy_encoding=False, null=True)


class FeedStore:
    """Reads and writes the copies of one table."""

    def __init__(self, table: str, region: str, endpoint: str | None = None) -> None:
        self._heads, self._changes = connected((FeedHeadItem, FeedChangesItem), table, region, endpoint)

    def heads(self, namespace: str) -> list[FeedHead | None]:
        """Return what each copy says, None for one that is not there or says nothing that can be used."""
        keys = [(feed_key(namespace, copy), HEAD) for copy in range(COPIES)]
        found = {item.pk: item for item in self._heads.batch_get(keys, consistent_read=True)}
        return [_head(found[pk]) if pk in found else None for pk, _ in keys]

    def ask(self, namespace: str, questions: str) -> None:
        """Put the questions that sidecars shall answer (`domain/questions.py`) where they read."""
        heads = self._heads
        for copy in range(COPIES):
            update_if(heads(feed_key(namespace, copy), HEAD), [heads.questions.set(questions)], heads.epoch.exists())

    def remove(self, namespace: str) -> None:
        """Delete the copies of a namespace that goes, each on the condition that it is as it was read."""
        # All are read before the first goes: of a copy that is written meanwhile both items stay.
        found = [
            (model, item)
            for model, sk in ((self._heads, HEAD), (self._changes, CHANGES))
            for item in model.batch_get(
                [(feed_key(namespace, copy), sk) for copy in range(COPIES)], consistent_read=True
            )
        ]
        for model, item in found:
            delete_if(item, (model.epoch == item.epoch) & (model.revision == item.revision))

    def write(self, namespace: str, copy: int, head: FeedHead, changes: Changes) -> None:
        """Write a copy, unless it is of a later revision of this epoch already."""
        pk, version = feed_key(namespace, copy), head.version
        data = self._changes
        actions = [
            data.epoch.set(version.epoch),
            data.revision.set(version.revision),
            data.since.set(changes.since),
            change(data.data, changes.data or None),
        ]
        if not update_if(data(pk, CHANGES), actions, _not_later(data, version)):
            return
        heads = self._heads
        update_if(
            heads(pk, HEAD),
            [
                heads.epoch.set(version.epoch),
                heads.revision.set(version.revision),
                heads.since.set(head.since),
                heads.seconds.set(head.seconds),
                change(heads.bucket, head.bucket or None),
                change(heads.whole, head.whole),
                change(heads.whole_at, None if head.whole is None else head.whole_at),
            ],
            _not_later(heads, version),
        )


def _not_later(model: type[FeedHeadItem] | type[FeedChangesItem], version: Version) -> Condition:
    """Return the condition that an item is absent, of another epoch, or not later than this version."""
    other: Condition = model.epoch.does_not_exist() | (model.epoch != version.epoch)
    other |= model.revision <= version.revision
    return other


def _head(item: FeedHeadItem) -> FeedHead | None:
    epoch, revision, since = maybe(item.epoch), whole(maybe(item.revision)), whole(maybe(item.since))
    if epoch is None or revision is None or since is None:
        return None
    return FeedHead(
        Version(epoch, revision),
        since,
        int(item.seconds or 0),
        maybe(item.bucket) or "",
        whole(maybe(item.whole)),
        float(item.whole_at or 0),
    )

"""Bringing a private hosted zone of Route 53 up to date with the snapshots. IO; the rules are in `domain/zone.py`.

Rules:
1. The zone is listed first, and the snapshots are read then, consistently. What the zone had was published before, so
   what the snapshots no longer have may be removed, whoever else writes at the same time.
2. The other way round a slow writer may write a name that has just gone, or fail because another removed it first. The
   reconciler's next sweep puts both right, as it does with what failed.
3. Route 53 lets an account make five requests a second. We take two, and repeat what is throttled after a pause.
4. No request begins that may outlast the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from registry.aws.clients import open_route53
from registry.aws.pacing import TokenBucket
from registry.aws.route53 import Route53Client
from registry.domain.snapshot import Document
from registry.domain.zone import Mode, batches, changes, wanted
from registry.dynamodb.store import Store

REQUESTS_PER_SECOND: Final = 2.0
LONGEST_REQUEST_SECONDS: Final = 23.0
"""Four attempts of 4 s each, and pauses of up to 1, 2 and 4 s (`aws/clients.py`)."""
_NEXT: Final = ("NextRecordName", "NextRecordType", "NextRecordIdentifier")


class PublicZoneError(Exception):
    """The zone answers to the whole internet."""


class ZoneUnfinishedError(Exception):
    """The function's time is nearly over. What is done stands; the reconciler's next sweep goes on."""


@dataclass(frozen=True, slots=True)
class Brought:
    """How many records were written and removed, and the names that somebody's records have."""

    written: int
    removed: int
    taken: tuple[str, ...]


class HostedZone:
    """One private hosted zone. `zone_id` is Route 53's, `mode` how the tasks that ask it share their ports."""

    def __init__(self, client: Callable[[], Route53Client], zone_id: str, mode: Mode, bucket: TokenBucket) -> None:
        self._client = client
        self._id = zone_id
        self._mode = mode
        self._bucket = bucket
        self._name: str | None = None

    def bring(self, store: Store, remaining: Callable[[], float]) -> Brought:
        """Give every published name in the zone its record, and remove those of names that are not published any more.

        `remaining` returns the seconds that the function has left. Raises PublicZoneError, ZoneUnfinishedError, and
        what AWS raises.
        """
        name = self._name or self._read_name(remaining)
        present = list(self._records(remaining))
        found = changes(present, wanted(name, _published(store), self._mode))
        for batch in batches(found):
            self._ask(
                "change_resource_record_sets",
                remaining,
                HostedZoneId=self._id,
                ChangeBatch={"Comment": "tramo", "Changes": batch},
            )
        return Brought(len(found.written), len(found.removed), found.taken)

    def _read_name(self, remaining: Callable[[], float]) -> str:
        zone = self._ask("get_hosted_zone", remaining, Id=self._id)["HostedZone"]
        if not zone.get("Config", {}).get("PrivateZone"):
            raise PublicZoneError(f"hosted zone {self._id} ({zone['Name']}) is public; give HostedZoneId a private one")
        self._name = str(zone["Name"])
        return self._name

    def _records(self, remaining: Callable[[], float]) -> Iterator[Mapping[str, Any]]:
        start: dict[str, str] = {}
        while True:
            answer = self._ask("list_resource_record_sets", remaining, HostedZoneId=self._id, **start)
            yield from answer["ResourceRecordSets"]
            if not answer["IsTruncated"]:
                return
            start = {"Start" + key.removeprefix("Next"): answer[key] for key in _NEXT if key in answer}

    def _ask(self, operation: str, remaining: Callable[[], float], **arguments: Any) -> Any:
        if remaining() < LONGEST_REQUEST_SECONDS:
            raise ZoneUnfinishedError(f"hosted zone {self._id}: no time is left for {operation}")
        self._bucket.take()
        return getattr(self._client(), operation)(**arguments)


def open_zone(zone_id: str, mode: Mode, region: str) -> HostedZone | None:
    """Return a hosted zone over botocore, None when there is no id."""
    if not zone_id:
        return None
    return HostedZone(open_route53(region), zone_id, mode, TokenBucket(REQUESTS_PER_SECOND))


def _published(store: Store) -> dict[str, list[Document]]:
    """Return the published services by namespace."""
    found: dict[str, list[Document]] = {}
    for namespace in store.tasks.namespaces():
        head = store.snapshots.head(namespace, consistent=True)
        if head is not None:
            _, parts = store.snapshots.read(namespace, head)
            found[namespace] = [document for part in parts.values() for document in part.services.values()]
    return found
